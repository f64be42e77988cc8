"""Which instrument foretells forgetting, and which loss of plasticity, on benchmarks left out.

Points are seeds of runs after tasks (`outcomes.gathered`). For each instrument and outcome:

* **held out**: by least squares, outcome ~ task index + instrument is fitted to all points but
  those of one family of benchmarks and foretells the family's. Beside Spearman's correlation of
  foretold and actual stands the gain in R^2 over the same model with the task index alone,

      gain = 1 - SSE(task index + instrument) / SSE(task index),

  both sums of squares over the family left out (an out-of-sample R^2 with the smaller model in the
  place of the mean, as Campbell & Thompson 2008, Rev. Financ. Stud. 21, 1509, have it). A common
  trend over tasks alone gives a correlation, and no gain. It is below 0 where the instrument
  misleads. The task index as an "instrument" of its own is held against the mean of the others.
* **partial**: Spearman's correlation of instrument and outcome over all points with the task index
  and the combinations of study, benchmark and architecture held fixed, as
  `statistics.partial_correlation` does it.

``together`` is the model with all of ``TOGETHER``, the instruments that every network has.

The independent unit is the seed. All numbers are computed within the first seed of every benchmark,
within the second and so on (seeds of different benchmarks have nothing in common but their place),
and have the mean and interval over these that `statistics` gives: Student's below ten, else a
bootstrap over seeds; correlations on Fisher's z scale, Spearman's rho held inside its ends.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forgetting import statistics
from forgetting.outcomes import ABOUT, OUTCOMES

TASK, ALL = "task_index", "together"
TOGETHER = (
    "weight_effective_rank",
    "activation_effective_rank",
    "dead_units",
    "log10_nc1",
    "log10_weight_norm",
)
LABELS = {
    "weight_effective_rank": "effective rank of weights",
    "activation_effective_rank": "effective rank of features",
    "cka_to_past": "CKA to the past",
    "dead_units": "dead units",
    "log10_nc1": "log10 NC1",
    "log10_weight_norm": "log10 weight norm",
    "epsilon_rank": "epsilon-rank",
    TASK: "task index alone",
    ALL: "all that every network has",
}
MEAN = "mean"
"""In the place of a family: the mean over all that were held out, and the partial correlation."""
FEWEST = 3
"""Points of a seed that a family must have to be held out."""
NOTHING = ", so nothing can be held out"
"""What follows where fewer than two families have an instrument and an outcome."""
ROUNDING = 1e-12
"""What a predictor's spread exceeds relative to its size, or it is the same number throughout."""
PLACE = ["study", "benchmark", "architecture"]
NUMBERS = ("spearman", "gain", "partial")
COLUMNS = [
    *("outcome", "instrument", "held_out", "points", "seeds"),
    *(f"{number}{end}" for number in NUMBERS for end in ("", "_low", "_high")),
    "reason",
]
Array = NDArray[np.float64]


def predict(table: pd.DataFrame) -> pd.DataFrame:
    """Return how well each instrument foretells each outcome, a row for each family held out.

    Columns: outcome, instrument, held_out (a family, or ``mean``), points (of all seeds), seeds
    (with a number), then ``spearman``, ``gain`` and, in the rows ``mean``, ``partial``, each with
    ``_low`` and ``_high``; reason (why there is none).

    Args:
        table: As `outcomes.gathered` returns it, with a column ``study``; of any number of studies.
    """
    table = table.assign(replicate=replicates(table))
    rows: list[dict[str, Any]] = []
    for outcome in OUTCOMES:
        points = table[table[outcome].notna()]
        for name, columns in _models(table).items():
            rows += _rows(points.dropna(subset=columns), outcome, name, columns)
    return pd.DataFrame(rows, columns=COLUMNS)


def instruments(table: pd.DataFrame) -> list[str]:
    """Return the instruments of a table: those known here first, in one order for all."""
    found = [str(name) for name in table if name not in (*ABOUT, *OUTCOMES, "replicate")]
    return sorted(found, key=lambda name: [*LABELS, name].index(name))


def replicates(table: pd.DataFrame) -> "pd.Series[float]":
    """Return the place of every row's seed among the seeds of its benchmark, from 1."""
    return table.groupby(["study", "benchmark"])["seed"].rank(method="dense")


