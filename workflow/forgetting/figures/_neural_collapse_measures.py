"""Neural collapse of the warm-up beside the accuracy that is reached from it."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from forgetting import statistics
from forgetting.figures import (
    _frame,
    _lines,
    _neural_collapse_reference,
    _neural_collapse_rows,
    _panels,
    _scatter,
    _spectral_tasks,
)
from forgetting.figures._lines import Line
from forgetting.figures._neural_collapse_rows import MODES
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.neural_collapse import CollapseOverWarmUp

MEASURES = {
    "nc1": ("NC1: variability within classes", "falls"),
    "nc2": ("NC2: distance of the classifier from a simplex", "falls"),
    "nc3": ("NC3: classifier times means from a simplex", "falls"),
    "nc4": ("NC4: agreement with the nearest class mean", "rises"),
}
NC, ACCURACY = Line("NC1 to NC4", "#D55E00"), Line("accuracy on all images", "#0072B2", "s")


@_panels.drawing
def collapse_over_warm_up(given: Tables, settings: "CollapseOverWarmUp") -> Drawn:
    """A panel for each of NC1 to NC4, with the accuracy on all images on a second axis."""
    name = settings.benchmark
    rows = _neural_collapse_rows.continued(given, name, [settings.arm], mode=settings.mode)
    first, last = settings.first_epoch, settings.last_epoch
    inside = rows["epoch"].between(first, float("inf") if last is None else last)
    which = f"{first:g} epochs or more" if last is None else f"{first:g} to {last:g} epochs"
    rows = _panels.some(rows[inside], f"{settings.arm} has no warm-up of {which}")
    runs = _neural_collapse_rows.runs_of(given, name, rows)
    styles = _neural_collapse_rows.looks([settings.arm])
    parts = [
        _panels.some_over_seeds(rows, ["arm", "epoch"], column).assign(shown=column)
        for column in (*MEASURES, "accuracy")
    ]
    drawn = pd.concat(parts, ignore_index=True).assign(source="ours")
    found = _within_seeds(rows)
    train = settings.mode == "train"
    reference = _neural_collapse_reference.values(
        runs,
        "collapse_over_warm_up",
        wanted=settings.reference and settings.arm == "full",
        first=rows["epoch"].min(),
        last=rows["epoch"].max(),
    )
    reference = reference[train | (reference["series"] == "accuracy")]
    figure, axes = _frame.panels(2, 2, height=1.9, sharex=True)
    for place, (ax, (measure, (title, falls))) in enumerate(
        zip(axes.ravel(), MEASURES.items(), strict=True)
    ):
        other = _second_axis(ax)
        for on, column, style in ((ax, measure, NC), (other, "accuracy", ACCURACY)):
            _quantity(on, drawn, reference, column, style)
        (r,) = found[found["with"] == measure].itertuples()
        ax.set_title(f"{title}\nr = {_scatter.number(r)}", loc="left", linespacing=1.3)
        ax.set_ylabel(f"{measure.upper()} ({falls} with collapse)", color=NC.colour)
        _neural_collapse_rows.percent(other.yaxis)
        if place % 2:
            other.set_ylabel("accuracy on all images", color=ACCURACY.colour)
    for ax in axes[-1]:
        _neural_collapse_rows.epoch_axis(ax, "epochs of warm-up")
    _panels.finish(
        figure,
        runs,
        "Neural collapse in the warm-up, and the accuracy on all images reached from it",
        benchmark=name,
        what=f"{styles[settings.arm].label}  ·  {MODES[settings.mode]}",
        notes=[
            *_neural_collapse_rows.footnotes(runs, rows, styles),
            "r: correlation over the checkpoints shown within a seed, mean and 95 % interval over "
            "seeds (Fisher z).",
            _spectral_tasks.SPARSE,
        ],
        key=[
            NC.handle(),
            ACCURACY.handle(),
            *([_neural_collapse_reference.LINE.handle()] if len(reference) else []),
        ],
    )
    theirs = reference.rename(columns={"series": "shown", "x": "epoch"}).assign(source="paper")
    return figure, pd.concat([drawn, found, theirs], ignore_index=True)


def _within_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The correlation of each measure with the accuracy over checkpoints, within a seed."""
    complete = rows.groupby("seed")["accuracy"].count()
    whole = complete.index[complete == complete.max()]
    found = []
    for measure in MEASURES:
        each = [
            statistics.pearson(of[measure], of["accuracy"])
            for _, of in rows[rows["seed"].isin(whole)]
            .dropna(subset=[measure, "accuracy"])
            .groupby("seed")
        ]
        limits = statistics.correlation_interval(each)
        found.append(["r", measure, *limits, int(np.isfinite(each).sum()), "ours"])
    columns = ["shown", "with", "mean", "ci_low", "ci_high", "n_seeds", "source"]
    return pd.DataFrame(found, columns=columns)


def _second_axis(ax: Axes) -> Axes:
    """A vertical axis on the right, in the colour of the accuracy; the left one in that of NC."""
    other = ax.twinx()
    other.grid(visible=False)
    other.spines["right"].set_visible(True)
    for axes, side, style in ((ax, "left", NC), (other, "right", ACCURACY)):
        axes.spines[side].set_color(style.colour)
        axes.tick_params(axis="y", colors=style.colour)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    other.spines["left"].set_visible(False)
    return other


def _quantity(
    ax: Axes, drawn: pd.DataFrame, reference: pd.DataFrame, column: str, style: Line
) -> None:
    """A line over epochs, on a logarithmic axis where it falls to less than a tenth."""
    mine = drawn[drawn["shown"] == column]
    theirs = reference[reference["series"] == column]
    _lines.line(
        ax, mine, "epoch", _neural_collapse_rows.marked(style, len(mine)), within=(0, np.inf)
    )
    _neural_collapse_reference.draw(ax, theirs, marker=style.marker)
    both = pd.concat([mine, theirs.assign(ci_low=np.nan)])
    low, high = both["mean"].min(), both["mean"].max()
    if 0 < 10 * low < high:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, 1.3 * high)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    else:
        _spectral_tasks.tight_axis(ax, both)
