"""Similarity of activations in the study of two tasks, stage by stage and by strategy."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots, wording
from forgetting.figures import _anatomy_rows, _frame, _ladders, _lines, _panels
from forgetting.figures._anatomy_rows import ALONE
from forgetting.figures._lines import DASHED, DOTTED, Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.anatomy import (
        CkaByStage,
        CkaByStrength,
        SubspaceByMethod,
        SubspaceSimilarity,
    )

ESTIMATORS = {
    "cka_debiased": Line("debiased", "#0072B2"),
    "cka_biased": Line("biased", "#0072B2", "", DASHED, 1.0, band=False),
}
CONDITIONS = {
    "task1-task2": Line("task 1 | task 2", "#0072B2", "s"),
    "task1-task1_post_task2": Line("task 1 | task 1 then 2", "#009E73", "^"),
    "task2-task1_post_task2": Line("task 2 | task 1 then 2", "#CC79A7", "o"),
}
CONTRAST = "task2-task1_post_task2"
CHANCE = Line("chance (k / features)", plots.GREY, "", DOTTED, 1.0, band=False)
COMPARED = "Compared are networks trained on task 1, on task 2 alone, and on task 1 then 2."


@_panels.drawing
def cka_by_stage(given: Tables, settings: "CkaByStage") -> Drawn:
    """A panel per architecture: CKA of each stage before and after task 2, two estimators."""
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [settings.strategy])
    rows = _anatomy_rows.of_benchmark(given, "cka", settings, [settings.strategy])
    rows = rows[(rows["task"] == 2) & rows["statistic"].isin(ESTIMATORS)]
    drawn = _panels.some_over_seeds(
        rows, ["architecture", "strategy", "depth", "layer", "statistic"]
    )
    figure, axes = _lines.architecture_panels(drawn, x="", y="CKA, before and\nafter task 2")
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        for statistic, style in ESTIMATORS.items():
            one = mine[mine["statistic"] == statistic]
            _lines.stage_line(ax, one, mine, style, within=(-1, 1))
        _lines.stage_axis(ax, mine)
        _lines.unit_axis(ax, drawn["mean"].min())
    _panels.finish(
        figure,
        runs,
        "Similarity of each stage's activations before and after task 2",
        benchmark=settings.benchmark,
        what=f"{plots.look(settings.strategy).label}  ·  linear CKA on test images of task 1",
        notes=[*_panels.footnotes(runs), "Stages from input to head."],
        key=[style.handle() for style in ESTIMATORS.values()],
    )
    return figure, drawn


@_panels.drawing
def subspace_similarity(given: Tables, settings: "SubspaceSimilarity") -> Drawn:
    """A panel per architecture: subspace similarity of each stage under three conditions."""
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [settings.strategy, ALONE])
    drawn, what, notes = _subspaces(given, settings, [settings.strategy])
    figure, axes = _lines.architecture_panels(drawn, x="", y="subspace similarity")
    for architecture, ax in axes.items():
        _conditions(ax, drawn[drawn["architecture"] == architecture])
    _panels.finish(
        figure,
        runs,
        "Similarity of the subspaces that activations occupy",
        benchmark=settings.benchmark,
        what=f"{plots.look(settings.strategy).label}  ·  {what}",
        notes=[*_panels.footnotes(runs), *notes],
        key=[style.handle() for style in (*CONDITIONS.values(), CHANCE)],
    )
    return figure, drawn


@_panels.drawing
def subspace_by_method(given: Tables, settings: "SubspaceByMethod") -> Drawn:
    """Two rows of panels per architecture, a column per strategy.

    Above the three conditions; below, at every strength, the condition between a network that
    learned task 2 alone and one that learned it after task 1.
    """
    methods = _ladders.methods(given["runs"]["strategy"], settings.methods)
    entries = _ladders.entries(methods)
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [*entries, ALONE])
    found, what, notes = _subspaces(given, settings, entries)
    methods = [method for method in methods if method.among(found["strategy"])]
    upper = found[found["strategy"].isin([method.shown for method in methods])]
    lower = found[found["condition"] == CONTRAST]
    architectures = plots.in_order(found["architecture"])
    columns = len(methods)
    figure, axes = _frame.panels(2 * len(architectures), columns, height=1.55, sharey=True)
    for above, below, architecture in zip(axes[::2], axes[1::2], architectures, strict=True):
        above[0].set_ylabel(f"{wording.name(architecture)}\nsubspace similarity")
        mine = upper[upper["architecture"] == architecture]
        for ax, method in zip(above, methods, strict=True):
            _conditions(ax, mine[mine["strategy"] == method.shown])
            ax.set_title(plots.look(method.shown).label, loc="left")
        mine = lower[lower["architecture"] == architecture]
        label = f"{CONDITIONS[CONTRAST].label},\nby strength"
        _ladders.strength_panels(below, mine, methods, y=label)
    _panels.finish(
        figure,
        runs,
        "Similarity of subspaces under strategies against forgetting",
        benchmark=settings.benchmark,
        what=what,
        notes=[
            *_panels.footnotes(runs),
            *notes,
            _ladders.note(methods),
            *_ladders.not_run(settings.methods, methods),
        ],
        key=[style.handle() for style in (*CONDITIONS.values(), CHANCE)],
    )
    return figure, pd.concat([upper.assign(row="by method"), lower.assign(row="by strength")])


@_panels.drawing
def cka_by_strength(given: Tables, settings: "CkaByStrength") -> Drawn:
    """A row of panels per architecture, a panel per strategy, a line per strength."""
    methods = _ladders.methods(given["runs"]["strategy"], settings.methods)
    entries = _ladders.entries(methods)
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, entries)
    rows = _anatomy_rows.of_benchmark(given, "cka", settings, entries)
    rows = rows[(rows["task"] == 2) & (rows["statistic"] == settings.statistic)]
    drawn = _panels.some_over_seeds(
        rows, ["architecture", "strategy", "depth", "layer", "statistic"]
    )
    methods = [method for method in methods if method.among(drawn["strategy"])]
    if not any(method.rungs for method in methods):
        raise _panels.Nothing("Nothing to draw: cka.csv has no strategy at several strengths.")
    # A network trained by plain SGD alone has nothing to compare.
    rungs = {entry for method in methods for entry in method.rungs}
    compared = drawn.loc[drawn["strategy"].isin(rungs), "architecture"]
    drawn = drawn[drawn["architecture"].isin(compared)]
    architectures = plots.in_order(drawn["architecture"])
    columns = sum(bool(method.rungs) for method in methods)
    figure, axes = _frame.panels(len(architectures), columns, height=1.75, sharey=True)
    for row, architecture in zip(axes, architectures, strict=True):
        mine = drawn[drawn["architecture"] == architecture]
        label = f"{wording.name(architecture)}\nCKA"
        _ladders.strength_panels(row, mine, methods, y=label)
    _panels.finish(
        figure,
        runs,
        "Similarity of each stage before and after task 2, by strength",
        benchmark=settings.benchmark,
        what=f"{ESTIMATORS[settings.statistic].label} linear CKA on test images of task 1",
        notes=[
            *_panels.footnotes(runs),
            _ladders.note(methods),
            *_ladders.not_run(settings.methods, methods),
        ],
    )
    return figure, drawn


def _subspaces(
    given: Tables, settings: "SubspaceSimilarity | SubspaceByMethod", strategies: Collection[str]
) -> tuple[pd.DataFrame, str, list[str]]:
    """Similarity over seeds under every condition, and chance, at one dimension of subspaces.

    Also what is drawn in words, and notes on what is compared and left out.
    """
    table = _anatomy_rows.of_benchmark(given, "subspace", settings, strategies)
    table = table[table["task"] == 2]
    measured = [int(k) for k in sorted(table["k"].unique())]
    k = settings.k if settings.k is not None else _ladders.middle(measured)
    listed = ", ".join(map(str, measured))
    rows = _panels.some(table[table["k"] == k], f"subspace.csv has no k = {k} (it has {listed})")
    rows = _panels.some(rows[rows["features"] > k], f"no stage has more than k = {k} features")
    stage = ["architecture", "strategy", "depth", "layer"]
    chance = rows[rows["statistic"] == "chance"].drop_duplicates([*stage, "seed"])
    rows = rows[rows["statistic"] == "subspace_similarity"]
    notes = [COMPARED]
    if (table["features"] <= k).any():
        notes.append("Left out: stages of k features or fewer, which have one subspace.")
    if rows["value"].isna().any():
        notes.append("Gaps: activations that do not vary along k directions.")
    rows = pd.concat([rows, chance.assign(condition="chance")])
    drawn = _panels.some_over_seeds(rows, [*stage, "condition", "k"])
    return drawn, f"first k = {k} principal directions", notes


def _conditions(ax: Axes, drawn: pd.DataFrame) -> None:
    for condition, style in {**CONDITIONS, "chance": CHANCE}.items():
        _lines.stage_line(ax, drawn[drawn["condition"] == condition], drawn, style)
    _lines.stage_axis(ax, drawn)
    _lines.unit_axis(ax)
