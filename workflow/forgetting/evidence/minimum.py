"""Where along a ladder a quantity is smallest within a seed.

The place is the rung itself, no fitted curve's: a parabola through an unsymmetric dip (steep on
one side, a long rise on the other) has its vertex elsewhere, often beyond the ladder. The price
is that of any smallest value: where the quantity does not depend on the rung the place is one
drawn by noise, and the mean over seeds lies somewhere in the middle. A claim about the place
therefore needs the precondition that there is a dip, tested at rungs named beforehand. Places
are no finer than the ladder: seeds that agree have an interval without width.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from forgetting.evidence._ladder import along_ladder, number
from forgetting.evidence._rows import Tables, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which quantity along which ladder."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the quantity."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; the column of the ladder is not among them."""
    along: str
    """The column that holds the ladder, such as ``benchmark``."""
    order: list[str | int | float]
    """Its rungs: numbers, or entries with a number after ``~``."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a rung."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The number of the rung with the smallest value, the mean of those that tie.

    NaN for a seed that lacks a rung: the smallest of the others need not be the smallest.
    """
    wide = along_ladder(
        tables,
        settings.table,
        settings.where,
        column=settings.column,
        along=settings.along,
        order=settings.order,
        over=settings.over,
        combine=settings.combine,
    )
    numbers = np.array([number(rung) for rung in wide.columns])
    values = wide.to_numpy()
    smallest = values == values.min(axis=1, keepdims=True)  # NaN equals nothing
    count = smallest.sum(axis=1)
    places = np.where(count > 0, smallest @ numbers / np.maximum(count, 1), np.nan)
    return pd.Series(places, index=wide.index)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where, *({settings.along: rung} for rung in settings.order))
