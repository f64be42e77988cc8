"""What one strategy adds to another at the same value of a covariate, within a seed.

The points of a seed are the tasks of both strategies. By least squares

    y = a + b [the strategy is ``of``] + c x

and the number is b: the difference in y that is left when x, such as the effective rank of the
features, is the same. Where the two strategies never have the same x a straight line would be
drawn into the empty, so only points within the range of x that both cover take part.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._points import by_seed, points, with_yardstick
from forgetting.evidence._rows import Tables, known, select
from forgetting.settings import Settings as Base
from forgetting.tables import ID

POINT = [*ID, "task"]
LEFT_OVER = 1
"""Points beyond the three coefficients that a seed must have."""


class Covariate(Base):
    """What is held fixed."""

    table: str
    """Name of its table, without ``.csv``; rows belong to those of the same run and task."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """Column -> wanted value or values, so that one row for each run and task is left."""
    scale: Literal["number", "log10"] = "number"
    """Whether its logarithm is taken."""


class Settings(Base):
    """Which strategies, by which quantity, at equal values of what."""

    table: str
    """Name of the table with the quantity, without ``.csv``."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both have in common: column -> wanted value or values."""
    of: str
    """The strategy whose effect is looked for."""
    minus: str
    """The strategy it is compared with."""
    covariate: Covariate
    """What is held fixed."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{task: [1]}``."""
    against: str = ""
    """Strategy whose performance on the same task is first taken away from the quantity."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The coefficient of the strategy for each seed.

    NaN for a seed that has fewer points than the fullest, where the strategies' ranges of the
    covariate do not meet, or where fewer than four points with both strategies lie in both.
    """
    where = {**settings.where, "strategy": [settings.of, settings.minus]}
    rows = points(
        tables,
        settings.table,
        where,
        x=settings.column,
        y=settings.column,
        leave_out=settings.leave_out,
        against=settings.against,
    )
    held = settings.covariate
    covariate = select(tables, held.table, held.where)
    known(covariate, held.table, held.column)
    named = covariate[[*POINT, held.column]].rename(columns={held.column: "covariate"})
    if named.duplicated(POINT).any():
        raise UserError(
            f"claims: {held.table} has several rows for one run and task; choose one by 'where'"
        )
    rows = rows.merge(named, on=POINT)
    found = {
        seed: np.nan if of is None else _effect(of, settings)
        for seed, of in by_seed(rows, settings.column, "covariate").items()
    }
    return pd.Series(found, dtype=float)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    both = {"strategy": [settings.of, settings.minus]}
    return with_yardstick(settings.where, settings.against, both)


def _effect(rows: pd.DataFrame, settings: Settings) -> float:
    x = rows["covariate"].to_numpy(float)
    if settings.covariate.scale == "log10":
        x = np.log10(x)
    marked = (rows["strategy"] == settings.of).to_numpy()
    if marked.all() or not marked.any():
        return float("nan")
    low = max(x[marked].min(), x[~marked].min())
    high = min(x[marked].max(), x[~marked].max())
    shared = (x >= low) & (x <= high)
    design = np.column_stack([np.ones(shared.sum()), marked[shared], x[shared]])
    y = rows[settings.column].to_numpy(float)[shared]
    full_rank = len(y) and np.linalg.matrix_rank(design) == design.shape[1]
    if not full_rank or len(y) < design.shape[1] + LEFT_OVER:
        return float("nan")
    return float(np.linalg.lstsq(design, y, rcond=None)[0][1])
