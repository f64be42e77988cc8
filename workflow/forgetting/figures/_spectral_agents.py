"""The return of agents over the steps of their environment, beside what the paper shows.

``spectral_ant_curves.csv`` was digitised from the vector figure that the authors publish with the
paper (Prakash et al. 2025, arXiv 2509.22335; CC BY 4.0), and thinned to at most 130 points a curve:
strategy, step and return, under the names that the study gives methods. Their ant is Brax's, whose
rewards are on another scale, so it has a panel of its own: only orders compare.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from forgetting import plots, tables
from forgetting.figures import _frame, _lines, _method_rows, _panels, _spectral_tasks
from forgetting.figures._lines import DOTTED
from forgetting.figures._panels import Drawn, Tables

if TYPE_CHECKING:
    from forgetting.figures.spectral import ReturnOverSteps

CURVES = Path(__file__).with_name("spectral_ant_curves.csv")
CHANGES = (2_000_000, 4_000_000, 6_000_000, 8_000_000)  # of the paper's friction
STATED = {"adam": "BP", "replace_most_useful_l2": "CBP"}
"""What the paper calls them."""


@_panels.drawing
def return_over_steps(given: Tables, settings: "ReturnOverSteps") -> Drawn:
    """A line per strategy: mean return of the episodes that end in a stretch of steps."""
    name = settings.benchmark
    runs = _method_rows.of_benchmark(given, "runs", name)
    history = _method_rows.of_benchmark(given, "history", name)
    found = history[history["statistic"] == "return"]
    rows = _panels.some(found, f"history.csv has no return on {name}: no episode has ended")
    # The same stretches for all runs, none across a change.
    ends = history.groupby("task")["step"].max()
    starts = ends.shift(fill_value=0)
    start, end = (rows["task"].map(edge) for edge in (starts, ends))
    share = (rows["step"] - start) / (end - start)
    place = np.ceil(share * settings.stretches).clip(1, settings.stretches) - 0.5
    rows = rows.assign(step=start + place / settings.stretches * (end - start))
    rows = rows.groupby([*tables.ID, "step"])["value"].mean().reset_index()
    drawn = _panels.some_over_seeds(rows, ["strategy", "step"]).assign(source="ours")
    runs = _method_rows.about(runs, rows)
    paper = _paper(drawn["strategy"]) if settings.published else pd.DataFrame()
    figure, axes = _frame.panels(1, 2 if len(paper) else 1, height=2.9)
    _lines_of(axes[0, 0], drawn, runs, ends.tolist()[:-1])
    axes[0, 0].set_ylabel("return of an episode")
    if len(paper):
        _lines_of(axes[0, 1], paper, runs, CHANGES)
        axes[0, 0].set_title("here (MuJoCo)", loc="left", weight="bold")
        axes[0, 1].set_title("as published (Brax, another scale)", loc="left", weight="bold")
    _panels.finish(
        figure,
        runs,
        "Return while the friction changes" if len(ends) > 1 else "Return over training",
        benchmark=name,
        what="an agent trained in one environment",
        notes=[
            *_panels.footnotes(runs),
            "Dotted: the friction changes." if len(ends) > 1 else "",
            _said(paper),
            _spectral_tasks.SPARSE,
        ],
    )
    return figure, pd.concat([drawn, paper], ignore_index=True)


def _said(paper: pd.DataFrame) -> str:
    """A note on the strategies that have other names in the paper; empty without any."""
    shown = set(paper["strategy"]) if len(paper) else set()
    named = [f"{plots.look(s).label} is the paper's {n}" for s, n in STATED.items() if s in shown]
    return f"{', '.join(named)}." if named else ""


def _lines_of(ax: Axes, drawn: pd.DataFrame, runs: pd.DataFrame, changes: Sequence[float]) -> None:
    for change in changes:
        ax.axvline(change, color=plots.GREY, ls=DOTTED, lw=1, zorder=1)
    strategies = plots.in_order(drawn["strategy"])
    for strategy in strategies:
        rows = drawn[drawn["strategy"] == strategy].sort_values("step")
        ours = (rows["source"] == "ours").all()
        label = _method_rows.label(runs, strategy) if ours else plots.look(strategy).label
        style = _lines.of_strategy(strategy, marker="", width=1.2)
        among = len(strategies)
        _lines.line(ax, rows, "step", style, within=(-np.inf, np.inf), among=among)
        _frame.end_label(ax, drawn["step"].max(), rows["mean"].iloc[-1], label, style.colour)
    _spectral_tasks.tight_axis(ax, drawn)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_xlim(0, drawn["step"].max())
    ax.set_xlabel("steps of the environment")


def _paper(strategies: pd.Series) -> pd.DataFrame:
    """The paper's curves of the strategies, without intervals."""
    known = tables.read(CURVES)
    known = known[known["strategy"].isin(strategies)].rename(columns={"return": "mean"})
    return known.assign(ci_low=known["mean"], ci_high=known["mean"], n_seeds=5, source="paper")
