"""A table of numbers with their intervals, drawn as a heat map."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots


def table(
    ax: Axes, drawn: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], *, highest: float
) -> None:
    """A cell per row and column: mean in percentage points, below it the interval.

    Args:
        ax: The panel.
        drawn: ``mean``, ``ci_low`` and ``ci_high`` as shares, indexed by row and column.
        rows: Names, uppermost first.
        columns: Names, leftmost first.
        highest: Mean that has the darkest colour, as a share.
    """
    shades = mpl.colormaps["Oranges"]
    limits_of = drawn[["mean", "ci_low", "ci_high"]].itertuples(name=None)
    known: dict[Any, Any] = {index: limits for index, *limits in limits_of}
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if (row, column) not in known:
                _cell(ax, j, i, "#F4F4F4")
                ax.text(j, i, "not run", ha="center", va="center", color=plots.GREY)
                continue
            mean, low, high = known[row, column]
            _cell(ax, j, i, shades(0.08 + 0.62 * max(mean, 0.0) / (highest or 1.0)))
            ax.text(j, i - 0.14, _points(mean), ha="center", va="center", weight="bold")
            if np.isfinite(low):
                limits = f"[{_points(low)}, {_points(high)}]"
                ax.text(j, i + 0.2, limits, ha="center", va="center", fontsize=plots.SMALL)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cell(ax: Axes, x: float, y: float, colour: Any) -> None:
    square = mpl.patches.Rectangle((x - 0.49, y - 0.48), 0.98, 0.96, facecolor=colour, lw=0)
    ax.add_patch(square)


def _points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "\N{MINUS SIGN}")
