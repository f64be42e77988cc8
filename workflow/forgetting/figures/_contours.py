"""The loss over planes through a network's weights: filled contours on one logarithmic scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator

COLOURS = "viridis"


@dataclass(frozen=True)
class Scale:
    """The scale of several panels."""

    least: float
    """A smaller loss counts as this: zero has no logarithm."""
    levels: np.ndarray
    """Of the contours, evenly by logarithm; the outermost are a hair beyond the losses."""

    @classmethod
    def of(cls, losses: pd.Series, levels: int, *, least: float) -> "Scale":
        """Return the scale of all losses that are drawn, with so many levels."""
        low, high = (max(float(each), least) for each in (losses.min(), losses.max()))
        found = np.geomspace(low, high if high > low else 1.1 * low, levels)
        found[0], found[-1] = found[0] * (1 - 1e-9), found[-1] * (1 + 1e-9)
        return cls(low, found)

    @property
    def norm(self) -> LogNorm:
        """From losses to shares of the colours."""
        return LogNorm(self.levels[0], self.levels[-1])


def plane(ax: Axes, losses: pd.DataFrame, scale: Scale, *, line: float, ticks: int) -> None:
    """Draw one plane: ``losses`` has x, y and value. Along an axis there are so many ticks."""
    grid = losses.pivot(index="y", columns="x", values="value").clip(lower=scale.least)
    cells, levels, norm = (grid.columns, grid.index, grid), scale.levels, scale.norm
    ax.contourf(*cells, levels=levels, norm=norm, cmap=COLOURS)
    ax.contour(*cells, levels=levels, norm=norm, colors="white", linewidths=line)
    ax.set_box_aspect(1)
    ax.grid(visible=False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))


def beside(figure: Figure, axes: Sequence[Axes], scale: Scale, label: str, *, aspect: int) -> None:
    """Draw the scale to the right of the panels, ``aspect`` times as high as wide."""
    colours = ScalarMappable(norm=scale.norm, cmap=COLOURS)
    bar = figure.colorbar(colours, ax=list(axes), label=label, aspect=aspect, pad=0.01)
    if scale.levels[-1] / scale.levels[0] < 30:  # powers of ten alone would be one tick or none
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    bar.ax.minorticks_off()
