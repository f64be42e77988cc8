"""Values of the paper on neural collapse (Bonifazi et al. 2024, arXiv 2404.02719).

``neural_collapse_reference.csv`` has the columns figure (one of the study's), series, x, y and sd
(over seeds; empty where it is not known). Where its values come from:

- ``nc1_over_tasks``: the first five tasks of the authors' notebook on Permuted MNIST, and the
  correlation of the curves that it prints (``r``, over 140 tasks). Their task 0 is task 1 here.
- ``nc1_by_first_task_epochs``: fourteen single runs stored with the authors' code, whose first task
  was trained until NC1 fell below a threshold and not for the epochs of the published figure, whose
  values are not stored. Plasticity loss and accuracy are those of the second task.
- ``accuracy_by_warm_up_epochs`` and ``collapse_over_warm_up``: computed from the results stored
  with the authors' code, mean and sd over their five seeds; weight decay has one seed. Seeds of the
  regularised arm that diverged are in these means with their accuracy at chance.
- ``nc1_sliding_correlation``: computed from the same results, over the four seeds of the authors'
  notebook; windows of 20 checkpoints.

NC1 to NC4 of the arms without regulariser were taken with batch normalisation in train mode.
"""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots, tables
from forgetting.figures import _lines
from forgetting.figures._lines import Line

VALUES = Path(__file__).with_name("neural_collapse_reference.csv")
LINE = Line("as published (same markers)", plots.GREY, "", _lines.DASHED, 0.8, filled=False)


def values(
    runs: pd.DataFrame, figure: str, *, wanted: bool, first: float, last: float
) -> pd.DataFrame:
    """The paper's values for a figure, if the runs drawn follow its protocol.

    Args:
        runs: Those drawn.
        figure: Its function's name.
        wanted: Whether they are to be drawn at all.
        first: The smallest x drawn.
        last: The largest x drawn.

    Returns:
        Columns series, x, mean, sd; no rows unless all the evidence is ``protocol``.
    """
    known = tables.read(VALUES)
    use = (known["figure"] == figure) & known["x"].between(first, last)
    use &= wanted and bool((runs["evidence"] == "protocol").all())
    found = known.loc[use, ["series", "x", "y", "sd"]].rename(columns={"y": "mean"})
    return found.reset_index(drop=True)


def draw(ax: Axes, rows: pd.DataFrame, *, marker: str = "o", joined: bool = True) -> None:
    """Grey points with bars of one sd, joined by a dashed line or alone."""
    if rows.empty:
        return
    rows = rows.sort_values("x")
    bars = rows["sd"].to_numpy(dtype=float)
    ax.errorbar(
        rows["x"],
        rows["mean"],
        yerr=bars if rows["sd"].notna().any() else None,
        color=LINE.colour,
        linestyle=LINE.style if joined else "none",
        linewidth=LINE.width,
        elinewidth=0.6,
        marker=marker,
        markersize=3.2,
        markerfacecolor="white",
        markeredgewidth=0.8,
        zorder=2.5,
    )
