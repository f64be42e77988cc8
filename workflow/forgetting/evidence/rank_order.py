"""Whether a stated order of strategies, architectures or tasks holds within a seed."""

from typing import Any, Literal

import numpy as np
import pandas as pd

from forgetting.evidence._rows import Tables, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which order of which number."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the number."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; the ordered column is not among them."""
    along: str = "strategy"
    """The column whose values are ordered."""
    order: list[str | int | float]
    """The claimed order, smallest number first."""
    descending: bool = False
    """Whether the order starts from the largest number instead."""
    method: Literal["smallest_step", "kendall"] = "smallest_step"
    """``smallest_step``: of the neighbours' differences the one that is least on the mean over
    seeds, above 0 exactly when the means are in the order. (The least of every seed by itself lies
    below 0 on the mean where two members are equal but for noise.) ``kendall``: concordant minus
    discordant pairs, divided by all pairs."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a seed (such as ``layer``) before ordering."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The smallest step of the order, or Kendall's tau-a; NaN for a seed that lacks a member."""
    members = [
        one_per_seed(
            select(tables, settings.table, {**settings.where, settings.along: member}),
            settings.column,
            over=settings.over,
            combine=settings.combine,
        )
        for member in settings.order
    ]
    numbers = pd.concat(members, axis=1) * (-1 if settings.descending else 1)
    values = numbers.to_numpy()
    if settings.method == "smallest_step":
        steps = np.diff(values, axis=1)
        whole = ~np.isnan(steps).any(axis=1)
        least = steps[whole].mean(axis=0).argmin() if whole.any() else 0
        result = np.where(whole, steps[:, least], np.nan)
    else:
        lower, higher = np.triu_indices(values.shape[1], k=1)
        result = np.sign(values[:, higher] - values[:, lower]).mean(axis=1)
    return pd.Series(result, index=numbers.index).sort_index()


def step(tables: Tables, settings: Settings) -> float:
    """Distance between values of tau: one pair more or less in order. Differences have none."""
    count = len(settings.order)
    return 4 / (count * (count - 1)) if settings.method == "kendall" else 0.0


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where, *({settings.along: member} for member in settings.order))
