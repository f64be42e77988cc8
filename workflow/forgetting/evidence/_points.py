"""Points of a seed: rows of a table that a relation is looked for in, and a yardstick for them.

How hard a task is differs from task to task, and where tasks grow each is harder than the one
before. A network that starts afresh with every task meets the same tasks, so its performance is
the yardstick for the others: ``against: reset``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._rows import Tables, Where, known, select, touched, without

PERFORMANCE = "performance"
"""The table with a yardstick's ``value`` for each task."""
SAME = ["benchmark", "seed", "task"]


def points(
    tables: Tables,
    name: str,
    where: Where,
    *,
    x: str,
    y: str,
    leave_out: Mapping[str, Sequence[Any]],
    against: str,
) -> pd.DataFrame:
    """The rows wanted; with ``against`` the yardstick's performance is taken away from ``y``.

    Args:
        tables: All tables by name.
        name: Which one.
        where: Rows wanted.
        x: First column of the relation.
        y: Second column.
        leave_out: Column -> values whose rows are left out.
        against: The yardstick's strategy; none when empty.

    Raises:
        NotRun: A table is missing, or rows are.
        UserError: A column does not exist.
    """
    rows = select(without(tables, name, leave_out), name, where)
    known(rows, name, x, y)
    if not against:
        return rows
    return rows.assign(**{y: rows[y] - yardstick(tables, rows, against)})


def yardstick(tables: Tables, rows: pd.DataFrame, strategy: str) -> pd.Series:
    """Performance of a strategy on the benchmark, seed and task of each row; NaN where none is.

    Raises:
        NotRun: The strategy's performance is missing for all rows' benchmarks.
        UserError: It has several architectures on one benchmark.
    """
    names = sorted(rows["benchmark"].unique())
    of = select(tables, PERFORMANCE, {"benchmark": names, "strategy": strategy})
    if of.duplicated(SAME).any():
        raise UserError(
            f"claims: {strategy} has several architectures on {', '.join(names)}; "
            "one is needed to compare with"
        )
    found = rows[SAME].merge(of[[*SAME, "value"]], on=SAME, how="left")["value"]
    return found.set_axis(rows.index)


def by_seed(rows: pd.DataFrame, *columns: str) -> dict[int, pd.DataFrame | None]:
    """The rows of each seed that hold numbers in these columns.

    None for a seed with fewer of them than the fullest: other points, other relation.
    """
    groups = dict(iter(rows.dropna(subset=list(columns)).groupby("seed")))
    fullest = max(map(len, groups.values()), default=0)
    return {
        seed: groups[seed] if seed in groups and len(groups[seed]) == fullest else None
        for seed in sorted(rows["seed"].unique())
    }


def with_yardstick(where: Where, against: str, *more: Where) -> list[dict[str, Any]]:
    """Selections of the runs that are read, the yardstick's among them."""
    return touched(where, *(more or ({},)), *([{"strategy": against}] if against else []))
