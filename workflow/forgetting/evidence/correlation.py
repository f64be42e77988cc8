"""How closely two columns of a table go together within a seed.

The points of one seed are the rows left by ``where``: tasks, and whatever else is pooled
(strategies, architectures). Correlating within a seed and then taking the interval over seeds
treats the seed, not the point, as the independent unit. ``hold`` names columns whose categories
are held fixed: both columns are first fitted by indicators of the categories and what is left is
correlated, so a common trend over tasks or a difference between architectures cannot pass for a
relation. ``within`` names columns in whose every combination the correlation is taken apart; the
seed's number is then their mean on Fisher's z scale, so that a network whose numbers spread widely
does not decide for all.

Ranks of n points can agree perfectly by chance, and a correlation of 1 has no finite z. Spearman's
rho is therefore held half a step inside its ends, at 1 - 6 / (n^3 - n) (a continuity correction;
rho moves in steps of 12 / (n^3 - n)), so that one perfect seed does not rule the interval.
"""

from typing import Any, Literal

import numpy as np
import pandas as pd

from forgetting import statistics
from forgetting.evidence._points import by_seed, points, with_yardstick
from forgetting.evidence._rows import Tables, known
from forgetting.settings import Settings as Base

IS_CORRELATION = True
"""The interval over seeds is taken on Fisher's z scale."""


class Settings(Base):
    """Which columns over which points."""

    table: str
    """Name of the table, without ``.csv``."""
    x: str
    """First column."""
    y: str
    """Second column."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values."""
    method: Literal["pearson", "spearman"] = "pearson"
    """Correlation of the values or of their ranks."""
    hold: tuple[str, ...] = ()
    """Columns held fixed as categories, such as ``task`` and ``architecture``."""
    within: tuple[str, ...] = ()
    """Columns in whose every combination it is taken apart, such as ``architecture``."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{task: [1]}``."""
    against: str = ""
    """Strategy whose performance on the same task is first taken away from ``y``."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The (partial) correlation of each seed; NaN for a seed with fewer points than the fullest.

    With ``within`` NaN also for one that has none in some of the combinations.
    """
    rows = points(
        tables,
        settings.table,
        settings.where,
        x=settings.x,
        y=settings.y,
        leave_out=settings.leave_out,
        against=settings.against,
    )
    known(rows, settings.table, *settings.hold, *settings.within)
    found = {
        seed: np.nan if of is None else _one(of, settings)
        for seed, of in by_seed(rows, settings.x, settings.y).items()
    }
    return pd.Series(found, dtype=float)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return with_yardstick(settings.where, settings.against)


def _one(points: pd.DataFrame, settings: Settings) -> float:
    if not settings.within:
        return _correlation(points, settings)
    parts = points.groupby(list(settings.within))
    each = [_correlation(part, settings) for _, part in parts]
    return np.nan if np.isnan(each).any() else statistics.correlation_interval(each).mean


def _correlation(points: pd.DataFrame, settings: Settings) -> float:
    x, y = points[settings.x].to_numpy(float), points[settings.y].to_numpy(float)
    if settings.hold:
        fixed = pd.get_dummies(
            points[list(settings.hold)].astype(str), drop_first=True, dtype=float
        )
        return statistics.partial_correlation(x, y, fixed.to_numpy(), method=settings.method)
    if settings.method == "pearson":
        return statistics.pearson(x, y)
    return statistics.spearman_inside(x, y)
