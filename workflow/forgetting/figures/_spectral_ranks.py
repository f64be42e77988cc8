"""Performance against the epsilon-rank of the Hessian, by the paper's estimator and a sound one."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from forgetting import plots, statistics, tables
from forgetting.figures import _frame, _lines, _method_rows, _panels
from forgetting.figures._lines import Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import (
        EpsilonRankAgainstPerformance,
        OfStarts,
        RSquaredByEpsilon,
    )

ESTIMATORS = {
    "quadrature": Line("Lanczos quadrature", "#0072B2"),
    "published": Line("as published (smoothed)", "#D55E00", "s"),
    "exact": Line("all eigenvalues", "#000000", "^"),
}
FIT = Line("least squares", plots.GREY, "", _lines.DASHED, 1.0)


@_panels.drawing
def epsilon_rank_against_performance(
    given: Tables, settings: "EpsilonRankAgainstPerformance"
) -> Drawn:
    """A panel per estimator, a point per run and task, the line of least squares, R squared."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name)
    rows = _pairs(given, settings)
    eps, why = settings.eps, "as asked for"
    if eps is None:
        fits = pooled(rows)
        best = _panels.some(
            fits[(fits["estimator"] == "published") & fits["r_squared"].notna()],
            "R squared of the published estimator is not defined for any epsilon",
        )
        eps = float(best.sort_values("r_squared", kind="stable")["eps"].iloc[-1])
        why = "the largest R squared by the published estimator"
    measured = ", ".join(f"{each:g}" for each in sorted(rows["eps"].unique()))
    points = _panels.some(
        rows[np.isclose(rows["eps"], eps)],
        f"rank_and_performance.csv has no epsilon {eps:g} on {name} (it has {measured})",
    )
    found = pooled(points)
    estimators = [each for each in ESTIMATORS if (points["estimator"] == each).any()]
    figure, axes = _frame.panels(1, len(estimators), height=2.5, sharey=True)
    for ax, estimator in zip(axes[0], estimators, strict=True):
        mine = points[points["estimator"] == estimator]
        scatter(ax, mine, "epsilon_rank", "performance")
        (fit,) = found[found["estimator"] == estimator].to_dict("records")
        ends = np.array([mine["epsilon_rank"].min(), mine["epsilon_rank"].max()])
        if np.isfinite(fit["slope"]):
            line = fit["intercept"] + fit["slope"] * ends
            ax.plot(ends, line, color=FIT.colour, ls=FIT.style, lw=FIT.width, zorder=4)
        title = f"{ESTIMATORS[estimator].label}\n{in_words(fit)}"
        ax.set_title(title, loc="left", linespacing=1.3)
        ax.set_xlabel(f"share of eigenvalues beyond ±{eps:g}")
    axes[0, 0].set_ylabel(_method_rows.metric_label(given, name))
    strategies = plots.in_order(points["strategy"])
    compared = runs[~runs["strategy"].isin(settings.leave_out)]
    others = _method_rows.naming(_method_rows.unmeasured(compared, points), "Not measured")
    others += _left_out(runs, settings)
    runs = _method_rows.about(runs, points)
    _panels.finish(
        figure,
        runs,
        "Performance on a task against the Hessian's epsilon-rank at its start",
        benchmark=name,
        what=f"epsilon {eps:g}: {why}",
        notes=[
            f"A point is one seed of a strategy at one task; {_panels.seed_count(runs)}. "
            "R squared over all points together, as published: those of one seed are not "
            "independent. Scales need not begin at zero.",
            *_panels.footnotes(runs)[1:],
            *others,
        ],
        key=[*(_point(strategy) for strategy in strategies), FIT.handle()],
    )
    columns = ["estimator", "eps", *tables.ID, "task", "epsilon_rank", "performance"]
    parts = [points[columns].assign(kind="point"), found.assign(kind="fit")]
    return figure, pd.concat(parts, ignore_index=True)


