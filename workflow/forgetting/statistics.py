"""Numbers about runs: scores of an accuracy matrix, and intervals over seeds.

The accuracy matrix ``R`` has shape (tasks + 1, tasks): ``R[t, j - 1]`` is the accuracy on task
``j`` after training on tasks 1 to ``t``; row 0 is before training. Scores are fractions in the
unit of ``R``. A score whose entries hold NaN (a diverged run, a task that was not evaluated) is
NaN, never an average over what happens to be there.

Intervals follow one rule: below ten seeds a t-interval, from ten on a bootstrap over seeds; a share
of seeds has the exact binomial one.

``scipy.stats`` takes half a second to import, as long as a figure takes to draw: only the bootstrap
has it.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean (or a mean correlation) with the limits of its interval."""

    mean: float
    low: float
    high: float


def average_accuracy(R: ArrayLike) -> float:
    """Mean of the last row: ACC of Lopez-Paz & Ranzato (2017), eq. 2.

    Args:
        R: Accuracies, shape (tasks + 1, tasks), row 0 before training.

    Raises:
        ValueError: ``R`` has another shape.
    """
    return float(_matrix(R)[-1].mean())


def forgetting(R: ArrayLike) -> float:
    """Average forgetting after the last task: Chaudhry et al. (2018), section 4.1.

    For every task j < T the largest of rows 1 to T - 1 minus the last row; then the mean over
    j. As published, rows before task j was learned take part in the maximum (row 0 does not);
    where those were not evaluated (NaN above the diagonal) the others decide. NaN for one task.

    Args:
        R: Accuracies, shape (tasks + 1, tasks), row 0 before training.

    Raises:
        ValueError: ``R`` has another shape.
    """
    matrix = _matrix(R)
    tasks = matrix.shape[1]
    if tasks < 2:
        return float("nan")
    earlier = matrix[1:-1, :-1].copy()
    unlearned = np.triu(np.ones_like(earlier, dtype=bool), k=1)
    earlier[unlearned & np.isnan(earlier)] = -np.inf
    return float((earlier.max(axis=0) - matrix[-1, :-1]).mean())


def backward_transfer(R: ArrayLike) -> float:
    """Mean over j < T of the last row minus the diagonal: BWT of Lopez-Paz & Ranzato (2017), eq. 3.

    Negative when learning later tasks harms earlier ones. NaN for one task.

    Args:
        R: Accuracies, shape (tasks + 1, tasks), row 0 before training.

    Raises:
        ValueError: ``R`` has another shape.
    """
    matrix = _matrix(R)
    if matrix.shape[1] < 2:
        return float("nan")
    return float((matrix[-1] - np.diagonal(matrix[1:]))[:-1].mean())


def forward_transfer(R: ArrayLike) -> float:
    """Mean over j > 1 of the row before task j minus row 0: FWT of Lopez-Paz & Ranzato (2017).

    Their eq. 4; the baseline is the accuracy of the same network before training, as in the
    paper. NaN for one task.

    Args:
        R: Accuracies, shape (tasks + 1, tasks), row 0 before training.

    Raises:
        ValueError: ``R`` has another shape.
    """
    matrix = _matrix(R)
    if matrix.shape[1] < 2:
        return float("nan")
    return float((np.diagonal(matrix[:-1]) - matrix[0])[1:].mean())


def learning_accuracy(R: ArrayLike) -> float:
    """Mean accuracy on each task right after it was learned: LA of Riemer et al. (2019).

    Args:
        R: Accuracies, shape (tasks + 1, tasks), row 0 before training.

    Raises:
        ValueError: ``R`` has another shape.
    """
    return float(np.diagonal(_matrix(R)[1:]).mean())


