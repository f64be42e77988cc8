"""How much of a quantity a straight line explains within a seed.

R^2 = 1 - sum_i (y_i - a - b x_i)^2 / sum_i (y_i - mean y)^2, with a and b of least squares, over
the rows of one seed: the square of Pearson's correlation, whichever way the line goes. Papers that
print R^2 beside a scatter print this. The interval is over seeds. With ``minus`` it is a
difference: of two estimators of ``x``, say, over the same tasks. With ``search`` it is the largest
R^2 over the values of a column, found by every seed for itself: what a search for an epsilon that
explains the most comes to. A largest value lies higher than any that was fixed beforehand.
"""

from typing import Any

import numpy as np
import pandas as pd

from forgetting import statistics
from forgetting.evidence._points import by_seed, points, with_yardstick
from forgetting.evidence._rows import Tables, known
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which columns over which points."""

    table: str
    """Name of the table, without ``.csv``."""
    x: str
    """What explains."""
    y: str
    """What is explained."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values."""
    of: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the points, such as ``{estimator: quadrature}``."""
    minus: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the points whose R^2 is taken away; nothing is, when empty."""
    search: str = ""
    """Column, such as ``eps``, over whose values the largest is taken; none when empty."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{task: [1]}``."""
    against: str = ""
    """Strategy whose performance on the same task is first taken away from ``y``."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """R^2 of each seed, or a difference of two.

    NaN for a seed with fewer points than the fullest, with fewer than three, or where a column
    is constant.
    """
    first = _r_squared(tables, settings, settings.of)
    if not settings.minus:
        return first
    return first.sub(_r_squared(tables, settings, settings.minus))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    marked = [settings.of, *([settings.minus] if settings.minus else [])]
    return with_yardstick(settings.where, settings.against, *marked)


def _r_squared(tables: Tables, settings: Settings, marked: dict[str, Any]) -> pd.Series:
    rows = points(
        tables,
        settings.table,
        {**settings.where, **marked},
        x=settings.x,
        y=settings.y,
        leave_out=settings.leave_out,
        against=settings.against,
    )
    known(rows, settings.table, *([settings.search] if settings.search else []))
    parts = [part for _, part in rows.groupby(settings.search)] if settings.search else [rows]
    found = [
        {
            seed: np.nan if of is None else statistics.pearson(of[settings.x], of[settings.y]) ** 2
            for seed, of in by_seed(part, settings.x, settings.y).items()
        }
        for part in parts
    ]
    return pd.DataFrame(found, dtype=float).max()
