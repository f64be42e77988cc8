"""Spectra of the Hessian as histograms: the share of eigenvalues by their value.

Ritz values with their weights go into bins that are even on the axis drawn: linear up to a
magnitude, from there on a quarter of a decade each. Nothing is smoothed, so that what lies near
zero is not spread beyond it (see ``forgetting.spectra``).
"""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots, tables
from forgetting.figures import _frame, _ladders, _method_rows, _panels
from forgetting.figures._lines import Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import Spectra

PER_DECADE = 4
LINEAR_DECADES = 0.6  # length of either linear half of the axis
TICK_ROOM = 0.32  # inches from one number to the next
EXACT = Line("all eigenvalues", "black", "", "-", 0.7)
ROOM = 7.2  # inches that all rows of panels may take


@_panels.drawing
def spectra(given: Tables, settings: "Spectra") -> Drawn:
    """A row per strategy, a column per task: where the Hessian's eigenvalues are."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name, settings.strategies or None)
    found = _method_rows.of_benchmark(given, "spectra", name, settings.strategies or None)
    found = found[(found["moment"] == "init") & (found["split"] == settings.split)]
    on = f"at the start of a task on {settings.split} images"
    found = _panels.some(found, f"spectra.csv has no {name} {on}")
    tasks = settings.tasks or _method_rows.spread_out(found["task"], 4)
    listed = ", ".join(map(str, tasks))
    found = _panels.some(
        found[found["task"].isin(tasks)], f"spectra.csv has no {name} of task {listed}"
    )
    nodes = _panels.some(weighted(found), _panels.NONE_LEFT)
    edges = bins(nodes["node"], linear=settings.linear)
    drawn = histograms(nodes, edges)
    strategies = plots.in_order(drawn["strategy"])
    height = float(np.clip(ROOM / len(strategies), 0.55, 1.2))
    figure, axes = _frame.panels(
        len(strategies), len(tasks), height=height, sharex=True, sharey=True
    )
    least = 0.5 * drawn.loc[drawn["share"] > 0, "share"].min()
    for row, strategy in zip(axes, strategies, strict=True):
        look = plots.look(strategy)
        row[0].set_ylabel(textwrap.fill(look.label, 11), color=look.colour)
        for ax, task in zip(row, tasks, strict=True):
            here = (drawn["strategy"] == strategy) & (drawn["task"] == task)
            _histogram(ax, drawn[here], edges, least=least, colour=look.colour)
            ends = extremes(nodes[(nodes["strategy"] == strategy) & (nodes["task"] == task)])
            ax.text(
                0.98,
                0.95,
                ends or "no seed left",
                transform=ax.transAxes,
                ha="right",
                va="top",
                fontsize=plots.SMALL,
                color=plots.GREY,
            )
    for ax, task in zip(axes[0], tasks, strict=True):
        ax.set_title(f"start of task {task}", loc="left")
    for ax in axes[-1]:
        value_axis(ax, edges, linear=settings.linear, width=plots.DOUBLE / len(tasks) - 0.35)
        ax.set_xlabel("eigenvalue")
    counts = nodes[nodes["probe"] >= 0].groupby([*tables.ID, "task"])["probe"].nunique()
    starts = f" and {counts.max()} start vectors" if len(counts) and counts.max() > 1 else ""
    exact = (drawn["kind"] == "exact").any()
    unmeasured = _method_rows.naming(_method_rows.unmeasured(runs, nodes), "Not measured")
    runs = _method_rows.about(runs, nodes)
    _panels.finish(
        figure,
        runs,
        "Spectrum of the Hessian at the start of tasks",
        benchmark=name,
        what=f"share of eigenvalues in each bin, {settings.split} images",
        notes=[
            f"Filled: mean of {_panels.seed_count(runs)}{starts}. In each panel: smallest and "
            "largest eigenvalue, mean over seeds. Across: linear within "
            f"±{settings.linear:g}, logarithmic beyond. Upwards: shares, logarithmic.",
            *_panels.footnotes(runs)[1:],
            *unmeasured,
            *_method_rows.not_run(settings.strategies, set(runs["strategy"])),
        ],
        key=[EXACT.handle()] if exact else [],
    )
    return figure, drawn


def weighted(rows: pd.DataFrame) -> pd.DataFrame:
    """Nodes with their weights, of sum 1 over each spectrum.

    Returns:
        The run, task, probe (-1: of every eigenvalue), node, weight. Of several numbers of steps
        the largest counts.
    """
    keys = [*tables.ID, "task", "probe"]
    ritz = rows[rows["statistic"].isin(["ritz_value", "ritz_weight"])]
    ritz = ritz[ritz["steps"] == ritz.groupby([*tables.ID, "task"])["steps"].transform("max")]
    pairs = ritz.pivot(index=[*keys, "index"], columns="statistic", values="value").reset_index()
    pairs = pairs.reindex(columns=[*keys, "index", "ritz_value", "ritz_weight"])
    pairs = pairs.rename(columns={"ritz_value": "node", "ritz_weight": "weight"})
    exact = rows[rows["statistic"] == "eigenvalue"].drop_duplicates([*keys, "index"])
    exact = exact.rename(columns={"value": "node"})
    exact = exact.assign(weight=1.0 / exact["dim"], probe=-1)
    columns = [*keys, "node", "weight"]
    parts = [part[columns] for part in (pairs, exact) if len(part)]
    return pd.concat(parts, ignore_index=True).dropna(subset=["node", "weight"]) if parts else pairs


def bins(nodes: pd.Series, *, linear: float) -> np.ndarray:
    """Edges of bins around all nodes: five up to ``linear``, then `PER_DECADE` to a decade."""
    outer = {}
    for sign, reach in ((-1, -nodes.min()), (1, nodes.max())):
        decades = np.log10(max(float(reach), linear) / linear)
        count = int(np.ceil(PER_DECADE * decades + 1e-6)) or 1
        outer[sign] = linear * 10 ** (np.arange(1, count + 1) / PER_DECADE)
    inner = linear * np.linspace(-1, 1, 6)
    return np.concatenate([-outer[-1][::-1], inner, outer[1]])


def histograms(nodes: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    """Share of eigenvalues by bin, mean over start vectors, then over seeds.

    Returns:
        strategy, task, kind (``quadrature``, ``exact``), low, high, share, n_seeds.
    """
    kind = np.where(nodes["probe"] < 0, "exact", "quadrature")
    rows = []
    for group, cells in nodes.assign(kind=kind).groupby(["strategy", "task", "kind"]):
        by_seed = []
        for _, seed in cells.groupby("seed"):
            counted, _ = np.histogram(seed["node"], bins=edges, weights=seed["weight"])
            by_seed.append(counted / seed["probe"].nunique())
        shares = np.mean(by_seed, axis=0)
        for low, high, share in zip(edges, edges[1:], shares, strict=False):
            rows.append([*group, low, high, share, len(by_seed)])
    columns = ["strategy", "task", "kind", "low", "high", "share", "n_seeds"]
    return pd.DataFrame(rows, columns=columns)


def extremes(nodes: pd.DataFrame) -> str:
    """Smallest and largest node of a panel, means over seeds, in words."""
    if nodes.empty:
        return ""
    by_seed = nodes.groupby("seed")["node"]
    ends = (by_seed.min().mean(), by_seed.max().mean())
    return " … ".join(f"{end:.2g}" if abs(end) < 1000 else f"{end:,.0f}" for end in ends).replace(
        "-", "\N{MINUS SIGN}"
    )


def _histogram(
    ax: Axes, drawn: pd.DataFrame, edges: np.ndarray, *, least: float, colour: str
) -> None:
    ax.set_yscale("log")
    ax.set_ylim(least, 3.0)
    ax.set_yticks(decades(least))
    ax.minorticks_off()
    for kind, rows in drawn.groupby("kind"):
        shares = rows.sort_values("low")["share"].to_numpy()
        if kind == "exact":
            ax.stairs(shares, edges, baseline=least, color=EXACT.colour, lw=EXACT.width)
        else:
            ax.stairs(shares, edges, baseline=least, color=colour, fill=True, alpha=0.75, lw=0)


def decades(least: float) -> np.ndarray:
    """At most four powers of ten from 1 down to the smallest share."""
    lowest = int(np.ceil(np.log10(least)))
    step = max(1, -(lowest // 3))
    return 10.0 ** np.arange(0, lowest - 1, -step)


def value_axis(ax: Axes, edges: np.ndarray, *, linear: float, width: float) -> None:
    """Eigenvalues on an axis of ``width`` inches, linear around zero and logarithmic beyond."""
    ax.set_xscale("symlog", linthresh=linear, linscale=0.9 * LINEAR_DECADES)
    ax.set_xlim(edges[0], edges[-1])
    left, right = (_place(edge, linear) for edge in (edges[0], edges[-1]))
    apart = TICK_ROOM * (right - left) / width
    ticks = [0.0]
    for sign, end in ((1, edges[-1]), (-1, edges[0])):
        reach = np.floor(np.log10(abs(end)) + 1e-9)
        for exponent in np.arange(reach, np.log10(linear) - 1e-9, -1):
            tick = sign * 10.0**exponent
            place = _place(tick, linear)
            if all(abs(place - _place(other, linear)) >= apart for other in ticks):
                ticks.append(tick)
    ax.set_xticks(sorted(ticks), [_power(tick) for tick in sorted(ticks)])
    ax.minorticks_off()


def _place(value: float, linear: float) -> float:
    """Where a value lies on the axis, in decades from zero."""
    size = abs(value)
    beyond = LINEAR_DECADES + np.log10(max(size, linear) / linear)
    return float(np.sign(value) * (beyond if size > linear else LINEAR_DECADES * size / linear))


def _power(value: float) -> str:
    if value == 0:
        return "0"
    exponent = str(round(np.log10(abs(value)))).translate(_ladders.SUPERSCRIPTS)
    return ("\N{MINUS SIGN}" if value < 0 else "") + f"10{exponent}"