def held_out(
    x: Array, y: Array, out: NDArray[np.bool_], *, over: Array | None = None
) -> tuple[float, float]:
    """Return Spearman's correlation of foretold and actual, and the gain in R^2.

    Args:
        x: Predictors, shape (points, k); an intercept is added.
        y: The outcome, shape (points,).
        out: Which points are left out of the fit and foretold.
        over: Predictors (points, l) of the model that is to be surpassed; None: the mean alone.

    Returns:
        NaN for both with fewer than ``FEWEST`` points left out, or no more points to fit than
        coefficients; for the correlation where all foretold, or all actual, are alike.
    """
    base = np.empty((len(y), 0)) if over is None else over
    count = int(out.sum())
    if count < FEWEST or len(y) - count <= x.shape[1] + 1:
        return np.nan, np.nan
    foretold, without = (_foretold(each, y, out) for each in (x, base))
    actual = y[out]
    correlation = statistics.spearman_inside(foretold, actual)
    error = float(np.square(actual - without).sum())
    gain = 1 - float(np.square(actual - foretold).sum()) / error if error > 0 else np.nan
    return correlation, gain


def _models(table: pd.DataFrame) -> dict[str, list[str]]:
    found = instruments(table)
    together = [name for name in TOGETHER if name in found]
    return {TASK: [], **{name: [name] for name in found}, **({ALL: together} if together else {})}


def _foretold(x: Array, y: Array, out: NDArray[np.bool_]) -> Array:
    """Fit on what is not left out, standardised by its mean and spread; foretell the rest."""
    mean, spread = x[~out].mean(axis=0), x[~out].std(axis=0)
    # A predictor that varies by rounding only where the model is fitted says nothing elsewhere.
    varies = spread > ROUNDING * np.abs(x[~out]).max(axis=0)
    scaled = np.where(varies, (x - mean) / np.where(varies, spread, 1.0), 0.0)
    design = np.column_stack([np.ones(len(y)), scaled])
    coefficients = np.linalg.lstsq(design[~out], y[~out], rcond=None)[0]
    return design[out] @ coefficients


def _rows(
    points: pd.DataFrame, outcome: str, name: str, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each family, and one for their mean."""
    seeds = [rows for _, rows in points.groupby("replicate")]
    families = sorted(points["family"].unique())
    about = {"outcome": outcome, "instrument": name}
    scores = {family: np.full((len(seeds), 2), np.nan) for family in families}
    for number, rows in enumerate(seeds):
        task = rows[["task"]].to_numpy(float)
        x = np.column_stack([task, rows[list(columns)].to_numpy(float)])
        for family in families:
            out = (rows["family"] == family).to_numpy()
            over = task if columns else None
            scores[family][number] = held_out(x, rows[outcome].to_numpy(float), out, over=over)
    short = ""
    if len(families) < 2:
        short = "no point has both" if not families else f"only {families[0]} has both"
        short += NOTHING
    for family in families:
        own = points[points["family"] == family]
        found = _numbers(spearman=scores[family][:, 0], gain=scores[family][:, 1])
        none = short or ("" if found["seeds"] else "too few points of a seed, or all alike")
        yield {**about, "held_out": family, "points": len(own), **found, "reason": none}
    # A family that no seed can be judged on is left out; a seed that lacks one of the others, too.
    whole = np.full((len(seeds), 2), np.nan)
    for part in range(2):
        judged = [s[:, part] for s in scores.values() if not np.isnan(s[:, part]).all()]
        if judged:
            whole[:, part] = np.mean(judged, axis=0)
    partial = [_partial(rows, columns, outcome) for rows in seeds]
    found = _numbers(spearman=whole[:, 0], gain=whole[:, 1], partial=np.array(partial))
    none = short or ("" if found["seeds"] else "too few points of a seed, or all alike")
    yield {**about, "held_out": MEAN, "points": len(points), **found, "reason": none}


def _partial(rows: pd.DataFrame, columns: Sequence[str], outcome: str) -> float:
    if len(columns) != 1:
        return np.nan
    place = rows[PLACE].astype(str).agg("/".join, axis=1)
    fixed = pd.get_dummies(place, drop_first=True, dtype=float)
    covariates = np.column_stack([rows["task"].to_numpy(float), fixed.to_numpy()])
    x, y = (rows[column].to_numpy(float) for column in (columns[0], outcome))
    return statistics.partial_correlation(x, y, covariates, method="spearman")


def _numbers(**values: Array) -> dict[str, Any]:
    """Mean and interval over seeds of each number, and how many seeds have one."""
    found: dict[str, Any] = {"seeds": 0}
    for name, each in values.items():
        of = statistics.interval if name == "gain" else statistics.correlation_interval
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), of(each), strict=True))
        if name != "partial":
            found["seeds"] = max(found["seeds"], int(np.isfinite(each).sum()))
    return found