def interval(values: ArrayLike, level: float = 0.95, *, step: float = 0.0) -> Interval:
    """Mean over seeds with a two-sided interval at ``level``.

    Below ten values Student's t-interval; from ten on the bias-corrected and accelerated (BCa)
    bootstrap of the mean over seeds (Efron 1987), 9,999 resamples from a fixed generator. NaN
    values are dropped (the caller counts them). Below two values the limits are NaN.

    Values on a grid (tasks, pairs in order) may all be one and the same. They are then taken to
    spread as numbers do that were rounded to the grid, uniformly within step / 2 to either side:
    standard deviation step / sqrt(12), as in Sheppard's correction. Without a grid their interval
    has no width.

    Args:
        values: One value per seed, shape (seeds,).
        level: Coverage, between 0 and 1.
        step: Distance between neighbours on the grid; 0 without one.
    """
    finite = _finite(values, level)
    if len(finite) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(finite.mean())
    if len(finite) == 1:
        return Interval(mean, float("nan"), float("nan"))
    if np.ptp(finite) == 0:  # BCa divides by a spread of zero
        half = float(_t(level, len(finite)) * step / np.sqrt(12 * len(finite)))
        return Interval(mean, mean - half, mean + half)
    if len(finite) < 10:
        half = _t(level, len(finite)) * (finite.std(ddof=1) / np.sqrt(len(finite)))
        return Interval(mean, float(mean - half), float(mean + half))
    from scipy import stats

    limits = stats.bootstrap(
        (finite,),
        np.mean,
        confidence_level=level,
        n_resamples=9999,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean, float(limits.low), float(limits.high))


def share_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Share of seeds that have something, with the exact interval of Clopper & Pearson (1934).

    Args:
        values: 1 or 0 for each seed, shape (seeds,); NaN values are dropped.
        level: Coverage, between 0 and 1; at least that, whatever the share is.
    """
    from scipy import special

    finite = _finite(values, level)
    count, have = len(finite), int(finite.sum())
    if count == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    tail = (1 - level) / 2
    low = special.betaincinv(have, count - have + 1, tail) if have else 0.0
    high = special.betaincinv(have + 1, count - have, 1 - tail) if have < count else 1.0
    return Interval(have / count, float(low), float(high))


def prediction_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Where one further run would fall: mean ± t s sqrt(1 + 1/n), for normal values.

    The t form is used at every number of seeds: quantiles of a 95 % interval for one run cannot
    be resampled from ten or twenty. NaN values are dropped; below two the limits are NaN.

    Args:
        values: One value per seed, shape (seeds,).
        level: Coverage, between 0 and 1.
    """
    finite = _finite(values, level)
    if len(finite) < 2:
        return interval(finite, level)
    mean, count = float(finite.mean()), len(finite)
    spread = finite.std(ddof=1) * np.sqrt(1 + 1 / count)
    half = float(_t(level, count) * spread)
    return Interval(mean, mean - half, mean + half)


def correlation_interval(
    correlations: ArrayLike, level: float = 0.95, *, prediction: bool = False
) -> Interval:
    """Mean of per-seed correlations with its interval, both on Fisher's z scale.

    z = artanh(r) (Fisher 1915) is averaged and given the interval of :func:`interval` (or of
    :func:`prediction_interval`), and all three numbers are transformed back. |r| is held below
    1 - 1e-6, so a perfect correlation has a finite z.

    Args:
        correlations: One correlation per seed, shape (seeds,), each in [-1, 1].
        level: Coverage, between 0 and 1.
        prediction: Whether the interval is for one further run instead of for the mean.

    Raises:
        ValueError: A value lies outside [-1, 1].
    """
    r = _finite(correlations, level)
    if np.any(np.abs(r) > 1 + 1e-9):
        raise ValueError(f"correlations must lie in [-1, 1], found {r[np.abs(r) > 1][0]}")
    z = np.arctanh(np.clip(r, -1 + 1e-6, 1 - 1e-6))
    found = prediction_interval(z, level) if prediction else interval(z, level)
    return Interval(*(float(np.tanh(limit)) for limit in found))


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of two vectors of one length.

    NaN below three points, for a constant vector, or where an entry is NaN.
    """
    a, b = _vectors(x, y)
    if len(a) < 3:
        return float("nan")
    return _cosine(a - a.mean(), b - b.mean(), (np.abs(a).max(), np.abs(b).max()))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation (ties share their mean rank); NaN as for :func:`pearson`."""
    return pearson(*(_ranks(vector) for vector in _vectors(x, y)))


