"""What figures of several studies draw alike: choosing rows, means over seeds, footnotes."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, PercentFormatter

from forgetting import plots, statistics, tables, wording
from forgetting.errors import UserError
from forgetting.figures import _frame
from forgetting.settings import Settings

Tables = Mapping[str, pd.DataFrame]
Drawn = tuple[Figure, pd.DataFrame]
NONE_LEFT = "no seed has the values (every run diverged before, or is not measured)"
S = TypeVar("S", bound=Settings)


class Nothing(Exception):
    """There is nothing to draw: not run yet, or every seed diverged before. The reason in words."""


def drawing(function: Callable[[Tables, S], Drawn]) -> Callable[[Tables, S], Drawn]:
    """Draw in the style of all figures; where there is nothing to draw, a figure says why."""

    @functools.wraps(function)
    def drawn(given: Tables, settings: S) -> Drawn:
        with mpl.rc_context(plots.STYLE):
            try:
                return function(given, settings)
            except Nothing as reason:
                return _frame.message(str(reason)), pd.DataFrame({"nothing": [str(reason)]})

    return drawn


def of_table(given: Tables, table: str) -> pd.DataFrame:
    """All rows of a table that the figure needs.

    Raises:
        UserError: The study does not give it to the figure.
    """
    if table not in given:
        raise UserError(f"the figure draws tables/{table}.csv: add {table} to its tables")
    return given[table]


def of_benchmark(given: Tables, table: str, benchmark: str) -> pd.DataFrame:
    """The rows of one benchmark; Nothing where there are none."""
    rows = of_table(given, table)
    return some(rows[rows["benchmark"] == benchmark], f"{table}.csv has no {benchmark}")


def some(rows: pd.DataFrame, otherwise: str) -> pd.DataFrame:
    """The rows, or Nothing for the reason given."""
    if rows.empty:
        raise Nothing(f"Nothing to draw: {otherwise}.")
    return rows


def metric_of(given: Tables, benchmark: str, metric: str) -> str:
    """The metric named, or for ``scenario`` the one the benchmark is judged by."""
    if metric != "scenario":
        return metric
    return str(of_benchmark(given, "runs", benchmark)["scenario_metric"].iloc[0])


def over_seeds(rows: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Mean over seeds with its interval for every combination of ``keys``; none left, no row."""
    drawn = []
    for group, cells in rows.dropna(subset=[value]).groupby(list(keys)):
        mean, low, high = statistics.interval(cells[value].to_numpy())
        drawn.append([*group, mean, low, high, len(cells)])
    return pd.DataFrame(drawn, columns=[*keys, "mean", "ci_low", "ci_high", "n_seeds"])


def some_over_seeds(rows: pd.DataFrame, keys: Sequence[str], value: str = "value") -> pd.DataFrame:
    """From `over_seeds`; Nothing where no seed has a value."""
    return some(over_seeds(rows, keys, value), NONE_LEFT)


def seed_count(runs: pd.DataFrame) -> str:
    """How many seeds each run has, in words."""
    seeds = runs.groupby(tables.GROUP)["seed"].nunique()
    few, many = seeds.min(), seeds.max()
    return f"{few} seed{'s' if many > 1 else ''}" if few == many else f"{few} to {many} seeds"


def footnotes(
    runs: pd.DataFrame, *, mean: str = "Lines: mean", interval: str = "bands and bars"
) -> list[str]:
    """How many seeds there are, what the band is, and which seeds diverged where.

    Args:
        runs: Those drawn.
        mean: What the mean over seeds is drawn as.
        interval: What its interval is drawn as.
    """
    many = runs.groupby(tables.GROUP)["seed"].nunique().max()
    counted = "One seed, so no interval"
    if many > 1:
        kind = "t-interval" if many < 10 else "interval (t below 10 seeds, else BCa bootstrap)"
        counted = f"{mean} of {seed_count(runs)}; {interval}: 95 % {kind} over seeds"
    diverged = runs[runs["status"] == "diverged"]
    if diverged.empty:
        return [f"{counted}. No seed diverged."]
    parts = []
    several = runs["benchmark"].nunique() > 1
    for group, rows in diverged.groupby(tables.GROUP):
        benchmark, architecture, strategy = (str(entry) for entry in group)
        where = ", ".join(str(task) for task in sorted(rows["diverged_task"].dropna().unique()))
        all_seeds = (runs[tables.GROUP] == list(group)).all(axis=1).sum()
        label = f"{wording.name(architecture)} {plots.look(strategy).label}"
        label += f" on {wording.name(benchmark)}:" if several else ""
        parts.append(f"{label} {len(rows)} of {all_seeds} (task {where})")
    listed = "; ".join(parts)
    return [f"{counted}.", f"Diverged, and left out from there on: {listed}."]


