"""Which classes of task A are forgotten while B is learned: whether forgetting is selective."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter

from forgetting import plots, statistics, tables
from forgetting.figures import _classes, _frame, _handoff_rows, _method_rows, _panels
from forgetting.figures._lines import HUES
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.handoff import ForgettingByClass

WHOLE = _classes.WHOLE.label


@_panels.drawing
def forgetting_by_class(given: Tables, settings: "ForgettingByClass") -> Drawn:
    """A line per class of task A while B is learned, and every seed after it."""
    name, wanted = settings.benchmark, [settings.strategy]
    runs = _method_rows.of_benchmark(given, "runs", name, wanted)
    metric = _panels.metric_of(given, name, "scenario")
    rows = _method_rows.of_benchmark(given, "learning_curve", name, wanted)
    rows = rows[(rows["of_task"] == 1) & (rows["statistic"] == metric)].dropna(subset=["value"])
    rows = _panels.some(rows, f"learning_curve.csv has no {metric} of task 1 on {name}")
    drawn = _panels.some(_classes.since_task_1(rows), _panels.NONE_LEFT)
    last = at_the_end(rows)
    ends = _panels.some_over_seeds(last, ["output"])
    names = sorted(set(ends["output"]) - {WHOLE})
    # A hue for every fifth class, so that with the markers ten can be told apart.
    kinds = {str(place): names[place :: len(HUES)] for place in range(len(HUES))}
    found = _classes.looks(names, kinds, settings.labels)
    looks = {output: found[output] for output in (*names, WHOLE)}
    height = max(2.4, 0.7 + 0.17 * len(looks))
    figure, axes = _frame.panels(1, 2, height=height, width_ratios=[3, 2])
    left, right = axes[0]
    _classes.lines(left, drawn, {key: replace(look, band=False) for key, look in looks.items()})
    _panels.share_axis(left, min(drawn["mean"].min(), 0.0))
    left.set_xlabel("epochs of B")
    left.set_ylabel(f"accuracy on {_handoff_rows.task_names(runs)[1]}")
    left.set_title("while B is learned, mean over seeds", loc="left")
    for place, (output, look) in enumerate(looks.items()):
        mine, (_, row) = (
            last[last["output"] == output],
            next(ends[ends.output == output].iterrows()),
        )
        seeds: dict[str, Any] = {"marker": "o", "markersize": 3.2, "alpha": 0.5, "ls": "none"}
        spots = np.full(len(mine), place + 0.18)
        right.plot(mine["value"], spots, color=look.colour, markeredgewidth=0, **seeds)
        if np.isfinite(row["ci_low"]):
            limits = np.clip([row["ci_low"], row["ci_high"]], 0, 1)
            right.hlines(place - 0.12, *limits, color=look.colour, lw=1.4)
        mean = {**look.look, "marker": "D", "markersize": 4.5, "linestyle": "none"}
        right.plot([row["mean"]], [place - 0.12], **mean)
    right.set_yticks(range(len(looks)), [look.label for look in looks.values()])
    right.set_ylim(len(looks) - 0.5, -0.5)
    right.set_xlim(-0.03, 1.03)
    right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    right.grid(axis="y", visible=False)
    right.tick_params(axis="y", length=0)
    right.set_xlabel("accuracy")
    right.set_title("after B, every seed", loc="left")
    _panels.finish(
        figure,
        _method_rows.about(runs, rows),
        "Accuracy on each class of A while B is learned",
        benchmark=name,
        what=f"{plots.look(settings.strategy).label}  ·  {plots.METRICS[metric]}",
        notes=[
            *_panels.footnotes(
                _method_rows.about(runs, rows), mean="Lines and diamonds: mean", interval="bars"
            ),
            "Dots: single seeds. Dashed: all classes of A.",
            spread_in_words(last),
        ],
    )
    seeds_table = last[["output", "seed", "value"]].assign(kind="seed after B")
    means = drawn[["output", "epoch", "mean", "ci_low", "ci_high", "n_seeds"]]
    means = means.rename(columns={"mean": "value"}).assign(kind="mean")
    whole = pd.concat([means, seeds_table], ignore_index=True)
    columns = ["kind", "output", "epoch", "seed", "value", "ci_low", "ci_high", "n_seeds"]
    return figure, whole[columns].astype({"seed": "Int64", "n_seeds": "Int64"})


def at_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each class after task B, for every seed that has it; "all" for the task."""
    last = rows[(rows["task"] == 2) & (rows["epoch"] == 0)]
    output = last["output"].fillna("").replace("", WHOLE)
    return last.assign(output=output)[[*tables.ID, "output", "value"]]


def spread_in_words(last: pd.DataFrame) -> str:
    """How unlike the classes of one seed are after B, over seeds."""
    classes = last[last["output"] != WHOLE]
    spread = statistics.interval(classes.groupby("seed")["value"].std(ddof=1).to_numpy())
    mean, low, high = (f"{100 * each:.1f}" for each in spread)
    limits = f" [{low}, {high}]" if np.isfinite(spread.low) else ""
    return (
        f"Standard deviation over the classes of a seed, after B: {mean}{limits} percentage points."
    )
