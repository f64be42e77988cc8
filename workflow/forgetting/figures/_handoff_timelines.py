"""Accuracy and loss over the epochs of two tasks, with every seed."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from forgetting import plots, tables
from forgetting.figures import _frame, _handoff_rows, _lines, _method_rows, _panels
from forgetting.figures._lines import DOTTED, Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.handoff import AccuracyTimeline, LossTimeline, Timeline

LEAST = 1e-8  # a loss of zero has no logarithm
KINDS = {"training": "accuracy in training", "test": "test accuracy"}
SEED_NOTE = "Thin lines: single seeds."


@_panels.drawing
def accuracy_timeline(given: Tables, settings: "AccuracyTimeline") -> Drawn:
    """A column per strategy: above, accuracy of training batches; below, of both tests."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name, settings.strategies)
    metric = _panels.metric_of(given, name, "scenario")
    training = in_training(given, settings, "accuracy").assign(kind="training")
    curves = _method_rows.of_benchmark(given, "learning_curve", name, settings.strategies)
    curves = curves[(curves["statistic"] == metric) & (curves["output"].fillna("") == "")]
    # The end of a task may have been kept as its last epoch too.
    tested = curves.drop_duplicates([*tables.ID, "of_task", "epochs_done"]).assign(kind="test")
    rows = pd.concat([training, tested], ignore_index=True)
    keys = ["kind", "strategy", "of_task", "epochs_done"]
    drawn = _panels.some_over_seeds(rows, keys)
    strategies = [each for each in settings.strategies if each in set(drawn["strategy"])]
    missing = _method_rows.not_run(settings.strategies, set(runs["strategy"]))
    runs = _method_rows.about(runs, rows)
    figure, axes = _frame.panels(2, len(strategies), height=1.6, sharex=True, sharey="row")
    names = _handoff_rows.task_names(runs)
    styles = {task: Line(label, _handoff_rows.COLOURS[task], "") for task, label in names.items()}
    for column, strategy in zip(axes.T, strategies, strict=True):
        change = switch(training, strategy)
        for ax, kind in zip(column, KINDS, strict=True):
            mine = rows[(rows["kind"] == kind) & (rows["strategy"] == strategy)]
            means = drawn[(drawn["kind"] == kind) & (drawn["strategy"] == strategy)]
            for task, style in styles.items():
                seeds, mean = (each[each["of_task"] == task] for each in (mine, means))
                if task == 2:
                    before = mean[mean["epochs_done"] <= change]
                    if len(before):
                        _lines.line(ax, before, "epochs_done", style, faint=True)
                    seeds, mean = (each[each["epochs_done"] >= change] for each in (seeds, mean))
                _with_seeds(ax, seeds, mean, style)
            if mine.empty:
                where = {"ha": "center", "va": "center", "transform": ax.transAxes}
                ax.text(0.5, 0.5, "not measured", color=plots.GREY, **where)
            ax.axvline(change, color=plots.GREY, ls=DOTTED, lw=1)
        column[0].set_title(_heading(runs, strategy), loc="left", weight="bold")
        _epoch_axis(column[1])
    for ax, (kind, label) in zip(axes[:, 0], KINDS.items(), strict=True):
        _panels.share_axis(ax, rows.loc[rows["kind"] == kind, "value"].min())
        ax.set_ylabel(label)
    _panels.finish(
        figure,
        runs,
        "Accuracy while one data set is learned after another",
        benchmark=name,
        what=plots.METRICS[metric],
        notes=[
            *_panels.footnotes(runs, mean="Thick lines: mean", interval="bands"),
            SEED_NOTE,
            "In training: of the batches of an epoch, each before its step. Faint: B before it is "
            "learned.",
            *missing,
        ],
        key=[*(style.handle() for style in styles.values()), _begins()],
    )
    return figure, _with_single(drawn, rows, keys)


