"""How closely two quantities of a run go together over its tasks, or over moments of its training.

They may stand in two tables, such as the accuracy on a task and the collapse measured at its end. A
trend that both have can be taken out, and the curves may first be averaged over seeds, as papers
draw them; ``forgetting/evidence/_curves.py`` says how, and what that changes.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._curves import curves, of_each, of_means
from forgetting.evidence._moments import selections
from forgetting.evidence._rows import Tables
from forgetting.evidence._settings import Other
from forgetting.settings import Settings as Base

IS_CORRELATION = True
"""The interval over seeds is taken on Fisher's z scale."""


class Settings(Base):
    """Which two quantities over which points."""

    table: str
    """Name of the first quantity's table, without ``.csv``."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; those that name runs are the other's as well."""
    other: Other
    """The second quantity."""
    along: str = "task"
    """The column that tells the points of a seed apart and puts them in order."""
    within: dict[str, tuple[float, float]] = {}
    """Column -> lowest and highest number wanted, such as ``{epoch: [0, 100]}``."""
    detrend: Literal["none", "line", "differences"] = "none"
    """What is done about a trend along the points."""
    seeds: Literal["each", "mean"] = "each"
    """Whether the curves of each seed are correlated, or their means over the seeds."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The correlation of each seed, or the jackknife's value for that of the mean curves.

    NaN for a seed that lacks a point others have.
    """
    found = curves(
        tables,
        settings.table,
        settings.where,
        x=settings.column,
        along=settings.along,
        other=settings.other,
        within=settings.within,
    )
    of = of_each if settings.seeds == "each" else of_means
    return of(found, settings.detrend)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return selections(settings.where)
