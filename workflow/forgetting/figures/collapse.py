"""Figures of the study of forgetting and effective-rank collapse (Zhu & Jin, arXiv 2603.04580).

Accuracy per task and on average, effective rank of weights and activations over tasks, and the
two against each other. Each function takes tables and settings and returns the figure with the
table of what it draws.
"""

from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots, tables, wording
from forgetting.figures import _frame, _lines, _panels, _scatter
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings
from forgetting.tables import ranks

MATRICES = {
    "weight": "weights, mean over layers",
    "activation": "activations, last hidden stage",
}


class OfBenchmark(Settings):
    """One benchmark of the study."""

    benchmark: str
    """Entry of the study's benchmarks."""


class OfMetric(OfBenchmark):
    """One benchmark under one metric."""

    metric: Literal["scenario", "task_masked", "class_incremental"] = "scenario"
    """Metric drawn; ``scenario``: the one the benchmark is judged by."""


class AccuracyOverTasks(OfMetric):
    """Every task's accuracy after every task."""


class AverageAccuracy(OfMetric):
    """Mean accuracy over the tasks learned so far."""


class ActivationErank(OfBenchmark):
    """Effective rank of the last hidden stage's activations over tasks."""


class ErankByLayer(OfBenchmark):
    """Effective rank over tasks, a panel per layer."""

    matrix: Literal["weight", "activation"] = "weight"
    """Matrix whose effective rank is drawn."""
    architecture: str | None = None
    """One architecture; default all, one below the other."""


class PeakNormalisedErank(OfBenchmark):
    """Effective rank as a share of its peak so far."""


class ForgettingAgainstRank(OfMetric):
    """Mean forgetting against the share of the effective rank lost."""


@_panels.drawing
def accuracy_over_tasks(given: Tables, settings: AccuracyOverTasks) -> Drawn:
    """A panel per architecture and strategy, a line per task, named where it is learned.

    A strategy evaluated only at the end is a dashed line at its mean over tasks.
    """
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    metric = _panels.metric_of(given, settings.benchmark, settings.metric)
    rows = _panels.of_benchmark(given, "accuracy", settings.benchmark)
    rows = rows[rows["metric"] == metric]
    tasks = int(rows["task"].max())
    after = rows[rows["after_task"].between(1, tasks - 1)]
    whole = set(after["strategy"])
    drawn = _panels.over_seeds(
        rows[rows["strategy"].isin(whole)],
        ["architecture", "strategy", "after_task", "task"],
        "value",
    ).assign(line="task")
    _panels.some(drawn, _panels.NONE_LEFT)
    once = rows[~rows["strategy"].isin(whole) & (rows["after_task"] == tasks)]
    once = once.groupby([*tables.ID, "after_task"], as_index=False).agg({"value": "mean"})
    reference = _panels.over_seeds(once, ["architecture", "strategy", "after_task"], "value")
    reference["line"] = "mean over tasks"
    architectures = plots.in_order(drawn["architecture"])
    strategies = plots.in_order(drawn["strategy"])
    columns = min(len(strategies), 4)
    figure, blocks = _frame.blocks(
        [len(strategies)] * len(architectures), columns, height=1.65, sharex=True, sharey=True
    )
    room = plots.DOUBLE / columns - 0.5  # inches that a panel is wide, at least
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, tasks))
    for architecture, block in zip(architectures, blocks, strict=True):
        _panels.outer_labels(block, columns, x="tasks learned", y="accuracy")
        for ax, strategy in zip(block, strategies, strict=True):
            _panels.task_axis(ax, tasks, first=0, ticks=int(room / 0.17))
            _panels.share_axis(ax, drawn["mean"].min(), 1.1)  # room for the numbers
            mine = (drawn["architecture"] == architecture) & (drawn["strategy"] == strategy)
            _task_lines(ax, drawn[mine], colours, every=int(np.ceil(0.14 * tasks / room)))
            for _, row in reference[reference["architecture"] == architecture].iterrows():
                look = plots.look(row["strategy"])
                ax.axhline(row["mean"], color=look.colour, lw=0.9, ls=(0, (4, 2)), zorder=1)
                if strategy == strategies[-1] and len(strategies) % columns == 0:
                    end = ax.get_xlim()[1]
                    _frame.end_label(ax, end, row["mean"], look.label, look.colour)
            label = _panels.label_of(runs, architecture, strategy).replace("\n", ", ")
            lines = f"{wording.name(architecture)}\n{label}"
            ax.set_title(lines, color=plots.look(strategy).colour, loc="left")
    notes = _panels.footnotes(runs)
    notes.append("Numbers mark tasks where they are learned; before that their lines are faint.")
    if len(reference):
        names = ", ".join(plots.look(entry).label for entry in reference["strategy"].unique())
        notes.append(f"Dashed: {names}, mean over tasks, evaluated once at the end.")
    _panels.finish(
        figure,
        runs,
        "Accuracy on every task as tasks are learned",
        benchmark=settings.benchmark,
        what=plots.METRICS[metric],
        notes=notes,
    )
    order = ["line", *drawn.columns.drop("line")]
    return figure, pd.concat([drawn, reference], ignore_index=True)[order]


