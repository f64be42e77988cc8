"""How far estimators of the epsilon-rank are off, and what dead units say about the rank."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, PercentFormatter

from forgetting import plots, tables
from forgetting.figures import _frame, _ladders, _lines, _method_rows, _panels, _spectral_ranks
from forgetting.figures._lines import Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import DeadUnitsAgainstBound, EstimatorError

EQUAL = Line("epsilon-rank = bound", plots.GREY, "", _lines.DASHED, 1.0)
LINEAR = 0.1  # relative error up to which the axis is linear


@_panels.drawing
def estimator_error(given: Tables, settings: "EstimatorError") -> Drawn:
    """A line per number of Lanczos steps, and one of the published estimator: error by epsilon."""
    name, chosen = settings.benchmark, [settings.strategy]
    runs = _method_rows.of_benchmark(given, "runs", name, chosen)
    rows = _method_rows.of_benchmark(given, "hessian", name, chosen)
    rows = rows[(rows["moment"] == "init") & (rows["split"] == settings.split)]
    errors = relative_errors(rows)
    errors = _panels.some(errors, f"hessian.csv has no exact epsilon-rank on {name}")
    runs = _method_rows.about(runs, errors)
    by_seed = errors.groupby(["estimator", "steps", "eps", "seed"], as_index=False).agg(
        {"error": "mean"}
    )
    drawn = _panels.some_over_seeds(by_seed, ["estimator", "steps", "eps"], "error")
    steps = sorted(drawn.loc[drawn["estimator"] == "quadrature", "steps"].unique())
    shades = _ladders.colours(len(steps)) if steps else []
    styles = {
        ("quadrature", each): Line(f"quadrature, {each:.0f} steps", shade)
        for each, shade in zip(steps, shades, strict=True)
    }
    longest = drawn["steps"].max()
    published = _spectral_ranks.ESTIMATORS["published"]
    label = f"as published, {longest:.0f} steps"
    styles["published", longest] = Line(label, published.colour, published.marker)
    drawn = drawn[(drawn["estimator"] == "quadrature") | (drawn["steps"] == longest)]
    figure, axes = _frame.panels(1, 1, height=2.5)
    ax = axes[0, 0]
    ax.axhline(0, color=plots.GREY, lw=0.8)
    for (estimator, each), style in styles.items():
        mine = drawn[(drawn["estimator"] == estimator) & (drawn["steps"] == each)]
        if len(mine):
            _lines.line(ax, mine, "eps", style, within=(-1, np.inf))
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=1.0)
    low, high = drawn["mean"].min(), drawn["mean"].max()
    low, high = min(1.3 * low, -LINEAR), max(2.0 * high, LINEAR)
    ax.set_ylim(low, high)
    beyond = [10.0**k for k in range(-1, 9)]
    ticks = [*(-each for each in beyond[::-1]), 0.0, *beyond]
    ax.set_yticks([tick for tick in ticks if low <= tick <= high])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value)))
    ax.minorticks_off()
    ax.set_xlabel("epsilon")
    ax.set_ylabel("error, relative to the\nexact epsilon-rank")
    _panels.finish(
        figure,
        runs,
        "Error of estimators of the epsilon-rank",
        benchmark=name,
        what=f"all eigenvalues known  ·  {plots.look(settings.strategy).label}",
        notes=[
            *_panels.footnotes(runs),
            "Of each seed: mean over tasks at their start. "
            f"The axis is linear within ±{LINEAR:.0%} and logarithmic beyond.",
        ],
        key=[style.handle() for style in styles.values()],
    )
    return figure, drawn


def relative_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """(estimate - exact) / exact of both estimators; no row where the exact epsilon-rank is 0.

    Returns:
        The run, task, steps, eps, estimator (``quadrature``, ``published``), error.
    """
    keys = [*tables.ID, "task", "eps"]
    exact = rows[rows["statistic"] == "epsilon_rank_exact"].drop_duplicates(keys)
    exact = exact.loc[exact["value"] > 0, [*keys, "value"]].rename(columns={"value": "exact"})
    names = {"epsilon_rank": "quadrature", "epsilon_rank_published": "published"}
    found = rows[rows["statistic"].isin(names)].merge(exact, on=keys)
    found["estimator"] = found["statistic"].map(names)
    found["error"] = (found["value"] - found["exact"]) / found["exact"]
    return found[[*tables.ID, "task", "steps", "eps", "estimator", "error"]]


def _signed(value: float) -> str:
    text = f"{100 * value:+,.0f} %" if value else "0"
    return text.replace("-", "\N{MINUS SIGN}")


@_panels.drawing
def dead_units_against_bound(given: Tables, settings: "DeadUnitsAgainstBound") -> Drawn:
    """A point per run and task: epsilon-rank at the smallest epsilon against the bound."""
    name, split = settings.benchmark, settings.split
    runs = _method_rows.of_benchmark(given, "runs", name)
    dead = _method_rows.of_benchmark(given, "dead_units", name)
    ranks = _method_rows.of_benchmark(given, "hessian", name)
    points, eps = against_bound(dead, ranks, split)
    figure, axes = _frame.panels(1, 1, height=2.9)
    ax = axes[0, 0]
    _spectral_ranks.scatter(ax, points, "bound", "epsilon_rank")
    low = max(0.0, 0.9 * points["bound"].min())
    ax.set_xlim(low, 1.0 + 0.02 * (1 - low))
    ax.set_ylim(0, 1.05 * max(points["epsilon_rank"].max(), points["bound"].min()))
    top = min(1.0, ax.get_ylim()[1])
    ax.plot([0, top], [0, top], color=EQUAL.colour, ls=EQUAL.style, lw=EQUAL.width, zorder=1)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    ax.set_xlabel("bound on the rank from dead units (share of parameters)")
    ax.set_ylabel(f"epsilon-rank, epsilon = {eps:g}\n(share of parameters)")
    strategies = plots.in_order(points["strategy"])
    without = _method_rows.unmeasured(runs, points)
    above = int(points["above"].sum())
    mine = _method_rows.about(runs, points)
    _panels.finish(
        figure,
        mine,
        "The epsilon-rank against the bound that dead units set",
        benchmark=name,
        what=f"start of tasks, {split} images",
        notes=[
            f"A point is one seed of a strategy at one task; {_panels.seed_count(mine)}. "
            f"{above} of {len(points)} lie above the line."
            + (" No rank can: such an estimate is off, or its images are others." if above else ""),
            *_method_rows.naming(without, "No bound or no spectrum"),
            *_panels.footnotes(mine)[1:],
        ],
        key=[
            *(_lines.of_strategy(strategy, style="none").handle() for strategy in strategies),
            EQUAL.handle(),
        ],
    )
    return figure, points


def against_bound(
    dead: pd.DataFrame, ranks: pd.DataFrame, split: str
) -> tuple[pd.DataFrame, float]:
    """Bound and epsilon-rank of each run at the start of each task, as shares, and the epsilon.

    Returns:
        The run, task, bound, epsilon_rank, above (whether the epsilon-rank is beyond the bound);
        and the smallest epsilon measured. Of several numbers of Lanczos steps the largest counts.
    """
    keys = [*tables.ID, "task"]
    dead = _method_rows.at_start(dead, "dead_units", "rank_bound", split)
    dead = dead.assign(bound=dead["value"] / dead["parameters"])
    ranks = _method_rows.at_start(ranks, "hessian", "epsilon_rank", split)
    eps = float(ranks["eps"].min())
    ranks = ranks[ranks["eps"] == eps]
    ranks = ranks[ranks["steps"] == ranks.groupby(tables.ID)["steps"].transform("max")]
    ranks = ranks.rename(columns={"value": "epsilon_rank"})
    points = dead[[*keys, "bound"]].merge(ranks[[*keys, "epsilon_rank"]], on=keys)
    points = points.dropna(subset=["bound", "epsilon_rank"])
    points = _panels.some(points, "no task has both a bound and a spectrum")
    return points.assign(above=points["epsilon_rank"] > points["bound"]), eps
