"""What warm-starting costs: accuracy on all images by how long half of them were learned."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from forgetting import plots
from forgetting.figures import (
    _frame,
    _lines,
    _neural_collapse_reference,
    _neural_collapse_rows,
    _panels,
    _spectral_tasks,
)
from forgetting.figures._lines import Line
from forgetting.figures._neural_collapse_rows import CHANCE, DIVERGED
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.neural_collapse import AccuracyByWarmUpEpochs

SHOWN = {
    "accuracy": "after training on all images",
    "accuracy_before": "after the warm-up on a part of them",
}
SCRATCH = Line("all images from scratch", "#000000", "", _lines.DOTTED, 1.2)
FAILED = {
    CHANCE: ("o", 6.5, "seed at chance before or after"),
    DIVERGED: ("x", 3, "some seed has diverged"),
}


@_panels.drawing
def accuracy_by_warm_up_epochs(given: Tables, settings: "AccuracyByWarmUpEpochs") -> Drawn:
    """Two panels, a line per arm: accuracy after training on all images, and before it."""
    name = settings.benchmark
    rows = _neural_collapse_rows.continued(given, name, settings.arms)
    styles = _neural_collapse_rows.looks(rows["arm"])
    runs = _neural_collapse_rows.runs_of(given, name, rows, settings.scratch)
    shown = {"accuracy": rows, "accuracy_before": _of_warm_ups(rows, list(styles))}
    parts = [
        _panels.over_seeds(of, ["arm", "epoch"], column).assign(shown=column)
        for column, of in shown.items()
    ]
    drawn = _panels.some(pd.concat(parts, ignore_index=True), _panels.NONE_LEFT)
    drawn = drawn.assign(source="ours", kind="mean")
    failed = pd.concat([_failed(of, column) for column, of in shown.items()], ignore_index=True)
    scratch = _from_scratch(given, name, settings.scratch)
    reference = _published(runs, rows, wanted=settings.reference)
    figure, axes = _frame.panels(1, 2, height=2.6, sharex=True)
    for ax, (column, title) in zip(axes[0], SHOWN.items(), strict=True):
        _panel(
            ax,
            *(part[part["shown"] == column] for part in (drawn, failed, reference)),
            scratch=scratch if column == "accuracy" else scratch.iloc[:0],
            styles=styles,
        )
        ax.set_title(title, loc="left")
        _neural_collapse_rows.epoch_axis(ax, "epochs of warm-up")
    axes[0, 0].set_ylabel("test accuracy")
    kinds = [kind for kind in FAILED if (failed["kind"] == kind).any()]
    _panels.finish(
        figure,
        runs,
        "Test accuracy by the length of the warm-up",
        benchmark=name,
        what="a part of the training images first, then all of them",
        notes=[
            *_neural_collapse_rows.footnotes(runs, rows, styles),
            *_neural_collapse_rows.not_run(settings.arms, rows),
            *(["Seeds at chance are part of the means."] if CHANCE in kinds else []),
            _spectral_tasks.SPARSE,
        ],
        key=[
            *(style.handle() for style in styles.values()),
            *([SCRATCH.handle()] if len(scratch) else []),
            *(_mark(kind) for kind in kinds),
            *([_neural_collapse_reference.LINE.handle()] if len(reference) else []),
        ],
    )
    theirs = reference.rename(columns={"x": "epoch"}).assign(source="paper", kind="mean")
    return figure, pd.concat([drawn, scratch, failed, theirs], ignore_index=True)


def _of_warm_ups(rows: pd.DataFrame, arms: list[str]) -> pd.DataFrame:
    """Each warm-up once, under the first of the arms that continue it.

    What comes between warm-up and continuation (shrinking the weights) has no accuracy of its own.
    """
    of = rows.groupby("started_strategy")["arm"].agg(lambda names: min(names, key=arms.index))
    return rows[rows["arm"] == rows["started_strategy"].map(of)]


def _failed(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row for each seed at chance, and for each that diverged and has no value."""
    there = rows["status"] == CHANCE
    gone = (rows["status"] == DIVERGED) & rows[column].isna()
    found = rows.loc[there | gone, ["arm", "epoch", "seed", "status", column]]
    found = found.rename(columns={column: "mean", "status": "kind"})
    return found.assign(shown=column, source="ours")


