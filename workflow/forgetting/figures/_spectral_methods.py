"""Strategies side by side: what the parts of the regulariser do, and what a strategy costs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from forgetting import plots, tables, wording
from forgetting.figures import _frame, _method_rows, _panels
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import RegularisationAblation, RunTime

SHOWN = ("performance", "feature_rank", "dead_units")


@_panels.drawing
def regularisation_ablation(given: Tables, settings: "RegularisationAblation") -> Drawn:
    """A panel each for performance, rank of features and dead units; a row per strategy."""
    name, split = settings.benchmark, settings.split
    runs = _method_rows.of_benchmark(given, "runs", name, settings.strategies)
    tasks = int(runs["tasks"].max())
    count = _method_rows.ends(tasks)
    found = [
        final_performance(given, settings.strategies, name, tasks, count),
        last_measured(given, settings.strategies, name, "feature_rank", "effective_rank", split),
        last_measured(given, settings.strategies, name, "dead_units", "exact_zero", split),
    ]
    there = [rows for rows in found if len(rows)] or found[:1]
    rows = pd.concat(there, ignore_index=True)
    drawn = _panels.some_over_seeds(rows, ["shown", "strategy", "task"])
    strategies = [s for s in settings.strategies if (runs["strategy"] == s).any()]
    figure, axes = _frame.panels(1, len(SHOWN), height=0.75 + 0.27 * len(strategies), sharey=True)
    metric = _method_rows.metric_label(given, name)
    last = f"last {count} tasks" if count > 1 else "last task"
    seeds = rows.groupby("shown")["seed"].nunique()
    fewer = [f"{str(shown).replace('_', ' ')} {n}" for shown, n in seeds.items() if n < seeds.max()]
    labels = (f"{metric},\n{last}", "effective rank of\nfeatures", "dead units")
    for ax, shown, label in zip(axes[0], SHOWN, labels, strict=True):
        mine = drawn[drawn["shown"] == shown]
        at = sorted(mine["task"].unique())
        if shown != "performance" and at:
            label += f", start of task {at[-1]:.0f}"
        dots(ax, mine, strategies)
        ax.set_title(label, loc="left", linespacing=1.2)
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        if shown == "performance":
            ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        if mine.empty:
            where: dict[str, Any] = {"ha": "center", "va": "center", "transform": ax.transAxes}
            ax.text(0.5, 0.5, "not measured", color=plots.GREY, **where)
            ax.set_xticks([])
    axes[0, 0].set_yticks(range(len(strategies)), [_method_rows.label(runs, s) for s in strategies])
    _panels.finish(
        figure,
        runs,
        "What either part of the regulariser does",
        benchmark=name,
        what=f"features and dead units on {split} images",
        notes=[
            *_panels.footnotes(runs, mean="Dots: mean", interval="bars"),
            *([f"Fewer seeds: {', '.join(fewer)}."] if fewer else []),
            *_method_rows.not_run(settings.strategies, strategies),
            "Scales need not begin at zero.",
        ],
    )
    return figure, drawn


def final_performance(
    given: Tables, strategies: Sequence[str], benchmark: str, tasks: int, count: int
) -> pd.DataFrame:
    """Mean performance of each seed on the last ``count`` tasks; none for one that lacks a task."""
    rows = _method_rows.of_benchmark(given, "performance", benchmark, strategies)
    rows = rows[rows["task"] > tasks - count].dropna(subset=["value"])
    grouped = rows.groupby(tables.ID, as_index=False)["value"].agg(["mean", "size"])
    whole = grouped[grouped["size"] == count].rename(columns={"mean": "value"})
    return whole[[*tables.ID, "value"]].assign(shown="performance", task=tasks)


def last_measured(
    given: Tables,
    strategies: Sequence[str],
    benchmark: str,
    table: str,
    statistic: str,
    split: str,
) -> pd.DataFrame:
    """A statistic at the start of the last task at which the benchmark was measured."""
    columns = [*tables.ID, "task", "value"]
    try:
        rows = _method_rows.of_benchmark(given, table, benchmark, strategies)
        rows = _method_rows.at_start(rows, table, statistic, split)
    except _panels.Nothing:
        return pd.DataFrame(columns=[*columns, "shown"])
    return rows.loc[rows["task"] == rows["task"].max(), columns].assign(shown=table)


@_panels.drawing
def run_time(given: Tables, settings: "RunTime") -> Drawn:
    """A panel per benchmark, a row per strategy: time relative to the reference."""
    runs = _panels.some(_panels.of_table(given, "runs"), "runs.csv has no run")
    rows = relative_times(runs, settings.reference)
    drawn = _panels.over_seeds(rows, ["benchmark", "architecture", "strategy"], "relative")
    drawn = _panels.some(
        drawn, f"runs.csv has no benchmark on which seeds of {settings.reference} finished"
    ).rename(columns={"n_seeds": "n_packs"})
    benchmarks = plots.in_order(drawn["benchmark"])
    strategies = plots.in_order(drawn["strategy"])
    columns = min(3, len(benchmarks))
    height = 0.6 + 0.19 * len(strategies)
    figure, (axes,) = _frame.blocks([len(benchmarks)], columns, height=height, sharey=True)
    for ax, name in zip(axes, benchmarks, strict=True):
        ax.axvline(1.0, color=plots.GREY, lw=0.8)
        dots(ax, drawn[drawn["benchmark"] == name], strategies)
        high = drawn.loc[drawn["benchmark"] == name, ["mean", "ci_high"]].max().max()
        ax.set_xlim(0, 1.08 * high)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set_title(wording.name(name), loc="left", weight="bold")
    _panels.outer_labels(
        axes, columns, x=f"time relative to {plots.look(settings.reference).label}"
    )
    axes[0].set_yticks(range(len(strategies)), [plots.look(s).label for s in strategies])
    mine = runs[runs["benchmark"].isin(benchmarks)]
    left = sorted(set(runs["benchmark"]) - set(benchmarks))
    packs = drawn["n_packs"].max()
    _panels.finish(
        figure,
        mine,
        "Time that strategies take",
        benchmark="",
        what=f"training and evaluation of whole runs, {plots.look(settings.reference).label} = 1",
        notes=[
            f"Dots: mean of {'one pack' if packs == 1 else f'up to {packs} packs'} of seeds "
            "trained together"
            + ("; bars: 95 % interval over packs." if packs > 1 else ", so no interval."),
            *_panels.footnotes(mine)[1:],
            *(
                [
                    f"Left out, without finished seeds of {plots.look(settings.reference).label}: "
                    f"{', '.join(wording.name(name) for name in left)}."
                ]
                if left
                else []
            ),
        ],
    )
    return figure, drawn


def relative_times(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Wall time over the reference's of the same benchmark and seed, finished seeds only.

    Seeds trained together share one time: they are one row. A reference on several architectures
    is that on the same one, if there is one, else the first by name.
    """
    done = runs[(runs["status"] == "finished") & runs["wall_seconds"].notna()]
    base = done[done["strategy"] == reference].sort_values("architecture")
    own = base[["benchmark", "architecture", "seed", "wall_seconds"]]
    first = own.drop_duplicates(["benchmark", "seed"]).drop(columns="architecture")
    own = own.rename(columns={"wall_seconds": "same"})
    first = first.rename(columns={"wall_seconds": "other"})
    found = done.merge(own, on=["benchmark", "architecture", "seed"], how="left")
    found = found.merge(first, on=["benchmark", "seed"])
    found["relative"] = found["wall_seconds"] / found["same"].fillna(found["other"])
    found = found.drop_duplicates([*tables.GROUP, "wall_seconds", "relative"])
    return found[[*tables.ID, "wall_seconds", "relative"]]


def dots(ax: Axes, drawn: pd.DataFrame, strategies: Sequence[str]) -> None:
    """A mean with its interval per strategy, one below the other."""
    for place, strategy in enumerate(strategies):
        look = plots.look(strategy)
        for _, row in drawn[drawn["strategy"] == strategy].iterrows():
            if np.isfinite(row["ci_low"]):
                ax.hlines(place, row["ci_low"], row["ci_high"], color=look.colour, lw=1.4)
            style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": 5}
            ax.plot([row["mean"]], [place], zorder=3, **style)
    ax.set_ylim(len(strategies) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
