"""Neural collapse and the loss of plasticity over a sequence of permuted tasks."""

import dataclasses
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from forgetting import plots, statistics, tables
from forgetting.figures import (
    _frame,
    _ladders,
    _lines,
    _method_rows,
    _neural_collapse_reference,
    _neural_collapse_rows,
    _panels,
    _scatter,
    _spectral_tasks,
)
from forgetting.figures._lines import Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.neural_collapse import Nc1ByFirstTaskEpochs, Nc1OverTasks

SHOWN = {
    "accuracy": ("online accuracy", Line("online accuracy", "#D55E00")),
    "nc1": ("NC1 after the task\n(rising: less collapse)", Line("NC1", "#0072B2", "s")),
}
PUBLISHED = Line("as published", plots.GREY, "o", "none", 0.8, filled=False)
BY_EPOCHS = {
    "nc1": "NC1 after task 1",
    "plasticity_loss": "plasticity loss: accuracy on task 1\nminus that on the later task",
    "accuracy": "online accuracy\non the later task",
}


@_panels.drawing
def nc1_over_tasks(given: Tables, settings: "Nc1OverTasks") -> Drawn:
    """Two panels over one axis of tasks: online accuracy, and NC1 at the end of each task."""
    name, strategy = settings.benchmark, settings.strategy
    runs = _method_rows.of_benchmark(given, "runs", name, [strategy])
    rows = {
        "accuracy": _method_rows.of_benchmark(given, "online", name, [strategy]),
        "nc1": _neural_collapse_rows.nc1_after_tasks(given, runs, name),
    }
    keys = ["strategy", "task"]
    parts = {shown: _panels.some_over_seeds(of, keys) for shown, of in rows.items()}
    found = _correlations(rows, parts)
    last = int(runs["tasks"].max())
    reference = _neural_collapse_reference.values(
        runs, "nc1_over_tasks", wanted=settings.reference, first=1, last=last
    )
    figure, axes = _frame.panels(2, 1, height=1.75, sharex=True)
    _panels.task_axis(axes[0, 0], last, first=1)
    for ax, (shown, (label, style)) in zip(axes[:, 0], SHOWN.items(), strict=True):
        mine, theirs = parts[shown], reference[reference["series"] == shown]
        style = _neural_collapse_rows.marked(style, len(mine))
        _lines.line(ax, mine, "task", style, within=(0, float("inf")))
        _neural_collapse_reference.draw(ax, theirs, joined=False)
        _spectral_tasks.tight_axis(ax, pd.concat([mine, theirs.assign(ci_low=float("nan"))]))
        ax.set_ylabel(label)
    _neural_collapse_rows.percent(axes[0, 0].yaxis)
    axes[0, 0].set_title(_in_words(found, reference), loc="left")
    axes[1, 0].set_xlabel("task")
    shown_grey = reference["series"].isin(SHOWN).any()
    _panels.finish(
        figure,
        runs,
        "Accuracy and neural collapse as tasks follow one another",
        benchmark=name,
        what=f"{plots.look(strategy).label}  ·  every sample is judged before it is learned from",
        notes=[*_panels.footnotes(runs), _spectral_tasks.SPARSE],
        key=[PUBLISHED.handle()] if shown_grey else [],
    )
    curves = [part.assign(shown=shown, source="ours") for shown, part in parts.items()]
    theirs = reference.rename(columns={"series": "shown", "x": "task"}).assign(source="paper")
    return figure, pd.concat([*curves, found, theirs], ignore_index=True)