def _task_lines(ax: Axes, drawn: pd.DataFrame, colours: np.ndarray, *, every: int) -> None:
    """A line per task, faint before the task is learned, ``every`` one numbered where it is."""
    for task in sorted(drawn["task"].astype(int).unique()):
        rows = drawn[drawn["task"] == task]
        colour = colours[task - 1]
        before, since = rows[rows["after_task"] <= task], rows[rows["after_task"] >= task]
        ax.plot(before["after_task"], before["mean"], color=colour, lw=0.6, alpha=0.35)
        ax.plot(since["after_task"], since["mean"], color=colour, marker="o", markersize=2.2)
        low, high = since["ci_low"].clip(0, 1), since["ci_high"].clip(0, 1)
        ax.fill_between(since["after_task"], low, high, color=colour, alpha=0.1, lw=0)
        learned = rows[rows["after_task"] == task]
        if len(learned) and (task - 1) % every == 0:
            at = (task, learned["mean"].item())
            ax.annotate(
                str(task),
                at,
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontsize=plots.SMALL,
            )


@_panels.drawing
def average_accuracy(given: Tables, settings: AverageAccuracy) -> Drawn:
    """A panel per architecture, a line per strategy: mean accuracy over the tasks learned."""
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    metric = _panels.metric_of(given, settings.benchmark, settings.metric)
    rows = _panels.of_benchmark(given, "scores", settings.benchmark)
    keys = ["architecture", "strategy", "after_task"]
    drawn = _panels.some_over_seeds(rows[rows["metric"] == metric], keys, "average_accuracy")
    label = "accuracy, mean over\nthe tasks learned"
    figure, axes = _lines.architecture_panels(drawn, x="tasks learned", y=label)
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        _panels.strategy_lines(
            ax, mine, runs, architecture=architecture, x="after_task", within=(0, 1)
        )
        _panels.task_axis(ax, int(rows["after_task"].max()), first=1)
        _panels.share_axis(ax, drawn["mean"].min())
    _panels.finish(
        figure,
        runs,
        "Average accuracy as tasks are learned",
        benchmark=settings.benchmark,
        what=plots.METRICS[metric],
        notes=_panels.footnotes(runs),
    )
    return figure, drawn


@_panels.drawing
def activation_erank(given: Tables, settings: ActivationErank) -> Drawn:
    """A panel per architecture, a line per strategy: eRank of the last hidden stage."""
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    rank = ranks.representative_rank(_panels.of_benchmark(given, "erank", settings.benchmark))
    rank = rank[(rank["matrix"] == "activation") & (rank["statistic"] == ranks.ERANK)]
    drawn = _panels.some_over_seeds(rank, ["architecture", "strategy", "task"])
    figure, axes = _lines.architecture_panels(
        drawn, x="tasks learned", y="effective rank", sharey=False
    )
    for architecture, ax in axes.items():
        mine = drawn[drawn["architecture"] == architecture]
        _panels.strategy_lines(ax, mine, runs, architecture=architecture, x="task")
        _panels.task_axis(ax, int(drawn["task"].max()), first=0)
        _panels.rank_axis(ax, mine)
    _panels.finish(
        figure,
        runs,
        "Effective rank of the last hidden stage's activations",
        benchmark=settings.benchmark,
        what="entropy of uncentred singular values",
        notes=[
            *_panels.footnotes(runs),
            "Scales differ between panels and need not begin at zero.",
        ],
    )
    return figure, drawn


