"""Forgetting and the likeness of the two tasks: mixtures, overlap of features, logit changes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from forgetting import plots, wording
from forgetting.figures import _anatomy_rows, _frame, _ladders, _lines, _panels, _scatter
from forgetting.figures._lines import DASHED, DOTTED, HUES, MARKERS, Line
from forgetting.figures._panels import Drawn, Tables
from forgetting.rungs import without_rung

if TYPE_CHECKING:
    from forgetting.figures.anatomy import (
        LogitChange,
        MixingForgetting,
        MixingOverlap,
        OfMixtures,
        SetupOverlap,
    )

OVERLAPS = {"trace_overlap_uncentred": "not centred", "trace_overlap_centred": "centred"}
AGREEMENT = {
    "cosine": "cosine of predicted\nand measured",
    "slope": "slope of measured\non predicted",
}


@_panels.drawing
def mixing_forgetting(given: Tables, settings: "MixingForgetting") -> Drawn:
    """A panel per architecture, a line per kind of mixing; its lowest point is marked."""
    shares = _shares(given, settings)
    runs = _anatomy_rows.of_runs(given, "runs", settings, shares)
    rows = _anatomy_rows.of_runs(given, "accuracy", settings, shares)
    rows = _anatomy_rows.scenario(given, rows)
    rows = _mixed(rows[(rows["task"] == 1) & rows["after_task"].isin([1, 2])], shares)
    drawn = _panels.some_over_seeds(
        rows, ["architecture", "strategy", "mixing", "share", "after_task"]
    )
    after = drawn[drawn["after_task"] == 2]
    _panels.some(after, _panels.NONE_LEFT)
    lowest = after.groupby(["architecture", "mixing"])["mean"].idxmin()
    drawn["lowest"] = drawn.index.isin(lowest)
    figure, axes = _lines.architecture_panels(
        drawn, x="share of task-1-like input in task 2", y="accuracy on task 1"
    )
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        for mixing, style in _mixing_lines(mine["mixing"]).items():
            one = mine[mine["mixing"] == mixing]
            before = replace(style, style=DOTTED, width=0.9, marker="", band=False)
            _lines.line(ax, one[one["after_task"] == 1], "share", before)
            _lines.line(ax, one[one["after_task"] == 2], "share", style)
            _lines.ring(ax, one[one["lowest"]], "share", style)
        _panels.share_axis(ax, drawn["mean"].min())
    _panels.finish(
        figure,
        runs,
        "Task-1 accuracy after a task 2 that is mixed with inputs like task 1",
        benchmark="",
        what=f"{plots.look(settings.strategy).label}  ·  {_anatomy_rows.metrics(given, shares)}",
        notes=[
            *_panels.footnotes(runs),
            "Ring: the lowest mean. Dotted: before task 2.",
            *_lines.not_run(settings.mixtures, set(drawn["mixing"])),
        ],
        key=[style.handle() for style in _mixing_lines(drawn["mixing"]).values()],
    )
    return figure, drawn


@_panels.drawing
def mixing_overlap(given: Tables, settings: "MixingOverlap") -> Drawn:
    """A panel per architecture: trace overlap against the share, by mixing and estimator."""
    shares = _shares(given, settings)
    runs = _anatomy_rows.of_runs(given, "runs", settings, shares)
    rows = _mixed(_overlaps(given, settings, shares), shares)
    drawn = _panels.some_over_seeds(
        rows, ["architecture", "strategy", "mixing", "share", "statistic"]
    )
    figure, axes = _lines.architecture_panels(
        drawn, x="share of task-1-like input in task 2", y="trace overlap"
    )
    styles = {
        (mixing, statistic): replace(
            style,
            label=f"{style.label}, {text}",
            style=DASHED if dashed else "-",
            filled=not dashed,
        )
        for mixing, style in _mixing_lines(drawn["mixing"]).items()
        for dashed, (statistic, text) in enumerate(OVERLAPS.items())
    }
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        for (mixing, statistic), style in styles.items():
            here = (mine["mixing"] == mixing) & (mine["statistic"] == statistic)
            _lines.line(ax, mine[here], "share", style)
        _lines.unit_axis(ax)
    _panels.finish(
        figure,
        runs,
        "Overlap of the two tasks' features by the share of task-1-like input",
        benchmark="",
        what=f"{plots.look(settings.strategy).label}  ·  {_where(settings)}",
        notes=[
            *_panels.footnotes(runs),
            *_lines.not_run(settings.mixtures, set(drawn["mixing"])),
        ],
        key=[style.handle() for style in styles.values()],
    )
    return figure, drawn


@_panels.drawing
def setup_overlap(given: Tables, settings: "SetupOverlap") -> Drawn:
    """A panel per architecture and estimator, a point per benchmark with both intervals."""
    wanted = {point.benchmark: point for point in settings.points}
    runs = _anatomy_rows.of_runs(given, "runs", settings, wanted)
    group = ["benchmark", "architecture", "strategy"]
    lost = _panels.some_over_seeds(_anatomy_rows.lost(given, settings, wanted), group, "lost")
    overlap = _panels.some_over_seeds(_overlaps(given, settings, wanted), [*group, "statistic"])
    drawn = overlap.merge(lost, on=group, suffixes=("_overlap", "_lost"))
    _panels.some(drawn, _panels.NONE_LEFT)
    drawn.insert(1, "setup", [wanted[name].setup for name in drawn["benchmark"]])
    drawn.insert(2, "second", [wanted[name].second for name in drawn["benchmark"]])
    architectures = plots.in_order(drawn["architecture"])
    estimators = [name for name in OVERLAPS if (drawn["statistic"] == name).any()]
    figure, axes = _frame.panels(
        len(estimators), len(architectures), height=1.9, sharex=True, sharey=True
    )
    looks = _scatter.setup_looks([(point.setup, point.second) for point in settings.points])
    for row, statistic in zip(axes, estimators, strict=True):
        last = "trace overlap" if statistic == estimators[-1] else ""
        _panels.outer_labels(list(row), len(row), x=last, y="accuracy lost\n(percentage points)")
        for ax, architecture in zip(row, architectures, strict=True):
            here = (drawn["architecture"] == architecture) & (drawn["statistic"] == statistic)
            _scatter.crosses(ax, drawn[here], looks)
            ax.set_title(f"{wording.name(architecture)}: {OVERLAPS[statistic]}", loc="left")
    _panels.finish(
        figure,
        runs,
        "Task-1 accuracy lost against the overlap of the two tasks' features",
        benchmark="",
        what=f"{plots.look(settings.strategy).label}  ·  {_where(settings)}",
        notes=[
            *_panels.footnotes(runs, mean="Points: mean", interval="bars"),
            *_lines.not_run(list(wanted), set(drawn["benchmark"])),
        ],
        key=[style.handle() for style in looks.values()],
    )
    return figure, drawn


@_panels.drawing
def logit_change(given: Tables, settings: "LogitChange") -> Drawn:
    """A row per statistic, a panel per architecture: the prediction's quality by learning rate."""
    ladder = _ladders.rungs(given["runs"]["strategy"], settings.ladder)
    _panels.some(pd.DataFrame({"rung": ladder}), f"runs.csv has no {settings.ladder}~0.01")
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, ladder)
    rows = _anatomy_rows.of_benchmark(given, "logit_change", settings, ladder)
    rows = rows[(rows["task"] == 2) & rows["statistic"].isin(AGREEMENT)]
    rows = rows.assign(learning_rate=rows["strategy"].map(_ladders.rung))
    drawn = _panels.some_over_seeds(
        rows, ["architecture", "strategy", "learning_rate", "statistic"]
    )
    architectures = plots.in_order(drawn["architecture"])
    rates = sorted(drawn["learning_rate"].unique())
    figure, axes = _frame.panels(len(AGREEMENT), len(architectures), sharex=True, sharey="row")
    for row, (statistic, label) in zip(axes, AGREEMENT.items(), strict=True):
        row[0].set_ylabel(label)
        for ax, architecture in zip(row, architectures, strict=True):
            here = (drawn["architecture"] == architecture) & (drawn["statistic"] == statistic)
            style = _lines.of_strategy(settings.ladder)
            ax.axhline(1, color=plots.GREY, ls=DOTTED, lw=1)
            within = (-1.0, 1.0) if statistic == "cosine" else (-np.inf, np.inf)
            _lines.line(ax, drawn[here], "learning_rate", style, within=within)
            ax.set_xscale("log")
            ax.set_xticks(rates, [_ladders.number(rate) for rate in rates])
            ax.minorticks_off()
    for ax, architecture in zip(axes[0], architectures, strict=True):
        ax.set_title(wording.name(architecture), loc="left", weight="bold")
    for ax in axes[-1]:
        ax.set_xlabel("learning rate of task 2")
    _panels.finish(
        figure,
        runs,
        "Predicted against measured change of task-1 logits",
        benchmark=settings.benchmark,
        what="prediction with the features frozen",
        notes=[*_panels.footnotes(runs), "Dotted: a perfect prediction."],
    )
    return figure, drawn


