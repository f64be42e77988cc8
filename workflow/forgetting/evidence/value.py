"""A number of one table, as it stands: a score, a rank, a count."""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import Tables, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which number."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the number."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; ``metric: scenario`` and ``task: last`` are understood."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a seed (such as ``layer``)."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The number of each seed, combined over the columns ``over``."""
    rows = select(tables, settings.table, settings.where)
    return one_per_seed(rows, settings.column, over=settings.over, combine=settings.combine)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)