@_panels.drawing
def erank_by_layer(given: Tables, settings: ErankByLayer) -> Drawn:
    """A panel per layer, from input to head, a line per strategy: eRank over tasks."""
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    rows = _panels.of_benchmark(given, "erank", settings.benchmark)
    rows = rows[(rows["matrix"] == settings.matrix) & (rows["statistic"] == ranks.ERANK)]
    if settings.architecture is not None:
        rows = rows[rows["architecture"] == settings.architecture]
        runs = runs[runs["architecture"] == settings.architecture]
    keys = ["architecture", "depth", "layer", "strategy", "task"]
    drawn = _panels.some_over_seeds(rows, keys)
    layers = drawn[keys[:3]].drop_duplicates()
    titles = [f"{wording.name(a)}: {layer}" for a, _, layer in layers.to_numpy()]
    if max(map(len, titles)) > 24:  # the gates of recurrent layers have long names
        titles = [title.replace(": ", "\n") for title in titles]
    layers = layers.assign(title=titles)
    groups = [layers[layers["architecture"] == a] for a in plots.in_order(drawn["architecture"])]
    most = max(len(group) for group in groups)
    longest = max(len(line) for title in titles for line in title.split("\n"))
    widest = max(1, min(5, int(plots.DOUBLE / (0.057 * longest + 0.35))))
    columns = -(-most // -(-most // widest))  # rows of one length as nearly as can be
    figure, blocks = _frame.blocks([len(group) for group in groups], columns, height=1.3)
    for group, block in zip(groups, blocks, strict=True):
        _panels.outer_labels(block, columns, x="tasks learned", y="effective rank")
        for ax, (architecture, _, layer, title) in zip(block, group.to_numpy(), strict=True):
            mine = drawn[(drawn["architecture"] == architecture) & (drawn["layer"] == layer)]
            _layer_panel(ax, mine, runs, tasks=int(drawn["task"].max()))
            ax.set_title(title, loc="left", fontsize=plots.SMALL)
    whose = {"weight": "layer's weights", "activation": "stage's activations"}
    _panels.finish(
        figure,
        runs,
        f"Effective rank of every {whose[settings.matrix]}",
        benchmark=settings.benchmark,
        what="entropy of uncentred singular values",
        notes=[
            *_panels.footnotes(runs),
            "Scales differ between panels and need not begin at zero.",
        ],
        key=plots.in_order(drawn["strategy"]),
    )
    return figure, drawn


def _layer_panel(ax: Axes, drawn: pd.DataFrame, runs: pd.DataFrame, *, tasks: int) -> None:
    architecture = drawn["architecture"].iloc[0]
    _panels.strategy_lines(
        ax, drawn, runs, architecture=architecture, x="task", labelled=False, scale=0.75
    )
    _panels.task_axis(ax, tasks, first=0, ticks=5)
    ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    _panels.rank_axis(ax, drawn)


@_panels.drawing
def peak_normalised_erank(given: Tables, settings: PeakNormalisedErank) -> Drawn:
    """A row per architecture, weights beside activations: eRank(t) / max_{u <= t} eRank(u)."""
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    rank = ranks.representative_rank(_panels.of_benchmark(given, "erank", settings.benchmark))
    rank = rank[rank["statistic"] == ranks.ERANK + ranks.PEAK]
    # What is measured once, as joint training is, has nothing to have fallen from.
    rank = rank[rank.groupby([*tables.GROUP, "matrix"])["task"].transform("nunique") > 1]
    keys = ["matrix", "layer", "architecture", "strategy", "task"]
    drawn = _panels.some_over_seeds(rank, keys)
    architectures = plots.in_order(drawn["architecture"])
    matrices = [matrix for matrix in MATRICES if (drawn["matrix"] == matrix).any()]
    figure, axes = _frame.panels(len(architectures), len(matrices), sharex=True)
    for row, architecture in zip(axes, architectures, strict=True):
        _panels.outer_labels(list(row), len(matrices), y="effective rank,\nshare of peak so far")
        for ax, matrix in zip(row, matrices, strict=True):
            mine = (drawn["matrix"] == matrix) & (drawn["architecture"] == architecture)
            _panels.strategy_lines(
                ax, drawn[mine], runs, architecture=architecture, x="task", within=(0, 1)
            )
            _panels.task_axis(ax, int(drawn["task"].max()), first=1)
            _panels.rank_axis(ax, drawn[drawn["matrix"] == matrix], highest=1.02)
            ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
            ax.set_title(f"{wording.name(architecture)}: {MATRICES[matrix]}", loc="left")
    for ax in axes[-1]:
        ax.set_xlabel("tasks learned")
    _panels.finish(
        figure,
        runs,
        "Share of the peak effective rank that is left",
        benchmark=settings.benchmark,
        notes=[
            *_panels.footnotes(runs),
            "Share: eRank after task t over its largest value after a task up to t.",
            "Scales need not begin at zero.",
        ],
    )
    return figure, drawn


@_panels.drawing
def forgetting_against_rank(given: Tables, settings: ForgettingAgainstRank) -> Drawn:
    """A point per run after every task t >= 2; correlations per seed, interval over seeds."""
    runs = _panels.of_benchmark(given, "runs", settings.benchmark)
    metric = _panels.metric_of(given, settings.benchmark, settings.metric)
    rows = _panels.of_benchmark(given, "forgetting_rank", settings.benchmark)
    rows = rows[rows["metric"] == metric].dropna(subset=["forgetting", "rank_lost"])
    _panels.some(rows, _panels.NONE_LEFT)
    columns = ["matrix", "layer", "architecture", "strategy", "seed", "task"]
    points = rows[[*columns, "rank_lost", "forgetting"]].assign(kind="point")
    found = _scatter.correlations(rows, list(MATRICES))
    architectures = plots.in_order(points["architecture"])
    matrices = [matrix for matrix in MATRICES if (points["matrix"] == matrix).any()]
    strategies = plots.in_order(points["strategy"])
    figure, axes = _frame.panels(len(architectures), len(matrices), height=2.2, sharey=True)
    for row, architecture in zip(axes, architectures, strict=True):
        _panels.outer_labels(
            list(row),
            len(matrices),
            x="effective rank lost since its peak",
            y="forgetting of earlier tasks\n(percentage points)",
        )
        for ax, matrix in zip(row, matrices, strict=True):
            mine = (points["matrix"] == matrix) & (points["architecture"] == architecture)
            _scatter.points(ax, points[mine])
            here = found[(found["matrix"] == matrix) & (found["architecture"] == architecture)]
            title = f"{wording.name(architecture)}: {MATRICES[matrix]}\n{_scatter.in_words(here)}"
            ax.set_title(title, loc="left", fontsize=plots.SMALL, linespacing=1.3)
    together = found[found["architecture"] == ""]
    notes = [
        "A point is one seed after task t ≥ 2. Correlations within each seed over the "
        "strategies and tasks; mean and 95 % interval over "
        f"{_panels.seed_count(runs)} (Fisher z).",
        *(
            f"Mean over architectures, {MATRICES[str(row.matrix)]}: Pearson given task "
            f"{_scatter.number(row)}."
            for row in together.itertuples()
        ),
        *_panels.footnotes(runs)[1:],
    ]
    if (runs["status"] == "diverged").any():
        notes.append("A seed that diverged has no correlation where its points are.")
    _panels.finish(
        figure,
        runs,
        "Forgetting against loss of effective rank",
        benchmark=settings.benchmark,
        what=plots.METRICS[metric],
        notes=notes,
        key=strategies,
    )
    return figure, pd.concat([points, found.assign(kind="correlation")], ignore_index=True)