def _from_scratch(given: Tables, benchmark: str, strategy: str) -> pd.DataFrame:
    """Accuracy after the last task of the strategy that learns it alone: one row or none."""
    rows = _panels.of_benchmark(given, "accuracy", benchmark)
    last = rows["task"].max()
    wanted = (rows["strategy"] == strategy) & (rows["task"] == last) & (rows["after_task"] == last)
    wanted &= rows["metric"] == _panels.metric_of(given, benchmark, "scenario")
    found = _panels.over_seeds(rows[wanted], ["strategy"], "value")
    return found.assign(shown="accuracy", source="ours", kind="from scratch")


def _published(runs: pd.DataFrame, rows: pd.DataFrame, *, wanted: bool) -> pd.DataFrame:
    """The paper's values of the arms drawn: arm, shown, x, mean, sd."""
    first, last = rows["epoch"].min(), rows["epoch"].max()
    found = _neural_collapse_reference.values(
        runs, "accuracy_by_warm_up_epochs", wanted=wanted, first=first, last=last
    )
    named = [series.rpartition(".") for series in found.pop("series")]
    found = found.assign(arm=[arm for arm, *_ in named], shown=[shown for *_, shown in named])
    return found[found["arm"].isin(rows["arm"])]


def _panel(
    ax: Axes,
    drawn: pd.DataFrame,
    failed: pd.DataFrame,
    reference: pd.DataFrame,
    *,
    scratch: pd.DataFrame,
    styles: dict[str, Line],
) -> None:
    """A line per arm; seeds that failed, what is reached from scratch, and the paper's values."""
    for mean, low, high in scratch[["mean", "ci_low", "ci_high"]].to_numpy(dtype=float):
        ax.axhline(mean, color=SCRATCH.colour, ls=SCRATCH.style, lw=SCRATCH.width)
        if np.isfinite(low):
            ax.axhspan(low, high, color=SCRATCH.colour, alpha=0.08, lw=0)
    widths = np.linspace(2.2, 1.0, len(styles)) if len(styles) > 1 else [1.4]
    for (arm, style), width in zip(styles.items(), widths, strict=True):
        mine, theirs = (part[part["arm"] == arm] for part in (drawn, reference))
        if len(mine):
            thinner = _neural_collapse_rows.marked(style, len(mine), width=float(width))
            _lines.line(ax, mine, "epoch", thinner)
        _neural_collapse_reference.draw(ax, theirs, marker=style.marker)
    parts = [drawn, scratch, *(part.assign(ci_low=np.nan) for part in (failed, reference))]
    _spectral_tasks.tight_axis(ax, pd.concat(parts))
    _neural_collapse_rows.percent(ax.yaxis)
    _marks(ax, failed, styles)


def _marks(ax: Axes, failed: pd.DataFrame, styles: dict[str, Line]) -> None:
    """Rings around seeds at chance; those without a value are crosses in rows at the lower edge."""
    look: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none", "zorder": 4}
    gone = failed[failed["kind"] == DIVERGED]
    low, high = ax.get_ylim()
    rows = [arm for arm in styles if (gone["arm"] == arm).any()]
    ax.set_ylim(low - 0.07 * len(rows) * (high - low), high)
    for arm, style in styles.items():
        look["color"] = style.colour
        chance = failed[(failed["kind"] == CHANCE) & (failed["arm"] == arm)]
        marker, size, _ = FAILED[CHANCE]
        ax.plot(chance["epoch"], chance["mean"], marker=marker, markersize=size, **look)
        if arm in rows:
            at = gone.loc[gone["arm"] == arm, "epoch"].unique()
            height = np.full(len(at), 0.035 + 0.06 * rows.index(arm))
            marker, size, _ = FAILED[DIVERGED]
            look_at_edge = look | {"transform": ax.get_xaxis_transform()}
            ax.plot(at, height, marker=marker, markersize=size, **look_at_edge)


def _mark(kind: str) -> Line2D:
    marker, size, label = FAILED[kind]
    look: dict[str, Any] = {"color": plots.GREY, "linestyle": "none", "markerfacecolor": "none"}
    return Line2D([], [], marker=marker, markersize=size, label=label, **look)