def spearman_inside(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's correlation, held half a step inside -1 and 1, where Fisher's z is infinite.

    One step of rho of n points is 12 / (n^3 - n); fewer than three points are left as they are.
    """
    count = np.size(x)
    end = 1 - 6 / (count**3 - count) if count > 2 else 1.0
    return float(np.clip(spearman(x, y), -end, end))


def partial_correlation(
    x: ArrayLike, y: ArrayLike, covariates: ArrayLike, *, method: str = "pearson"
) -> float:
    """Correlation of what is left of ``x`` and ``y`` after a linear fit to the covariates.

    Both are regressed on the covariates and an intercept by least squares; the residuals are
    correlated. With ``method="spearman"`` every column is replaced by its ranks first. NaN
    where fewer than two degrees of freedom are left or the covariates explain a vector fully.

    Args:
        x: Shape (points,).
        y: Shape (points,).
        covariates: Shape (points, k); categories as indicator columns.
        method: ``pearson`` or ``spearman``.

    Raises:
        ValueError: The lengths differ, or the method is unknown.
    """
    a, b = _vectors(x, y)
    design = np.asarray(covariates, dtype=np.float64)
    if design.ndim != 2 or len(design) != len(a):
        raise ValueError(f"covariates must have shape ({len(a)}, k), found {design.shape}")
    if method == "spearman":
        a, b = _ranks(a), _ranks(b)
        design = np.apply_along_axis(_ranks, 0, design) if design.size else design
    elif method != "pearson":
        raise ValueError(f"method must be pearson or spearman, found {method!r}")
    if np.isnan(a).any() or np.isnan(b).any() or np.isnan(design).any():
        return float("nan")
    design = np.column_stack([np.ones(len(a)), design])
    if len(a) - np.linalg.matrix_rank(design) < 2:
        return float("nan")
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (a, b)]
    return _cosine(left[0], left[1], (np.abs(a).max(), np.abs(b).max()))


def _matrix(R: Any) -> Array:
    matrix = np.asarray(R.detach().cpu() if hasattr(R, "detach") else R, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 1 or matrix.shape[0] != matrix.shape[1] + 1:
        raise ValueError(
            "an accuracy matrix has shape (tasks + 1, tasks), row 0 before training; "
            f"found {matrix.shape}"
        )
    return matrix


def _finite(values: ArrayLike, level: float) -> Array:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {level}")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"values must be one per seed, found shape {array.shape}")
    if np.isinf(array).any():
        raise ValueError("values must be finite or NaN")
    return array[~np.isnan(array)]


def _t(level: float, count: int) -> float:
    """Half the width of a t-interval of so many values, in standard errors."""
    from scipy import special

    return float(special.stdtrit(count - 1, (1 + level) / 2))


def _vectors(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two vectors of one length are needed, found {a.shape} and {b.shape}")
    return a, b


def _ranks(vector: Array) -> Array:
    """Ranks from 1, equal values sharing the mean of theirs; all NaN where one entry is."""
    if np.isnan(vector).any():
        return np.full(len(vector), np.nan)
    return np.asarray(pd.Series(vector).rank(), dtype=np.float64)


def _cosine(a: Array, b: Array, scales: tuple[float, float]) -> float:
    """Cosine of two centred vectors; NaN where one is zero to rounding at its scale."""
    norms = np.linalg.norm(a), np.linalg.norm(b)
    rounding = 1e-12 * np.sqrt(len(a))
    if not (norms[0] > rounding * scales[0] and norms[1] > rounding * scales[1]):
        return float("nan")
    return float(np.clip((a / norms[0]) @ (b / norms[1]), -1, 1))