def _shares(given: Tables, settings: "OfMixtures") -> dict[str, float]:
    """The benchmarks of all mixtures with their share of task-1-like input."""
    names = set(given["runs"]["benchmark"])
    found = [rung for mixture in settings.mixtures for rung in _ladders.rungs(names, mixture)]
    wanted = " or ".join(f"{mixture}~0.1" for mixture in settings.mixtures)
    _panels.some(pd.DataFrame({"rung": found}), f"runs.csv has no {wanted}")
    return {entry: _ladders.rung(entry) for entry in found}


def _mixed(rows: pd.DataFrame, shares: Mapping[str, float]) -> pd.DataFrame:
    mixing = rows["benchmark"].map(without_rung)
    return rows.assign(mixing=mixing, share=rows["benchmark"].map(shares))


def _mixing_lines(mixings: Iterable[str]) -> dict[str, Line]:
    """A line per kind of mixing."""
    return {
        mixing: Line(
            wording.name(mixing).lower(), HUES[number % len(HUES)], MARKERS[number % len(MARKERS)]
        )
        for number, mixing in enumerate(sorted(set(mixings)))
    }


def _overlaps(
    given: Tables, settings: "MixingOverlap | SetupOverlap", benchmarks: Collection[str]
) -> pd.DataFrame:
    rows = _anatomy_rows.of_runs(given, "overlap", settings, benchmarks)
    here = (rows["layer"] == settings.layer) & (rows["task"] == settings.after_task)
    return rows[here & rows["statistic"].isin(OVERLAPS)]


def _where(settings: "MixingOverlap | SetupOverlap") -> str:
    return f"stage {settings.layer}, after task {settings.after_task}"
