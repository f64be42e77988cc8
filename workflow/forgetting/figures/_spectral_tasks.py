"""What strategies do over tasks: performance, dead units, rank of features, norm of weights."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from forgetting import plots, tables
from forgetting.figures import _frame, _lines, _method_rows, _panels, _spectral_paper
from forgetting.figures._lines import Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import OfSplit, PerformanceOverTasks, WeightNormOverTasks

MANY = 30  # points on a line, beyond which they have no markers
HEIGHT = 2.9
SPARSE = "Scales need not begin at zero."


@_panels.drawing
def performance_over_tasks(given: Tables, settings: "PerformanceOverTasks") -> Drawn:
    """A line per strategy: how well each task was learned; dashed, what the paper shows."""
    name, window = settings.benchmark, settings.window
    runs = _method_rows.of_benchmark(given, "runs", name)
    rows = _method_rows.of_benchmark(given, "performance", name)
    rows = rows.sort_values([*tables.ID, "task"])
    runs = _method_rows.about(runs, rows)
    series = rows.groupby(tables.ID)["value"]
    rows["value"] = series.transform(
        lambda values: values.rolling(window, center=True, min_periods=1).mean()
    )
    drawn = _panels.some_over_seeds(rows, ["strategy", "task"]).assign(source="ours")
    paper = _spectral_paper.curves(runs[runs["strategy"].isin(drawn["strategy"])], name)
    paper = paper.rename(columns={"performance": "mean"}).assign(source="paper")
    figure, axes = _frame.panels(1, 1, height=HEIGHT)
    ax = axes[0, 0]
    _panels.task_axis(ax, int(runs["tasks"].max()), first=1)
    strategy_lines(ax, drawn, runs, within=(0, 1))
    for strategy, curve in paper.groupby("strategy"):
        look = plots.look(str(strategy))
        ax.plot(curve["task"], curve["mean"], color=look.colour, lw=0.7, ls=_lines.DASHED)
    tight_axis(ax, pd.concat([drawn, paper]))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    ax.set_xlabel("task")
    ax.set_ylabel(_method_rows.metric_label(given, name))
    dashed = Line("as published", plots.GREY, "", _lines.DASHED, 0.7)
    smoothing = f"Means over {window} tasks around each." if window > 1 else ""
    _panels.finish(
        figure,
        runs,
        "How well each task is learned",
        benchmark=name,
        what="a network trained on one task after another",
        notes=[*_panels.footnotes(runs), *([smoothing] if smoothing else []), SPARSE],
        key=[dashed.handle()] if len(paper) else [],
    )
    return figure, pd.concat([drawn, paper], ignore_index=True)


@_panels.drawing
def dead_units_over_tasks(given: Tables, settings: "OfSplit") -> Drawn:
    """A line per strategy: hidden units that are zero on every image of the next task."""
    return _measured(
        given,
        settings.benchmark,
        settings.split,
        table="dead_units",
        statistic="exact_zero",
        title="Dead units at the start of tasks",
        what="zero on all {samples} of the task to come",
        y="dead units{units}",
    )


@_panels.drawing
def feature_rank_over_tasks(given: Tables, settings: "OfSplit") -> Drawn:
    """A line per strategy: effective rank of the hidden stages' features, summed over stages."""
    return _measured(
        given,
        settings.benchmark,
        settings.split,
        table="feature_rank",
        statistic="effective_rank",
        title="Effective rank of features at the start of tasks",
        what="sum over hidden stages, on {samples} of the task to come",
        y="effective rank{units}",
    )


@_panels.drawing
def weight_norm_over_tasks(given: Tables, settings: "WeightNormOverTasks") -> Drawn:
    """A line per strategy: Euclidean norm of all parameters."""
    return _measured(
        given,
        settings.benchmark,
        None,
        table="norms",
        statistic="weight_norm",
        title="Norm of the weights at the start of tasks",
        what="Euclidean, over all parameters",
        y="norm of weights",
    )


def _measured(
    given: Tables,
    benchmark: str,
    split: str | None,
    *,
    table: str,
    statistic: str,
    title: str,
    what: str,
    y: str,
) -> Drawn:
    runs = _method_rows.of_benchmark(given, "runs", benchmark)
    rows = _method_rows.of_benchmark(given, table, benchmark)
    rows = _method_rows.at_start(rows, table, statistic, split)
    drawn = _panels.some_over_seeds(rows, ["strategy", "task"])
    unmeasured = _method_rows.naming(_method_rows.unmeasured(runs, rows), "Not measured")
    runs = _method_rows.about(runs, rows)
    sizes = list(rows["units"].unique()) if "units" in rows else []
    agents = (runs["scenario_metric"] == "return").all()
    said = [what.format(samples="steps" if agents else "images")]
    if split and not agents:  # who have no other steps
        said.append(f"{split} images")
    figure, axes = _frame.panels(1, 1, height=HEIGHT)
    ax = axes[0, 0]
    _panels.task_axis(ax, int(runs["tasks"].max()), first=1)
    strategy_lines(ax, drawn, runs, within=(0, np.inf))
    high, low = drawn["mean"].max(), drawn["mean"].min()
    if table == "norms" and low > 0 and high / low > 10:
        ax.set_yscale("log")
    else:
        tight_axis(ax, drawn)
    ax.set_xlabel("task")
    ax.set_ylabel(y.format(units=f"\n(of {int(sizes[0]):,} units)" if len(sizes) == 1 else ""))
    _panels.finish(
        figure,
        runs,
        title,
        benchmark=benchmark,
        what="  ·  ".join(said),
        notes=[*_panels.footnotes(runs), *unmeasured, SPARSE],
    )
    return figure, drawn


def strategy_lines(
    ax: Axes, drawn: pd.DataFrame, runs: pd.DataFrame, *, within: tuple[float, float]
) -> None:
    """A line with its band per strategy over ``task``, named at the right end of the panel."""
    strategies = plots.in_order(drawn["strategy"])
    widths = np.linspace(2.2, 1.0, len(strategies)) if len(strategies) > 1 else [1.4]
    end = drawn["task"].max()
    for strategy, width in zip(strategies, widths, strict=True):
        rows = drawn[drawn["strategy"] == strategy].sort_values("task")
        bare = {"marker": ""} if len(rows) > MANY else {}
        style = _lines.of_strategy(strategy, width=float(width), **bare)
        _lines.line(ax, rows, "task", style, within=within, among=len(strategies))
        text = _method_rows.label(runs, strategy)
        _frame.end_label(ax, end, rows["mean"].iloc[-1], text, style.colour)


def tight_axis(ax: Axes, drawn: pd.DataFrame) -> None:
    """A vertical axis around the means; intervals that go far beyond them are cut."""
    low, high = drawn["mean"].min(), drawn["mean"].max()
    reach = 0.25 * (high - low) or 0.1 * abs(high) or 1.0
    limits = [low, high]
    if drawn["ci_low"].notna().any():
        limits = [
            max(low - reach, drawn["ci_low"].min()),
            min(high + reach, drawn["ci_high"].max()),
        ]
    low, high = min(low, limits[0]), max(high, limits[1])
    room = 0.05 * (high - low) or reach
    ax.set_ylim(low - room if low >= room or low < 0 else min(0.0, low) - 0.02 * high, high + room)
