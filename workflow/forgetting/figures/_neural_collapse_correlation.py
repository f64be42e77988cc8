"""How NC1 of the warm-up goes with the accuracy reached from it, within windows of the warm-up."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from forgetting import statistics
from forgetting.figures import (
    _frame,
    _lines,
    _neural_collapse_reference,
    _neural_collapse_rows,
    _panels,
)
from forgetting.figures._neural_collapse_rows import MODES
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.neural_collapse import Nc1SlidingCorrelation

CORRELATIONS = {"pearson": "correlation", "given_epoch": "correlation given the epoch"}
PUBLISHED_WINDOW = 20


@_panels.drawing
def nc1_sliding_correlation(given: Tables, settings: "Nc1SlidingCorrelation") -> Drawn:
    """A line per arm: correlation within a window of checkpoints, plain and given the epoch."""
    name, window = settings.benchmark, settings.window
    rows = _neural_collapse_rows.continued(given, name, settings.arms, mode=settings.mode)
    styles = _neural_collapse_rows.looks(rows["arm"])
    runs = _neural_collapse_rows.runs_of(given, name, rows)
    found = sliding(rows, window)
    most = rows.groupby("arm")["epoch"].nunique().max()
    keys = ["correlation", "arm", "epoch"]
    drawn = _panels.some(
        pd.DataFrame(
            [
                [*group, *statistics.correlation_interval(of["r"].to_numpy()), len(of)]
                for group, of in found.dropna(subset=["r"]).groupby(keys)
            ],
            columns=[*keys, "mean", "ci_low", "ci_high", "n_seeds"],
        ).assign(source="ours"),
        f"no seed has a window of {window} checkpoints in which both vary ({name} has "
        f"{most} checkpoints); give the figure a smaller window",
    )
    reference = _neural_collapse_reference.values(
        runs,
        "nc1_sliding_correlation",
        wanted=settings.reference and settings.mode == "train" and window == PUBLISHED_WINDOW,
        first=drawn["epoch"].min(),
        last=drawn["epoch"].max(),
    )
    reference = reference[reference["series"].isin(styles)]
    shown = [kind for kind in CORRELATIONS if (drawn["correlation"] == kind).any()]
    figure, axes = _frame.panels(1, len(shown), height=2.4, sharex=True, sharey=True)
    for ax, kind in zip(axes[0], shown, strict=True):
        ax.axhline(0, color="#B0B0B0", lw=0.8, zorder=1)
        for arm, style in styles.items():
            mine = drawn[(drawn["correlation"] == kind) & (drawn["arm"] == arm)]
            if len(mine):
                style = _neural_collapse_rows.marked(style, len(mine))
                _lines.line(ax, mine, "epoch", style, within=(-1, 1))
            if kind == "pearson":
                theirs = reference[reference["series"] == arm]
                _neural_collapse_reference.draw(ax, theirs, marker=styles[arm].marker)
        ax.set_title(CORRELATIONS[kind], loc="left")
        _neural_collapse_rows.epoch_axis(ax, "last epoch in the window")
    axes[0, 0].set_ylim(-1.05, 1.05)
    axes[0, 0].set_ylabel("r of NC1 with\naccuracy on all images")
    _panels.finish(
        figure,
        runs,
        "Correlation of NC1 in the warm-up with the accuracy on all images",
        benchmark=name,
        what=f"windows of {window} checkpoints  ·  {MODES[settings.mode]}",
        notes=[
            *_neural_collapse_rows.footnotes(runs, rows, styles),
            *_neural_collapse_rows.not_run(settings.arms, rows),
            f"Correlations are of {window} points within a seed, their mean and interval over "
            "seeds are taken on Fisher's z. Windows with a run that diverged are left out.",
        ],
        key=[
            *(style.handle() for style in styles.values()),
            *([_neural_collapse_reference.LINE.handle()] if len(reference) else []),
        ],
    )
    theirs = reference.rename(columns={"series": "arm", "x": "epoch"})
    theirs = theirs.assign(source="paper", correlation="pearson")
    return figure, pd.concat([drawn, theirs], ignore_index=True)


def sliding(rows: pd.DataFrame, window: int) -> pd.DataFrame:
    """Correlations of NC1 with the accuracy on all images in windows of checkpoints.

    Args:
        rows: Of table ``continued``, one for each run.
        window: Checkpoints in a window.

    Returns:
        arm, seed, epoch (the last in the window), correlation and r: ``pearson``, and
        ``given_epoch``, of what is left of both after a straight line over the epochs. NaN where a
        run is missing from the window or has no value.
    """
    found = []
    for arm, of in rows.groupby("arm"):
        both = of.pivot(index="seed", columns="epoch", values=["nc1", "accuracy"])
        epochs = np.array(sorted(of["epoch"].unique()), dtype=float)
        for seed, values in both.iterrows():
            nc1, accuracy = (values[column].to_numpy(dtype=float) for column in ("nc1", "accuracy"))
            for end in range(window, len(epochs) + 1):
                at = slice(end - window, end)
                pair = nc1[at], accuracy[at]
                plain = statistics.pearson(*pair)
                partial = statistics.partial_correlation(*pair, epochs[at, None])
                for kind, r in zip(CORRELATIONS, (plain, partial), strict=True):
                    found.append([arm, seed, epochs[end - 1], kind, r])
    return pd.DataFrame(found, columns=["arm", "seed", "epoch", "correlation", "r"])
