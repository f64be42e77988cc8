"""How unevenly a change falls on classes: the standard deviation over them within a seed.

The classes are all there are, no sample of more, so the sum of squares is divided by their number:
the number is 0 where all change alike, and sqrt(m (1 - m)) where a share m of the classes loses
everything and the others nothing.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import Tables, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which change, over what."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the quantity."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; the classes are listed here."""
    over: str = "output"
    """The column whose values are compared."""
    time: str = "task"
    """The column that counts tasks (0 = before training)."""
    start: int | Literal["last"] = 0
    """Task that the change is counted from."""
    end: int | Literal["last"] = "last"
    """Task that it is counted to."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """Standard deviation over classes of end - start; NaN for a seed that lacks a class."""

    def at(moment: int | str) -> pd.DataFrame:
        rows = select(tables, settings.table, {**settings.where, settings.time: moment})
        one_per_seed(rows, settings.column, over=[settings.over])  # refuses more than one row each
        return rows.pivot(index="seed", columns=settings.over, values=settings.column)

    change = at(settings.end).sub(at(settings.start)).astype(float)
    return change.std(axis=1, ddof=0, skipna=False)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)
