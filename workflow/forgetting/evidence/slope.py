"""How steeply a quantity rises along a ladder within a seed: the slope of least squares.

The ladder is a column of numbers, such as ``depth``, or a list of entries whose names end in one,
such as ``ewc~100``. The slope is taken within the seed and the interval over seeds, so points of
one network do not pass for independent ones.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._ladder import along_ladder, number
from forgetting.evidence._rows import NotRun, Tables, above_chance, known, table, touched, without
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which quantity along which ladder."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the quantity."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; the column of the ladder is not among them."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{layer: [head]}``."""
    along: str = "depth"
    """The column that holds the ladder."""
    order: list[str | int | float] | None = None
    """Its rungs, lowest first; when left out, every value there is, by its number."""
    scale: Literal["number", "log10", "rank"] = "number"
    """Unit of the ladder: a rung's number (of an entry, what follows ``~``), its decades, or
    its rank scaled to run from 0 to 1. With ``rank`` the slope is the fitted change from the
    first rung to the last, and of two rungs the difference."""
    chance: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the rows that hold the value expected by chance, such as ``{statistic:
    chance}``. The quantity becomes (value - chance) / (1 - chance): 0 at chance, 1 at most."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a rung."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The slope of each seed; NaN for a seed that lacks a rung."""
    known(table(tables, settings.table), settings.table, settings.column, settings.along)
    tables = without(tables, settings.table, settings.leave_out)
    values = _values(tables, settings, {})
    if settings.chance:
        values = above_chance(values, _values(tables, settings, settings.chance))
    x = _positions(list(values.columns), settings.scale)
    deviations = x - x.mean()
    spread = deviations @ deviations
    if not spread > 0:
        if settings.order is None:  # a narrow network may have one stage that is wide enough
            raise NotRun(f"{settings.table}.csv has one row only along {settings.along}")
        raise UserError(f"claims: a slope needs two rungs along {settings.along}, found {x.size}")
    return pd.Series(values.to_numpy() @ (deviations / spread), index=values.index)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    rungs = [{settings.along: rung} for rung in settings.order or ()] or [{}]
    return touched(settings.where, *rungs)


def _values(tables: Tables, settings: Settings, marked: dict[str, Any]) -> pd.DataFrame:
    return along_ladder(
        tables,
        settings.table,
        {**settings.where, **marked},
        column=settings.column,
        along=settings.along,
        order=settings.order,
        over=settings.over,
        combine=settings.combine,
    )


def _positions(rungs: list[Any], scale: str) -> np.ndarray:
    if scale == "rank":
        return np.linspace(0, 1, len(rungs))
    numbers = np.array([number(rung) for rung in rungs])
    if scale == "number":
        return numbers
    if (numbers <= 0).any():
        raise UserError(f"claims: scale log10 needs numbers above 0, found {numbers.min():g}")
    return np.log10(numbers)
