"""Choosing rows of tables for a statistic; what every file of this folder starts from.

A selection is a mapping from column to the value, or list of values, that is wanted. A few words
stand for what differs from benchmark to benchmark: ``metric: scenario`` is the metric the
benchmark is judged by, ``task: last`` or ``after_task: last`` its last task, and ``task: last
tenth`` (``first`` or ``last``; ``tenth``, ``quarter`` or ``half``) that part of its tasks, rounded
up to whole ones; ``task: after first`` all but the first. All are from the table ``runs``, so a run
that stopped early has no last task.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from forgetting.errors import UserError
from forgetting.tables import GROUP

PARTS = {"tenth": 10, "quarter": 4, "half": 2}
Where = Mapping[str, Any]
Numbers = TypeVar("Numbers", "pd.Series[float]", pd.DataFrame)
Tables = Mapping[str, pd.DataFrame]


class Watched(dict[str, pd.DataFrame]):
    """Tables that remember which of their rows were selected."""

    def __init__(self, tables: Tables, seen: dict[str, pd.Index] | None = None) -> None:
        """Watch some tables; ``seen`` is what was already selected, table by table."""
        super().__init__(tables)
        self.seen: dict[str, pd.Index] = {} if seen is None else seen

    def note(self, name: str, rows: pd.DataFrame) -> None:
        """Remember rows of a table by their labels."""
        self.seen[name] = rows.index.union(self.seen.get(name, rows.index))


class NotRun(Exception):
    """A table, or the rows a claim speaks of, are not there."""


class NoRows(NotRun):
    """The table is there and the rows are not: never run, or every seed diverged before."""


def select(tables: Tables, name: str, where: Where) -> pd.DataFrame:
    """The rows of table ``name`` that match; every wanted value must occur.

    Raises:
        NotRun: The table is missing; as NoRows: a wanted value has no row.
        UserError: A column does not exist.
    """
    rows = table(tables, name)
    said: list[str] = []
    for column in sorted(where, key=lambda column: column not in GROUP):
        known(rows, name, column)
        wanted = where[column]
        if column == "metric" and wanted == "scenario":
            rows = rows[rows[column] == _per_benchmark(tables, rows, "scenario_metric")]
        elif column in ("task", "after_task") and isinstance(wanted, str):
            rows = rows[_in_time(rows[column], wanted, _per_benchmark(tables, rows, "tasks"))]
        else:
            values = wanted if isinstance(wanted, list) else [wanted]
            for value in values:
                if not (rows[column] == value).any():
                    so_far = ", ".join([*said, f"{column} {value}"])
                    raise NoRows(f"{name}.csv has no rows with {so_far}")
            rows = rows[rows[column].isin(values)]
        said.append(f"{column} {wanted}")
        if rows.empty:
            raise NoRows(f"{name}.csv has no rows with {', '.join(said)}")
    if isinstance(tables, Watched):
        tables.note(name, rows)
    return rows


def without(tables: Tables, name: str, unwanted: Mapping[str, Sequence[Any]]) -> Tables:
    """The tables, with the rows of one that hold an unwanted value left out.

    Raises:
        NotRun: The table is missing.
        UserError: A column does not exist.
    """
    rows = table(tables, name)
    known(rows, name, *unwanted)
    for column, values in unwanted.items():
        rows = rows[~rows[column].isin(values)]
    left = {**tables, name: rows}
    return Watched(left, tables.seen) if isinstance(tables, Watched) else left


def table(tables: Tables, name: str) -> pd.DataFrame:
    """The table of that name; NotRun where it is missing or empty."""
    if name not in tables:
        raise NotRun(f"{name}.csv is missing")
    if tables[name].empty:
        raise NotRun(f"{name}.csv is empty")
    return tables[name]


def known(rows: pd.DataFrame, name: str, *columns: str) -> None:
    """Refuse columns the table does not have."""
    for column in columns:
        if column not in rows:
            raise UserError(
                f"claims: table {name} has no column {column!r}; it has {', '.join(rows.columns)}"
            )


def one_per_seed(
    rows: pd.DataFrame, column: str, *, over: Sequence[str] = (), combine: str = "mean"
) -> pd.Series:
    """One value per seed, combined over the columns in ``over``.

    A seed that lacks a row others have (it diverged, or was not run) is NaN, as is one with a
    NaN among its values.

    Raises:
        UserError: Rows of a seed differ in something that is neither selected nor in ``over``.
    """
    known(rows, "selected", column, *over)
    keys = ["seed", *over]
    repeated = rows[rows.duplicated(keys, keep=False)]
    if not repeated.empty:
        first = repeated[(repeated[keys] == repeated[keys].iloc[0]).all(axis=1)]
        differing = [c for c in rows.columns if c != column and first[c].nunique(dropna=False) > 1]
        raise UserError(
            f"claims: {len(first)} rows for one seed differ in {', '.join(differing) or 'nothing'};"
            " choose one by 'where', or combine them by 'over' where the statistic has it"
        )
    wide = rows.pivot(index="seed", columns=list(over), values=column) if over else None
    if wide is None:
        return rows.set_index("seed")[column].astype(float).sort_index()
    return wide.astype(float).agg(combine, axis=1, skipna=False).sort_index()


def above_chance(value: Numbers, chance: Numbers) -> Numbers:
    """(value - chance) / (1 - chance): 0 at chance, 1 at most; NaN where chance leaves no room."""
    return (value - chance) / (1 - chance).where(chance < 1)


def touched(where: Where, *more: Where) -> list[dict[str, Any]]:
    """The selections of runs that a statistic reads: ``where`` joined with each of ``more``."""
    return [
        {column: value for column, value in {**where, **extra}.items() if column in GROUP}
        for extra in (more or ({},))
    ]


def _in_time(task: pd.Series, words: str, tasks: pd.Series) -> pd.Series:
    """Whether each row's task is the last of its benchmark, or in the part that is named."""
    side, _, part = words.partition(" ")
    if words == "last":
        return task == tasks
    if words == "after first":
        return task > 1
    if side not in ("first", "last") or part not in PARTS:
        raise UserError(
            f"claims: task {words!r} is not known; use a number, last, "
            f"after first, or first or last with {', '.join(PARTS)}, such as 'last tenth'"
        )
    wanted = -(-tasks // PARTS[part])  # rounded up
    return (task >= 1) & (task <= wanted) if side == "first" else task > tasks - wanted


def _per_benchmark(tables: Tables, rows: pd.DataFrame, column: str) -> pd.Series:
    runs = table(tables, "runs")
    return rows["benchmark"].map(runs.groupby("benchmark")[column].max())
