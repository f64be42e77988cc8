"""Lines with bands, a panel per architecture, stages on an axis: what figures of measures share."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from forgetting import plots, wording
from forgetting.figures import _frame, _panels
from forgetting.figures._panels import Tables

DASHED, DOTTED = (0, (4, 2)), (0, (1, 1.6))
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F6000")  # for what is no strategy
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "p")


@dataclass(frozen=True)
class Line:
    """How a line is drawn and what the key calls it."""

    label: str
    colour: str
    marker: str = "o"
    style: Any = "-"
    width: float = 1.4
    band: bool = True
    """Whether its interval is drawn."""
    filled: bool = True
    """Whether its markers are."""

    @property
    def look(self) -> dict[str, Any]:
        """The settings of matplotlib's line."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.style,
            "linewidth": self.width,
            "markersize": 2.2 + self.width if self.marker else 0,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgecolor": "white" if self.filled else self.colour,
            "markeredgewidth": 0.3 if self.filled else 1.0,
        }

    def handle(self) -> Line2D:
        """The line as it stands in the key."""
        return Line2D([], [], label=self.label, **self.look)


def of_strategy(strategy: str, **other: Any) -> Line:
    """The line of a strategy's entry."""
    look = plots.look(strategy)
    return Line(**{"label": look.label, "colour": look.colour, "marker": look.marker} | other)


def line(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    style: Line,
    *,
    within: tuple[float, float] = (0.0, 1.0),
    faint: bool = False,
    among: int = 1,
) -> None:
    """A line through the means with the band of their intervals, cut at the values possible.

    ``among`` is how many lines the panel has: the bands of many are paler.
    """
    rows = rows.sort_values(x)
    shade = 0.4 if faint else 1.0
    ax.plot(rows[x], rows["mean"], zorder=3, alpha=shade, **style.look)
    low, high = rows["ci_low"].clip(*within), rows["ci_high"].clip(*within)
    if not style.band:
        return
    if len(rows) == 1:
        ax.vlines(rows[x], low, high, color=style.colour, lw=1)
    else:
        pale = _panels.band(among) * shade
        ax.fill_between(rows[x], low, high, color=style.colour, alpha=pale, lw=0)


def stage_line(
    ax: Axes,
    rows: pd.DataFrame,
    stages: pd.DataFrame,
    style: Line,
    *,
    within: tuple[float, float] = (0.0, 1.0),
) -> None:
    """A line over the depths of ``stages``, interrupted where it has no value."""
    depths = sorted(stages["depth"].unique())
    line(ax, rows.set_index("depth").reindex(depths).reset_index(), "depth", style, within=within)


def ring(ax: Axes, rows: pd.DataFrame, x: str, style: Line) -> None:
    """A ring around points of a line."""
    ax.plot(
        rows[x],
        rows["mean"],
        linestyle="none",
        marker="o",
        markersize=8,
        markerfacecolor="none",
        markeredgecolor=style.colour,
        markeredgewidth=1.1,
        zorder=4,
    )


def chosen(
    given: Tables,
    table: str,
    benchmarks: Collection[str],
    *,
    architecture: str | None,
    strategies: Collection[str],
) -> pd.DataFrame:
    """The rows of a table that a figure is about; Nothing where there are none, with the reason."""
    rows, names = _panels.of_table(given, table), " or ".join(benchmarks)
    rows = _panels.some(rows[rows["benchmark"].isin(benchmarks)], f"{table}.csv has no {names}")
    if architecture is not None:
        there = rows["architecture"] == architecture
        rows = _panels.some(rows[there], f"{table}.csv has no {architecture} on {names}")
    wanted = " or ".join(strategies)
    there = rows["strategy"].isin(strategies)
    return _panels.some(rows[there], f"{table}.csv has no {wanted} on {names}")


def architecture_panels(
    drawn: pd.DataFrame, *, x: str, y: str, height: float = 2.0, sharey: bool = True
) -> tuple[Figure, Mapping[str, Axes]]:
    """A panel per architecture with its name above, two or three in a row."""
    architectures = plots.in_order(drawn["architecture"])
    columns = 3 if len(architectures) == 3 else min(2, len(architectures))
    figure, (axes,) = _frame.blocks([len(architectures)], columns, height=height, sharey=sharey)
    _panels.outer_labels(axes, columns, x=x, y=y)
    for ax, architecture in zip(axes, architectures, strict=True):
        ax.set_title(wording.name(architecture), loc="left", weight="bold")
    return figure, dict(zip(architectures, axes, strict=True))


def stage_axis(ax: Axes, drawn: pd.DataFrame) -> None:
    """The stages of one architecture by name, from the input to the head."""
    stages = drawn[["depth", "layer"]].drop_duplicates().sort_values("depth")
    ax.set_xticks(stages["depth"], stages["layer"], rotation=45, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", pad=1)
    ax.set_xlim(stages["depth"].min() - 0.25, stages["depth"].max() + 0.25)


def unit_axis(ax: Axes, low: float = 0.0) -> None:
    """A similarity on the vertical axis: 0 to 1, and further down where an estimate is below 0."""
    ax.set_ylim(min(-0.02, 0.1 * np.floor(10 * low)), 1.02)
    ax.yaxis.set_major_locator(MultipleLocator(0.25))


def not_run(wanted: Sequence[str], there: Collection[str]) -> list[str]:
    """A note that names what a figure was asked for and does not show."""
    missing = [name for name in dict.fromkeys(wanted) if name not in there]
    return [f"Not run: {', '.join(missing)}."] if missing else []
