"""A table of numbers with their intervals, drawn as a heat map."""

from collections.abc import Sequence

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
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if (row, column) not in drawn.index:
                _cell(ax, j, i, "#F4F4F4")
                ax.text(j, i, "not run", ha="center", va="center", color=plots.GREY)
                continue
            cell = drawn.loc[(row, column)]
            colour = shades(0.08 + 0.62 * max(cell["mean"], 0.0) / (highest or 1.0))
            _cell(ax, j, i, colour)
            ax.text(j, i - 0.14, _points(cell["mean"]), ha="center", va="center", weight="bold")
            if np.isfinite(cell["ci_low"]):
                limits = f"[{_points(cell['ci_low'])}, {_points(cell['ci_high'])}]"
                ax.text(j, i + 0.2, limits, ha="center", va="center", fontsize=plots.SMALL)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _cell(ax: Axes, x: float, y: float, colour: object) -> None:
    square = mpl.patches.Rectangle((x - 0.49, y - 0.48), 0.98, 0.96, facecolor=colour, lw=0)
    ax.add_patch(square)


def _points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "\N{MINUS SIGN}")