def _correlations(rows: dict[str, pd.DataFrame], parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The correlation over tasks: of the curves averaged over seeds, and within a seed."""
    curves = parts["accuracy"].merge(parts["nc1"], on="task", suffixes=("", "_nc1"))
    averaged = statistics.pearson(curves["mean"], curves["mean_nc1"])
    both = rows["accuracy"].merge(rows["nc1"], on=["seed", "task"], suffixes=("", "_nc1"))
    points = both.groupby("seed")["task"].transform("count")
    whole = both[points == points.max()]  # a seed that diverged has the first tasks alone
    each = [statistics.pearson(of["value"], of["value_nc1"]) for _, of in whole.groupby("seed")]
    mean, low, high = statistics.correlation_interval(each)
    found = [
        {"shown": "r", "mean": averaged},
        {"shown": "r within a seed", "mean": mean, "ci_low": low, "ci_high": high},
    ]
    counts = [parts["accuracy"]["n_seeds"].max(), int(pd.notna(each).sum())]
    return pd.DataFrame(found).assign(n_seeds=counts, source="ours")


def _in_words(found: pd.DataFrame, reference: pd.DataFrame) -> str:
    """The correlations as they stand above the upper panel."""
    averaged, within = found.itertuples()
    published = [_number(r) for r in reference.loc[reference["series"] == "r", "mean"]]
    theirs = f" (published: {published[0]})" if published else ""
    return (
        f"accuracy with NC1: r = {_number(averaged.mean)} over means of seeds{theirs}, "
        f"{_scatter.number(within)} within a seed"
    )


def _number(r: Any) -> str:
    return "undefined" if pd.isna(r) else f"{r:.2f}".replace("-", "\N{MINUS SIGN}")


@_panels.drawing
def nc1_by_first_task_epochs(given: Tables, settings: "Nc1ByFirstTaskEpochs") -> Drawn:
    """Panels of NC1, of plasticity loss and of accuracy on later tasks, by epochs of task 1."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name)
    ladder = _ladders.rungs(runs["strategy"], settings.ladder)
    runs = runs[runs["strategy"].isin(ladder)]
    _panels.some(runs, f"runs.csv has no {settings.ladder}~1 on {name}")
    epochs = {entry: _ladders.rung(entry) for entry in ladder}
    parts = _by_epochs(given, runs, settings.tasks, epochs)
    drawn = pd.concat(
        [
            _panels.some_over_seeds(of, ["strategy", "epochs", "task"]).assign(shown=shown)
            for shown, of in parts.items()
        ]
    ).assign(source="ours")
    reference = _neural_collapse_reference.values(
        runs,
        "nc1_by_first_task_epochs",
        wanted=settings.reference,
        first=min(epochs.values()),
        last=max(epochs.values()),
    )
    later = sorted(drawn.loc[drawn["task"] > 1, "task"].unique())
    hues = zip(later, _ladders.colours(len(later)), _lines.MARKERS, strict=False)
    styles = {task: Line(f"task {task:.0f}", hue, marker) for task, hue, marker in hues}
    figure, axes = _frame.panels(1, len(BY_EPOCHS), height=2.3)
    for ax, (shown, label) in zip(axes[0], BY_EPOCHS.items(), strict=True):
        mine, theirs = drawn[drawn["shown"] == shown], reference[reference["series"] == shown]
        for task, of in mine.groupby("task"):
            style = styles.get(task, SHOWN["nc1"][1])
            _lines.line(ax, of, "epochs", style, within=(-float("inf"), float("inf")))
        _neural_collapse_reference.draw(ax, theirs, joined=False)
        _spectral_tasks.tight_axis(ax, pd.concat([mine, theirs.assign(ci_low=float("nan"))]))
        _epoch_axis(ax, sorted(epochs.values()))
        ax.set_title(label, loc="left")
        ax.set_xlabel("epochs on task 1")
    _neural_collapse_rows.percent(axes[0, 1].yaxis, symbol="")
    _neural_collapse_rows.percent(axes[0, 2].yaxis)
    grey = dataclasses.replace(PUBLISHED, label="published runs (task 2)")
    _panels.finish(
        figure,
        runs,
        "What longer training on the first task leaves for the others",
        benchmark=name,
        what="one epoch on each later task",
        notes=[
            *_panels.footnotes(runs),
            "Plasticity loss in percentage points; it contains the accuracy on task 1, which "
            "rises with its epochs.",
            _spectral_tasks.SPARSE,
        ],
        key=[
            *(style.handle() for style in styles.values()),
            *([grey.handle()] if len(reference) else []),
        ],
    )
    theirs = reference.rename(columns={"series": "shown", "x": "epochs"}).assign(source="paper")
    return figure, pd.concat([drawn, theirs], ignore_index=True)


def _by_epochs(
    given: Tables, runs: pd.DataFrame, tasks: list[int], epochs: dict[str, float]
) -> dict[str, pd.DataFrame]:
    """Values by run and task: NC1 after task 1; plasticity loss and accuracy on later tasks."""
    benchmark = str(runs["benchmark"].iloc[0])
    online = _method_rows.of_benchmark(given, "online", benchmark, list(epochs))
    online = online[[*tables.ID, "task", "value"]]
    later = online[online["task"] > 1]
    wanted = tasks or _method_rows.spread_out(later["task"], 3)
    which = f"task {', '.join(map(str, wanted))}" if wanted else "task after the first"
    accuracy = later[later["task"].isin(wanted)]
    _panels.some(accuracy, f"online.csv has no {which} of these runs on {benchmark}")
    first = online[online["task"] == 1].set_index(tables.ID)["value"].rename("first")
    lost = accuracy.join(first, on=tables.ID)
    lost = lost.assign(value=lost["first"] - lost["value"]).drop(columns="first")
    nc1 = _neural_collapse_rows.nc1_after_tasks(given, runs, benchmark)
    parts = {"nc1": nc1[nc1["task"] == 1], "plasticity_loss": lost, "accuracy": accuracy}
    return {shown: of.assign(epochs=of["strategy"].map(epochs)) for shown, of in parts.items()}


def _epoch_axis(ax: Axes, epochs: list[float]) -> None:
    """The epochs trained marked, on a logarithmic axis where they go far."""
    if epochs[-1] / epochs[0] >= 10:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(epochs, [f"{epoch:g}" for epoch in epochs])
