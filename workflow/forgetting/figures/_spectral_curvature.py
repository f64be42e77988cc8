"""The loss around a network's weights, and how good its factorised curvature is."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forgetting import plots
from forgetting.figures import _contours, _frame, _lines, _method_rows, _panels
from forgetting.figures._lines import HUES, MARKERS, Line
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import CurvatureFactors, LossLandscape

LEAST = 1e-6  # a loss of zero has no logarithm
LEVELS = 12
FACTORS = {
    "error_hessian": "error against the Hessian",
    "error_ggn": "error against Gauss-Newton",
    "effective_rank_inputs": "effective rank of A (inputs)",
    "effective_rank_gradients": "effective rank of G (gradients)",
}


@_panels.drawing
def loss_landscape(given: Tables, settings: "LossLandscape") -> Drawn:
    """A panel per strategy: contours of the loss over a plane through the weights.

    With one direction only, lines.
    """
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name, settings.strategies)
    rows = _method_rows.of_benchmark(given, "landscape", name, settings.strategies)
    rows = rows[(rows["statistic"] == "loss") & (rows["moment"] == "init")]
    rows = rows[rows["of_task"] == rows["task"]].dropna(subset=["value"])
    rows = _panels.some(rows, f"landscape.csv has no loss at the start of a task on {name}")
    task = settings.task or int(rows["task"].max())
    rows = _panels.some(rows[rows["task"] == task], f"landscape.csv has no task {task} on {name}")
    seed = int(rows["seed"].min()) if settings.seed is None else settings.seed
    drawn = _panels.some(rows[rows["seed"] == seed], f"landscape.csv has no seed {seed} on {name}")
    there = set(drawn["strategy"])
    strategies = [strategy for strategy in settings.strategies if strategy in there]
    directions = drawn[["direction_x", "direction_y"]].fillna("").iloc[0].tolist()
    if directions[1]:
        figure = _planes(drawn, strategies, directions)
    else:
        figure = _slices(drawn, strategies, directions[0])
    mine = runs[runs["strategy"].isin(strategies)]
    run = set(runs["strategy"]) - there
    without = [strategy for strategy in settings.strategies if strategy in run]
    _panels.finish(
        figure,
        mine,
        "The loss around the weights at the start of a task",
        benchmark=name,
        what=f"start of task {task}, seed {seed}",
        notes=[
            f"{'Planes are' if directions[1] else 'Lines are'} of one seed: directions belong to "
            "a network and cannot be averaged. 0 is the network itself.",
            *_method_rows.not_run(settings.strategies, set(runs["strategy"])),
            *_method_rows.naming(without, "Not measured with this seed"),
        ],
        key=[] if directions[1] else strategies,
    )
    columns = ["strategy", "seed", "task", "direction_x", "direction_y", "x", "y", "value"]
    return figure, drawn[columns].reset_index(drop=True)


def _planes(drawn: pd.DataFrame, strategies: list[str], directions: list[str]) -> Figure:
    scale = _contours.Scale.of(drawn["value"], LEVELS, least=LEAST)
    figure, axes = _frame.panels(1, len(strategies), height=2.0, sharex=True, sharey=True)
    for ax, strategy in zip(axes[0], strategies, strict=True):
        _contours.plane(ax, drawn[drawn["strategy"] == strategy], scale, line=0.35, ticks=4)
        ax.plot([0], [0], marker="+", color="white", markersize=6, markeredgewidth=1.2)
        ax.set_title(plots.look(strategy).label, loc="left", color=plots.look(strategy).colour)
        ax.set_xlabel(_axis(directions[0], 1))
    axes[0, 0].set_ylabel(_axis(directions[1], 2 if directions[0] == directions[1] else 1))
    _contours.beside(figure, axes[0], scale, "loss", aspect=16)
    return figure


def _axis(direction: str, number: int) -> str:
    """What stands along a direction; Lanczos' second vector belongs to the second eigenvalue."""
    known = {"eigenvector": f"eigenvector {number}", "random": f"random direction {number}"}
    return known.get(direction, direction)


def _slices(drawn: pd.DataFrame, strategies: list[str], direction: str) -> Figure:
    figure, axes = _frame.panels(1, 1, height=2.4)
    ax = axes[0, 0]
    for strategy in strategies:
        rows = drawn[drawn["strategy"] == strategy].sort_values("x")
        look = _lines.of_strategy(strategy, marker="").look
        ax.plot(rows["x"], rows["value"].clip(lower=LEAST), **look)
    ax.set_yscale("log")
    ax.set_xlabel(_axis(direction, 1))
    ax.set_ylabel("loss")
    return figure


@_panels.drawing
def curvature_factors(given: Tables, settings: "CurvatureFactors") -> Drawn:
    """Panels of errors and of effective ranks over tasks, a line per layer."""
    name, chosen = settings.benchmark, [settings.strategy]
    runs = _method_rows.of_benchmark(given, "runs", name, chosen)
    rows = _method_rows.of_benchmark(given, "kfac", name, chosen)
    rows = rows[(rows["moment"] == "init") & (rows["split"] == settings.split)]
    rows = rows[rows["statistic"].isin(FACTORS)]
    drawn = _panels.some_over_seeds(rows, ["statistic", "layer", "task"])
    runs = _method_rows.about(runs, rows)
    shown = [statistic for statistic in FACTORS if (drawn["statistic"] == statistic).any()]
    styles = layer_looks(list(drawn["layer"].unique()))
    figure, axes = _frame.panels(-(-len(shown) // 2), min(2, len(shown)), height=1.8)
    cells = list(axes.ravel())
    for spare in cells[len(shown) :]:
        spare.remove()
    for ax, statistic in zip(cells, shown, strict=False):
        mine = drawn[drawn["statistic"] == statistic]
        for layer, style in styles.items():
            one = mine[mine["layer"] == layer]
            if len(one):
                _lines.line(ax, one, "task", style, within=(0, np.inf))
        _panels.task_axis(ax, int(runs["tasks"].max()), first=1)
        _from_zero(ax, mine)
        ax.set_title(FACTORS[statistic], loc="left")
        ax.set_xlabel("task")
    missing = [FACTORS[each] for each in FACTORS if each not in shown]
    _panels.finish(
        figure,
        runs,
        "Kronecker-factored curvature, layer by layer",
        benchmark=name,
        what=f"{plots.look(settings.strategy).label}  ·  start of tasks, {settings.split} images",
        notes=[
            *_panels.footnotes(runs),
            "Errors: Frobenius norm of the difference over that of the dense block.",
            *([f"Not measured: {', '.join(missing)}."] if missing else []),
        ],
        key=[style.handle() for style in styles.values()],
    )
    return figure, drawn


def layer_looks(layers: list[str]) -> dict[str, Line]:
    """A look per layer: hidden layers by name, then the head, then the whole network dashed."""
    order = sorted(layers, key=lambda name: (name == _method_rows.ALL, name[:4] == "head", name))
    looks = {
        layer: Line(layer, HUES[place % len(HUES)], MARKERS[place % len(MARKERS)])
        for place, layer in enumerate(order)
    }
    if _method_rows.ALL in looks:
        whole = Line("whole network", "black", "", _lines.DASHED, 1.2)
        looks[_method_rows.ALL] = whole
    return looks


def _from_zero(ax: Axes, drawn: pd.DataFrame) -> None:
    """A vertical axis from 0 to a little above the means; wider intervals are cut."""
    high = drawn["mean"].max()
    reach = drawn["ci_high"].max()
    ax.set_ylim(0, 1.06 * (min(reach, 1.5 * high) if reach > high else high) or 1.0)
