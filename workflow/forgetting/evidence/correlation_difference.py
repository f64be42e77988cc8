"""How much more closely one quantity goes with another than a third does, or than elsewhere.

Two correlations of the same seed with one quantity: of two predictors, or of one predictor over two
ranges of points. The number is their difference, or with ``strength`` that of their sizes |r|.
"""

from typing import Any

import pandas as pd

from forgetting.evidence._curves import curves, of_each
from forgetting.evidence._moments import selections
from forgetting.evidence._rows import Tables
from forgetting.evidence._settings import Other
from forgetting.settings import Settings as Base


class Side(Base):
    """One correlation."""

    column: str
    """The column of the predictor."""
    where: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """Column -> wanted value or values, over what both have in common."""
    within: dict[str, tuple[float, float]] = {}
    """Column -> lowest and highest number wanted, such as ``{epoch: [0, 100]}``."""


class Settings(Base):
    """Which two correlations."""

    table: str
    """Name of the predictors' table, without ``.csv``."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both have in common: column -> wanted value or values."""
    other: Other
    """The quantity that both are correlated with."""
    of: Side
    """The first correlation."""
    minus: Side
    """The one taken away."""
    along: str = "task"
    """The column that tells the points of a seed apart."""
    strength: bool = False
    """Whether the sizes of the correlations are compared, whatever their signs."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The first correlation less the second; NaN for a seed that lacks a point others have."""
    first, second = (_correlations(tables, settings, side) for side in _sides(settings))
    if settings.strength:
        first, second = first.abs(), second.abs()
    return first.sub(second)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return selections(settings.where, *(side.where for side in _sides(settings)))


def _sides(settings: Settings) -> tuple[Side, Side]:
    return settings.of, settings.minus


def _correlations(tables: Tables, settings: Settings, side: Side) -> pd.Series:
    found = curves(
        tables,
        settings.table,
        {**settings.where, **side.where},
        x=side.column,
        along=settings.along,
        other=settings.other,
        within=side.within,
    )
    return of_each(found, "none")