def label_of(runs: pd.DataFrame, architecture: str, strategy: str) -> str:
    """A strategy's label, with a second line that counts its diverged seeds."""
    mine = runs[(runs["architecture"] == architecture) & (runs["strategy"] == strategy)]
    diverged = int((mine["status"] == "diverged").sum())
    label = plots.look(strategy).label
    return f"{label}\n{diverged} of {len(mine)} diverged" if diverged else label


def stand_in(runs: pd.DataFrame) -> str:
    """The stand-in data sets among the runs, joined; empty where there is none."""
    return ", ".join(sorted(runs.loc[runs["stand_in"].astype(bool), "datasets"].unique()))


def strategy_lines(
    ax: Axes,
    drawn: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    architecture: str,
    x: str,
    labelled: bool = True,
    scale: float = 1.0,
    within: tuple[float, float] = (0.0, np.inf),
) -> None:
    """A line with its band per strategy, each thinner than the one below it: all can be seen.

    A strategy that was not taken at every x (evaluated before and after training only) is points
    with bars. Bands are cut at ``within``, the values that can occur.
    """
    strategies = plots.in_order(drawn["strategy"])
    widths = np.linspace(2.4, 1.0, len(strategies)) if len(strategies) > 1 else [1.4]
    for strategy, width in zip(strategies, widths, strict=True):
        rows = drawn[drawn["strategy"] == strategy].sort_values(x)
        look = plots.look(strategy)
        low, high = rows["ci_low"].clip(*within), rows["ci_high"].clip(*within)
        gaps = len(rows) == 1 or rows[x].diff().max() > 1
        ax.plot(
            rows[x],
            rows["mean"],
            color=look.colour,
            linestyle="none" if gaps else "-",
            linewidth=scale * width,
            marker=look.marker,
            markersize=scale * (2.2 + width),
            markeredgecolor="white",
            markeredgewidth=0.3,
            zorder=3,
        )
        if gaps:
            ax.vlines(rows[x], low, high, color=look.colour, lw=1)
        else:
            pale = band(len(strategies))
            ax.fill_between(rows[x], low, high, color=look.colour, alpha=pale, lw=0)
        if labelled:
            last = rows.iloc[-1]
            text = label_of(runs, architecture, strategy)
            _frame.end_label(ax, last[x], last["mean"], text, look.colour)


def band(lines: int) -> float:
    """How opaque the bands of so many lines are: those of many lie on one another."""
    return min(0.13, 0.39 / lines)


def task_axis(ax: Axes, tasks: int, *, first: int, ticks: int = 10) -> None:
    """Whole tasks on the horizontal axis, at most ``ticks`` of them marked."""
    margin = 0.03 * (tasks - first) + 0.05
    ax.set_xlim(first - margin, tasks + margin)
    steps = (base * 10**power for power in range(9) for base in (1, 2, 5))
    ax.xaxis.set_major_locator(MultipleLocator(next(s for s in steps if tasks <= s * ticks)))


def share_axis(ax: Axes, low: float, high: float = 1.02) -> None:
    """A share on the vertical axis in per cent, from the quarter below ``low`` up to ``high``."""
    ax.set_ylim(max(0.0, np.floor(4 * (low - 0.02)) / 4), high)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.yaxis.set_major_locator(MultipleLocator(0.25))


def rank_axis(ax: Axes, drawn: pd.DataFrame, *, highest: float = np.inf) -> None:
    """A vertical axis as tight as the data, but never below a fifth of its top value.

    So a small loss can be seen and does not look like a collapse. Bands wider than the lines'
    own range are cut.
    """
    low, high = drawn["mean"].min(), drawn["mean"].max()
    reach = 0.5 * max(high - low, 0.2 * high)
    high = min(max(high, min(drawn["ci_high"].max(), high + reach)) * 1.03, highest)
    low = min(low, max(drawn["ci_low"].min(), low - reach, 0.0))
    ax.set_ylim(max(0.0, min(low - 0.03 * high, 0.8 * high)), high)


def outer_labels(block: Sequence[Axes], columns: int, *, x: str = "", y: str = "") -> None:
    """Axis labels where nothing of the block lies further out: left panels, lowest panels."""
    for ax in block[::columns]:
        ax.set_ylabel(y)
    for ax in block[-columns:] if x else []:
        ax.set_xlabel(x)
        ax.tick_params(labelbottom=True)


def finish(
    figure: Figure,
    runs: pd.DataFrame,
    title: str,
    *,
    benchmark: str,
    what: str = "",
    notes: Sequence[str],
    key: Sequence[str | Line2D] = (),
) -> None:
    """Frame a figure of one benchmark ("" for several); stand-in data are marked in colour."""
    subtitle = [wording.name(benchmark), what]
    marked = stand_in(runs)
    if not marked:
        datasets = ", ".join(sorted(runs["datasets"].dropna().unique()))
        evidence = ", ".join(sorted(runs["evidence"].unique()))
        subtitle += [f"data: {datasets}" if datasets else "", f"evidence: {evidence}"]
    line = "  ·  ".join(part for part in subtitle if part)
    _frame.frame(figure, title, subtitle=line, notes=notes, stand_in=marked, key=key)
