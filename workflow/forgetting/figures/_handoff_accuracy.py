"""The accuracy matrix, and the backward transfer that follows from it, by configuration."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from forgetting import plots
from forgetting.figures import _frame, _handoff_rows, _heat, _panels
from forgetting.figures._handoff_rows import CONFIGURATION, LETTERS
from forgetting.figures._lines import DASHED
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.handoff import AccuracyMatrix, BackwardTransfer

COLUMNS = 3


@_panels.drawing
def accuracy_matrix(given: Tables, settings: "AccuracyMatrix") -> Drawn:
    """A table per configuration: accuracy on each task before training and after each task."""
    wanted = _handoff_rows.configurations(given, settings)
    runs = _handoff_rows.of_configurations(given, "runs", wanted)
    rows = _handoff_rows.of_configurations(given, "accuracy", wanted)
    rows = _handoff_rows.under_scenario(given, rows)
    drawn = _panels.some_over_seeds(rows, [*CONFIGURATION, "metric", "after_task", "task"])
    there = [one for one in wanted if one in set(_pairs(drawn))]
    columns = min(COLUMNS, len(there))
    tallest = drawn.groupby(CONFIGURATION)["after_task"].nunique().max()
    figure, (axes,) = _frame.blocks([len(there)], columns, height=0.72 + 0.4 * tallest)
    for ax, (benchmark, strategy) in zip(axes, there, strict=True):
        mine = drawn[(drawn["benchmark"] == benchmark) & (drawn["strategy"] == strategy)]
        whole = bool(mine["after_task"].isin(range(1, mine["after_task"].max())).any())
        names = {after: after_words(after, alone=whole) for after in sorted(set(mine.after_task))}
        tasks = {task: LETTERS.get(task, str(task)) for task in sorted(set(mine["task"]))}
        index = [mine["after_task"].map(names), mine["task"].map(tasks)]
        cells = mine.drop(columns=["after_task", "task"]).set_index(index)
        _heat.table(ax, cells, list(names.values()), list(tasks.values()), highest=1.0)
        ax.set_ylim(tallest - 0.5, -0.5)  # cells of one size
        ax.xaxis.tick_top()
        title = _handoff_rows.configuration_name(benchmark, strategy, between="\n")
        ax.set_title(title, loc="left")
    _panels.finish(
        figure,
        runs,
        "Accuracy on each task before training and after each task",
        benchmark="",
        what=f"{_metrics(drawn)} in %, columns: task tested",
        notes=[
            *_panels.footnotes(runs, mean="Mean", interval="in brackets"),
            *_handoff_rows.without(wanted, there, "Not run"),
        ],
    )
    return figure, drawn


@_panels.drawing
def backward_transfer(given: Tables, settings: "BackwardTransfer") -> Drawn:
    """A row per configuration: every seed, the mean with its interval, what is published."""
    wanted = _handoff_rows.configurations(given, settings)
    runs = _handoff_rows.of_configurations(given, "runs", wanted)
    rows = _handoff_rows.of_configurations(given, "scores", wanted)
    rows = _handoff_rows.under_scenario(given, rows)
    last = rows.groupby(CONFIGURATION)["after_task"].transform("max")
    rows = rows[rows["after_task"] == last].dropna(subset=["backward_transfer"])
    drawn = _panels.some_over_seeds(rows, [*CONFIGURATION, "metric"], "backward_transfer")
    there = [one for one in wanted if one in set(_pairs(drawn))]
    figure, axes = _frame.panels(1, 1, height=0.55 + 0.36 * len(there))
    ax = axes[0, 0]
    key = [
        Line2D([], [], **_dot(plots.GREY), label="a seed"),
        Line2D([], [], **_mean(plots.GREY), label="mean, interval"),
    ]
    if settings.published is not None:
        look: dict[str, Any] = {"color": "black", "ls": DASHED, "lw": 1.1}
        ax.axvline(settings.published, **look, zorder=1)
        said = f"{100 * settings.published:.1f}".replace("-", "\N{MINUS SIGN}")
        key.append(Line2D([], [], **look, label=f"published, one seed: {said}"))
    for place, (benchmark, strategy) in enumerate(there):
        mine, mean = (
            each[(each["benchmark"] == benchmark) & (each["strategy"] == strategy)]
            for each in (rows, drawn)
        )
        colour, (_, row) = plots.look(strategy).colour, next(mean.iterrows())
        seeds = np.full(len(mine), place + 0.2)
        ax.plot(mine["backward_transfer"], seeds, **_dot(colour))
        if np.isfinite(row["ci_low"]):
            ax.hlines(place - 0.12, row["ci_low"], row["ci_high"], color=colour, lw=1.6)
        ax.plot([row["mean"]], [place - 0.12], **_mean(colour))
    labels = [_handoff_rows.configuration_name(*one, between="\n") for one in there]
    ax.set_yticks(range(len(there)), labels)
    ax.set_ylim(len(there) - 0.5, -0.5)
    ax.axvline(0, color=plots.GREY, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=""))
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    ax.set_xlabel("accuracy on A after B minus that after A, percentage points")
    _panels.finish(
        figure,
        runs,
        "Backward transfer of every seed",
        benchmark="",
        what=_metrics(drawn),
        notes=[
            *_panels.footnotes(runs, mean="Diamonds: mean", interval="bars"),
            *_handoff_rows.without(wanted, there, "No accuracy after A or none at the end"),
        ],
        key=key,
    )
    single = rows[[*CONFIGURATION, "metric", "seed", "backward_transfer"]].assign(kind="seed")
    means = drawn.rename(columns={"mean": "backward_transfer"}).assign(kind="mean")
    columns = ["kind", *CONFIGURATION, "metric", "seed", "backward_transfer"]
    whole = pd.concat([means, single], ignore_index=True)
    whole = whole[[*columns, "ci_low", "ci_high", "n_seeds"]]
    return figure, whole.astype({"seed": "Int64", "n_seeds": "Int64"})


def after_words(after: int, *, alone: bool) -> str:
    """When an accuracy was taken; ``alone``: tasks are learned one after the other."""
    if not after:
        return "before"
    if alone:
        return f"after {LETTERS.get(after, str(after))}"
    return "after " + " and ".join(LETTERS.get(task, str(task)) for task in range(1, after + 1))


def _pairs(drawn: pd.DataFrame) -> zip:
    return zip(drawn["benchmark"], drawn["strategy"], strict=True)


def _metrics(drawn: pd.DataFrame) -> str:
    return ", ".join(plots.METRICS[metric] for metric in sorted(drawn["metric"].unique()))


def _dot(colour: str) -> dict[str, Any]:
    look = {"marker": "o", "markersize": 3.4, "alpha": 0.55, "markeredgewidth": 0}
    return {"color": colour, "linestyle": "none", **look}


def _mean(colour: str) -> dict[str, Any]:
    look = {"marker": "D", "markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.4}
    return {"color": colour, "linestyle": "none", "zorder": 3, **look}