@_panels.drawing
def loss_timeline(given: Tables, settings: "LossTimeline") -> Drawn:
    """A panel per strategy: training loss over both tasks, on a logarithmic axis."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name, settings.strategies)
    rows = in_training(given, settings, "loss")
    keys = ["strategy", "of_task", "epochs_done"]
    drawn = _panels.some_over_seeds(rows, keys)
    strategies = [each for each in settings.strategies if each in set(drawn["strategy"])]
    missing = _method_rows.not_run(settings.strategies, set(runs["strategy"]))
    runs = _method_rows.about(runs, rows)
    figure, axes = _frame.panels(1, len(strategies), height=2.3, sharex=True, sharey=True)
    names = _handoff_rows.task_names(runs)
    styles = {task: Line(label, _handoff_rows.COLOURS[task], "") for task, label in names.items()}
    for ax, strategy in zip(axes[0], strategies, strict=True):
        for task, style in styles.items():
            seeds, mean = (
                each[(each["strategy"] == strategy) & (each["of_task"] == task)]
                for each in (rows, drawn)
            )
            _with_seeds(ax, seeds, mean, style, within=(LEAST, np.inf))
        ax.axvline(switch(rows, strategy), color=plots.GREY, ls=DOTTED, lw=1)
        ax.set_title(_heading(runs, strategy), loc="left", weight="bold")
        _epoch_axis(ax)
        ax.set_yscale("log")
    low, high = rows["value"].clip(lower=LEAST).min(), rows["value"].max()
    axes[0, 0].set_ylim(0.6 * low, 1.6 * high)
    axes[0, 0].set_ylabel("training loss")
    _panels.finish(
        figure,
        runs,
        "Training loss while one data set is learned after another",
        benchmark=name,
        what="cross-entropy in nats",
        notes=[
            *_panels.footnotes(runs, mean="Thick lines: mean", interval="bands"),
            SEED_NOTE,
            "Of the batches of an epoch, each before its step.",
            *missing,
        ],
        key=[*(style.handle() for style in styles.values()), _begins()],
    )
    return figure, _with_single(drawn, rows, keys)


def in_training(given: Tables, settings: "Timeline", statistic: str) -> pd.DataFrame:
    """A statistic of the training batches, over the epochs since the start of task A.

    ``of_task`` is the task that is trained.
    """
    name = settings.benchmark
    rows = _method_rows.of_benchmark(given, "history", name, settings.strategies)
    rows = _panels.some(
        rows[rows["statistic"] == statistic], f"history.csv has no {statistic} on {name}"
    )
    lengths = rows.groupby("strategy")["epoch"].transform("max")
    done = (rows["task"] - 1) * lengths + rows["epoch"]
    return rows.assign(of_task=rows["task"], epochs_done=done.astype(float))


def switch(training: pd.DataFrame, strategy: str) -> float:
    """Epochs after which task B begins."""
    return float(training.loc[training["strategy"] == strategy, "epoch"].max())


def _with_seeds(
    ax: Axes,
    seeds: pd.DataFrame,
    mean: pd.DataFrame,
    style: Line,
    *,
    within: tuple[float, float] = (0.0, 1.0),
) -> None:
    """A thin line per seed, and the mean with its band."""
    for _, rows in seeds.groupby("seed"):
        rows = rows.sort_values("epochs_done")
        thin: dict[str, Any] = {"color": style.colour, "lw": 0.5, "alpha": 0.45, "zorder": 2}
        ax.plot(rows["epochs_done"], rows["value"].clip(*within), **thin)
    if len(mean):
        mean = mean.assign(mean=mean["mean"].clip(*within))
        _lines.line(ax, mean, "epochs_done", style, within=within)


def _heading(runs: pd.DataFrame, strategy: str) -> str:
    return _method_rows.label(runs, strategy).replace("\n", ", ")


def _epoch_axis(ax: Axes) -> None:
    ax.set_xlabel("epochs of training")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))


def _begins() -> Line2D:
    return Line("B begins", plots.GREY, "", DOTTED, 1.0).handle()


def _with_single(drawn: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means and, below them, the seeds: everything that is drawn."""
    means = drawn.rename(columns={"mean": "value"}).assign(line="mean")
    single = rows[[*keys, "seed", "value"]].dropna(subset=["value"]).assign(line="seed")
    single = single.sort_values([*keys, "seed"], kind="stable")
    columns = ["line", *keys, "seed", "value", "ci_low", "ci_high", "n_seeds"]
    whole = pd.concat([means, single], ignore_index=True)[columns]
    return whole.astype({"seed": "Int64", "n_seeds": "Int64"})
