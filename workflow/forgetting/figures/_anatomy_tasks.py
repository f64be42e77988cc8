"""Accuracy in the study of two tasks: while they are learned, with stages frozen or put back."""

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.ticker import MaxNLocator

from forgetting import plots, wording
from forgetting.figures import _anatomy_rows, _classes, _frame, _heat, _ladders, _lines, _panels
from forgetting.figures._anatomy_rows import ALONE
from forgetting.figures._lines import DOTTED, Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.anatomy import (
        Freezing,
        GroupForgetting,
        LearningCurves,
        Rewind,
        SemanticSetups,
    )

TASKS = {1: Line("task 1", "#0072B2"), 2: Line("task 2", "#D55E00", "s")}
DIRECTIONS = {
    "top-down": Line("from the head down", "#D55E00"),
    "bottom-up": Line("from the input up", "#0072B2", "s"),
}


@_panels.drawing
def learning_curves(given: Tables, settings: "LearningCurves") -> Drawn:
    """A panel per architecture: accuracy of both tasks over the epochs of both."""
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [settings.strategy])
    metric = _panels.metric_of(given, settings.benchmark, settings.metric)
    rows = _anatomy_rows.of_benchmark(given, "learning_curve", settings, [settings.strategy])
    rows = rows[(rows["statistic"] == metric) & (rows["output"].fillna("") == "")]
    rows = rows.drop_duplicates(["architecture", "seed", "of_task", "epochs_done"])
    drawn = _panels.some_over_seeds(rows, ["architecture", "strategy", "of_task", "epochs_done"])
    begins = _classes.first_task_ends(rows).groupby(rows["architecture"]).max()
    figure, axes = _lines.architecture_panels(drawn, x="epochs of training", y="accuracy")
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        change = begins[architecture]
        ax.axvline(change, color=plots.GREY, ls=DOTTED, lw=1)
        first, second = (mine[mine["of_task"] == task] for task in TASKS)
        before, since = (second["epochs_done"] <= change, second["epochs_done"] >= change)
        _lines.line(ax, second[before], "epochs_done", TASKS[2], faint=True)
        _lines.line(ax, second[since], "epochs_done", TASKS[2])
        _lines.line(ax, first, "epochs_done", TASKS[1])
        _panels.share_axis(ax, drawn["mean"].min())
    begin = Line("task 2 begins", plots.GREY, "", DOTTED, 1.0)
    _panels.finish(
        figure,
        runs,
        "Accuracy while one task is learned after another",
        benchmark=settings.benchmark,
        what=f"{plots.look(settings.strategy).label}  ·  {plots.METRICS[metric]}",
        notes=[*_panels.footnotes(runs), "Faint: task 2 before it is learned."],
        key=[style.handle() for style in (*TASKS.values(), begin)],
    )
    return figure, drawn


@_panels.drawing
def freezing(given: Tables, settings: "Freezing") -> Drawn:
    """A panel per architecture: accuracy of both tasks by the number of stages frozen."""
    ladder = _ladders.rungs(given["runs"]["strategy"], settings.ladder)
    frozen = {settings.unfrozen: 0.0, **{entry: _ladders.rung(entry) for entry in ladder}}
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [*frozen, ALONE])
    _panels.some(runs[runs["strategy"].isin(ladder)], f"runs.csv has no {settings.ladder}~1")
    metric = _panels.metric_of(given, settings.benchmark, "scenario")
    rows = _anatomy_rows.of_benchmark(given, "accuracy", settings, [*frozen, ALONE])
    rows = rows[(rows["metric"] == metric) & (rows["after_task"] == 2)]
    rows = rows.assign(stages_frozen=rows["strategy"].map(frozen))
    alone = rows[(rows["strategy"] == ALONE) & (rows["task"] == 2)]
    keys = ["architecture", "strategy", "task"]
    drawn = _panels.some_over_seeds(rows[rows["strategy"] != ALONE], [*keys, "stages_frozen"])
    reference = _panels.over_seeds(alone, keys, "value")
    figure, axes = _lines.architecture_panels(
        drawn, x="stages frozen, from the input", y="accuracy after task 2"
    )
    thin = Line("task 1", TASKS[1].colour, TASKS[1].marker, "-", 0.8)
    dotted = Line("task 2 learned alone", TASKS[2].colour, "", DOTTED, 1.0, band=False)
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        for task, style in ((1, thin), (2, TASKS[2])):
            _lines.line(ax, mine[mine["task"] == task], "stages_frozen", style)
        for value in reference.loc[reference["architecture"] == architecture, "mean"]:
            ax.axhline(value, color=dotted.colour, ls=dotted.style, lw=dotted.width)
        _panels.share_axis(ax, drawn["mean"].min())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = [TASKS[2], thin, *([dotted] if len(reference) else [])]
    _panels.finish(
        figure,
        runs,
        "Accuracy with the first stages frozen after task 1",
        benchmark=settings.benchmark,
        what=plots.METRICS[metric],
        notes=[*_panels.footnotes(runs), "0: nothing frozen."],
        key=[style.handle() for style in shown],
    )
    return figure, pd.concat([drawn, reference], ignore_index=True)


