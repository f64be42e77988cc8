"""By how much a quantity exceeds its bound at most, over the tasks of a run.

The bound stands in a table of its own, at the same task and moment of the same run. The number is
the largest of quantity - bound: above 0 as soon as the bound is broken once.
"""

from typing import Any

import pandas as pd

from forgetting.evidence._bound import limits
from forgetting.evidence._rows import Tables, known, select, touched
from forgetting.evidence._settings import Bound
from forgetting.settings import Settings as Base
from forgetting.tables import ID


class Settings(Base):
    """Which quantity, and which bound."""

    table: str
    """Name of the quantity's table, without ``.csv``."""
    column: str = "value"
    """The column that holds the quantity."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; those that name runs are the bound's as well."""
    bound: Bound
    """What it must not exceed."""
    match: tuple[str, ...] = ("task", "moment", "split")
    """Columns that a quantity and its bound have in common."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The largest excess of each seed; NaN for a seed with a quantity or bound that is missing."""
    keys = [*ID, *settings.match]
    rows = select(tables, settings.table, settings.where)
    known(rows, settings.table, settings.column, *keys)
    limit = limits(tables, settings.bound, settings.where, keys)
    both = rows[[*keys, settings.column]].merge(limit, on=keys, how="left")
    excess = (both[settings.column] - both["limit"]).groupby(both["seed"])
    return excess.agg(lambda each: each.max(skipna=False))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)
