"""By how much a quantity exceeds its bound at most, over the tasks of a run.

The bound stands in a table of its own, at the same task and moment of the same run. The number is
the largest of quantity - bound: above 0 as soon as the bound is broken once.
"""

from typing import Any

import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._rows import Tables, known, select, touched
from forgetting.settings import Settings as Base

RUN = ["benchmark", "architecture", "strategy", "seed"]


class Bound(Base):
    """Where the bound stands."""

    table: str
    """Name of its table, without ``.csv``."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """Column -> wanted value or values."""
    per: str = ""
    """Column of its table that it is divided by."""


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
    keys = [*RUN, *settings.match]
    rows = select(tables, settings.table, settings.where)
    known(rows, settings.table, settings.column, *keys)
    about = {key: settings.where[key] for key in RUN[:3] if key in settings.where}
    bound = settings.bound
    limits = select(tables, bound.table, {**about, **bound.where})
    known(limits, bound.table, bound.column, *keys, *([bound.per] if bound.per else []))
    if limits.duplicated(keys).any():
        raise UserError(f"claims: {bound.table} has several bounds for one {', '.join(keys)}")
    limit = limits[bound.column] / (limits[bound.per] if bound.per else 1)
    both = rows[[*keys, settings.column]].merge(
        limits[keys].assign(limit=limit), on=keys, how="left"
    )
    excess = (both[settings.column] - both["limit"]).groupby(both["seed"])
    return excess.agg(lambda each: each.max(skipna=False))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)