@_panels.drawing
def rewind(given: Tables, settings: "Rewind") -> Drawn:
    """A panel per architecture: task-1 accuracy by the number of stages put back."""
    runs = _anatomy_rows.of_benchmark(given, "runs", settings, [settings.strategy])
    rows = _anatomy_rows.of_benchmark(given, "rewind", settings, [settings.strategy])
    rows = rows[(rows["task"] == 2) & (rows["statistic"] == "accuracy_task1")]
    drawn = _panels.some_over_seeds(rows, ["architecture", "strategy", "direction", "stages_reset"])
    figure, axes = _lines.architecture_panels(drawn, x="stages put back", y="accuracy on task 1")
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        for direction, style in DIRECTIONS.items():
            _lines.line(ax, mine[mine["direction"] == direction], "stages_reset", style)
        _panels.share_axis(ax, drawn["mean"].min())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _panels.finish(
        figure,
        runs,
        "Task-1 accuracy with stages put back to their state after task 1",
        benchmark=settings.benchmark,
        what=plots.look(settings.strategy).label,
        notes=[*_panels.footnotes(runs), "0: the network after task 2; all: after task 1."],
        key=[style.handle() for style in DIRECTIONS.values()],
    )
    return figure, drawn


@_panels.drawing
def group_forgetting(given: Tables, settings: "GroupForgetting") -> Drawn:
    """A table per architecture: task-1 accuracy lost, by the groups of task 1 and of task 2."""
    wanted = {cell.benchmark: cell for cell in settings.cells}
    runs = _anatomy_rows.of_runs(given, "runs", settings, wanted)
    lost = _anatomy_rows.lost(given, settings, wanted)
    drawn = _panels.some_over_seeds(lost, ["benchmark", "architecture", "strategy"], "lost")
    drawn.insert(1, "first", [wanted[name].first for name in drawn["benchmark"]])
    drawn.insert(2, "second", [wanted[name].second for name in drawn["benchmark"]])
    rows = list(dict.fromkeys(cell.first for cell in settings.cells))
    columns = list(dict.fromkeys(cell.second for cell in settings.cells))
    figure, axes = _lines.architecture_panels(
        drawn, x="task 2", y="task 1", height=0.55 + 0.55 * len(rows)
    )
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture].set_index(["first", "second"])
        _heat.table(ax, mine, rows, columns, highest=drawn["mean"].abs().max())
    metrics = _anatomy_rows.metrics(given, wanted)
    _panels.finish(
        figure,
        runs,
        "Task-1 accuracy lost in learning task 2, by what the tasks show",
        benchmark="",
        what=f"{plots.look(settings.strategy).label}  ·  {metrics}, percentage points",
        notes=[
            *_panels.footnotes(runs, mean="Mean", interval="in brackets"),
            *_lines.not_run(list(wanted), set(drawn["benchmark"])),
        ],
    )
    return figure, drawn


@_panels.drawing
def semantic_setups(given: Tables, settings: "SemanticSetups") -> Drawn:
    """A panel per benchmark, a line per class of task 1: accuracy while task 2 is learned."""
    titles = {panel.benchmark: panel.title for panel in settings.panels}
    runs = _anatomy_rows.of_runs(given, "runs", settings, titles)
    rows = _anatomy_rows.of_runs(given, "learning_curve", settings, titles)
    rows = _anatomy_rows.scenario(given, rows[rows["of_task"] == 1], "statistic")
    drawn = _classes.since_task_1(rows)
    _panels.some(drawn, _panels.NONE_LEFT)
    there = set(zip(drawn["architecture"], drawn["benchmark"], strict=True))
    architectures = plots.in_order(drawn["architecture"])
    panels = [(a, b) for a in architectures for b in titles if (a, b) in there]
    columns = min(3, len(panels))
    figure, (axes,) = _frame.blocks([len(panels)], columns, height=1.7, sharey=True)
    _panels.outer_labels(axes, columns, x="epochs of task 2", y="accuracy on task 1")
    looks = _classes.looks(drawn["output"], settings.kinds, settings.labels)
    several = len(architectures) > 1
    for ax, (architecture, benchmark) in zip(axes, panels, strict=True):
        mine = (drawn["architecture"] == architecture) & (drawn["benchmark"] == benchmark)
        _classes.lines(ax, drawn[mine], looks)
        _panels.share_axis(ax, drawn["mean"].min())
        heading = f"{wording.name(architecture)}\n" if several else ""
        ax.set_title(heading + titles[benchmark], loc="left")
    _panels.finish(
        figure,
        runs,
        "Accuracy on each class of task 1 while task 2 is learned",
        benchmark="",
        what="  ·  ".join(
            [
                *([] if several else [wording.name(panels[0][0])]),
                plots.look(settings.strategy).label,
                _anatomy_rows.metrics(given, titles),
            ]
        ),
        notes=[
            *_panels.footnotes(runs),
            "Dashed: all classes of task 1. Epoch 0: the end of task 1.",
            *_lines.not_run(list(titles), set(drawn["benchmark"])),
        ],
    )
    return figure, drawn