@_panels.drawing
def r_squared_by_epsilon(given: Tables, settings: "RSquaredByEpsilon") -> Drawn:
    """A line per estimator: R squared within a seed by epsilon; the largest is ringed."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name)
    rows = _pairs(given, settings)
    fits = per_seed(rows)
    # As in the study's claims: a seed that lacks points is not compared with those that have all.
    whole = fits["n"] == fits.groupby(["estimator", "eps"])["n"].transform("max")
    drawn = _panels.some(
        _panels.over_seeds(fits[whole], ["estimator", "eps"], "r_squared"),
        "no seed has three points whose epsilon-ranks differ",
    )
    drawn["largest"] = drawn["mean"] == drawn.groupby("estimator")["mean"].transform("max")
    figure, axes = _frame.panels(1, 1, height=2.4)
    ax = axes[0, 0]
    for estimator, style in ESTIMATORS.items():
        mine = drawn[drawn["estimator"] == estimator]
        if len(mine):
            _lines.line(ax, mine, "eps", style)
            _lines.ring(ax, mine[mine["largest"]], "eps", style)
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("epsilon")
    ax.set_ylabel("R squared of performance\non epsilon-rank")
    mine = _method_rows.about(runs, rows)
    _panels.finish(
        figure,
        mine,
        "What the choice of epsilon makes of R squared",
        benchmark=name,
        what="within each seed, over strategies and tasks",
        notes=[
            *_panels.footnotes(mine),
            *([] if whole.all() else ["Left out here: seeds without a point for every task."]),
            "Ringed: the epsilon with the largest R squared.",
            *_left_out(runs, settings),
        ],
        key=[style.handle() for e, style in ESTIMATORS.items() if (drawn["estimator"] == e).any()],
    )
    return figure, drawn


def _pairs(given: Tables, settings: "OfStarts") -> pd.DataFrame:
    """Epsilon-ranks with the performance on the same task, of what is compared."""
    rows = _method_rows.of_benchmark(given, "rank_and_performance", settings.benchmark)
    rows = rows[rows["task"] >= settings.first_task]
    rows = rows[~rows["strategy"].isin(settings.leave_out)]
    rows = rows.dropna(subset=["epsilon_rank", "performance"])
    return _panels.some(rows, f"{_panels.NONE_LEFT}, from task {settings.first_task} on")


def _left_out(runs: pd.DataFrame, settings: "OfStarts") -> list[str]:
    """A note that names the strategies that were run and are left out."""
    found = plots.in_order(set(runs["strategy"]) & set(settings.leave_out))
    return _method_rows.naming(found, "Left out")


def least_squares(x: ArrayLike, y: ArrayLike) -> dict[str, float]:
    """Intercept, slope and R squared of y on x, and the number of points.

    NaN below three points or where x or y does not vary.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    r = statistics.pearson(a, b)
    slope = r * b.std() / a.std() if np.isfinite(r) else np.nan
    intercept = b.mean() - slope * a.mean()
    return {"intercept": intercept, "slope": slope, "r_squared": r * r, "n": len(a)}


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """The fit over all points of every estimator and epsilon."""
    return _fits(rows, ["estimator", "eps"])


def per_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The fit over the points of each seed, for every estimator and epsilon."""
    return _fits(rows, ["estimator", "eps", "seed"])


def _fits(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    found: list[dict[str, Any]] = []
    for group, cells in rows.groupby(keys):
        fit = least_squares(cells["epsilon_rank"], cells["performance"])
        found.append({**dict(zip(keys, group, strict=True)), **fit})
    return pd.DataFrame(found, columns=[*keys, "intercept", "slope", "r_squared", "n"])


def in_words(fit: Any) -> str:
    """R squared and the number of points as they stand above a panel."""
    if np.isnan(fit["r_squared"]):
        return f"R² undefined, n = {fit['n']:.0f}"
    falls = ", falling" if fit["slope"] < 0 else ""
    return f"R² = {fit['r_squared']:.2f}{falls}, n = {fit['n']:.0f}"


def scatter(ax: Axes, points: pd.DataFrame, x: str, y: str) -> None:
    """A point per row in the look of its strategy; both axes in per cent."""
    for strategy in plots.in_order(points["strategy"]):
        look, at = plots.look(strategy), points[points["strategy"] == strategy]
        style: dict[str, Any] = {"marker": look.marker, "color": look.colour, "linewidths": 0}
        ax.scatter(at[x], at[y], s=13, alpha=0.75, **style)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _point(strategy: str) -> Any:
    return _lines.of_strategy(strategy, style="none").handle()
