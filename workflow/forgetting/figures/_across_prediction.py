"""What each instrument foretells: on families of benchmarks left out, and with all else fixed."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from forgetting import plots
from forgetting.figures import _frame, _panels
from forgetting.figures._panels import Drawn, Tables
from forgetting.prediction import LABELS, MEAN, TASK

if TYPE_CHECKING:
    from forgetting.figures.across import HeldOutPrediction

SHOWN = {
    "spearman": "held out: Spearman of\nforetold and actual",
    "gain": "held out: gain in R\u00b2 over\nthe task index alone",
    "partial": "partial Spearman, task,\nnetwork, benchmark fixed",
}
OUTCOME_NAMES = {"forgetting": "forgetting", "loss_of_plasticity": "loss of plasticity"}
LOWEST = -1.0
"""Of what is shown; gains have no lower bound."""


@_panels.drawing
def held_out_prediction(given: Tables, settings: "HeldOutPrediction") -> Drawn:
    """Mean over families and seeds with its interval; each family a small dot."""
    drawn = _panels.of_table(given, "prediction")
    runs = _panels.of_table(given, "runs")
    outcomes = [name for name in OUTCOME_NAMES if (drawn["outcome"] == name).any()]
    names = list(dict.fromkeys(drawn["instrument"]))
    figure, axes = _frame.panels(
        len(outcomes), len(SHOWN), height=0.7 + 0.17 * len(names), sharex=True, sharey=True
    )
    for row, outcome in zip(axes, outcomes, strict=True):
        for ax, number in zip(row, SHOWN, strict=True):
            _dots(ax, drawn[drawn["outcome"] == outcome], names, number)
        row[0].set_title(OUTCOME_NAMES[outcome], loc="left", weight="bold")
    for ax, label in zip(axes[-1], SHOWN.values(), strict=True):
        ax.set_xlabel(label, linespacing=1.2)
    axes[0, 0].set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    axes[0, 0].set_xlim(LOWEST - 0.08, 1.08)
    _frame.frame(
        figure,
        "What each instrument foretells",
        subtitle=f"benchmarks of one kind and data left out in turn  \u00b7  evidence: "
        f"{', '.join(sorted(runs['evidence'].unique()))}",
        notes=[
            "Large dots: mean over the families left out and over seeds, filled where the interval "
            "leaves out 0; bars: 95 % interval over seeds. Small dots: one family, mean over "
            f"seeds. What lies below {LOWEST:g} is drawn there, with an open arrow. No dot: not "
            "to be said, see the reason in the CSV. The task index alone is held against the mean.",
        ],
        stand_in=_panels.stand_in(runs),
        key=[
            Line2D([], [], color="black", marker="o", lw=1.4, label="mean"),
            Line2D([], [], color=plots.GREY, marker="o", ms=2.5, lw=0, label="one family"),
        ],
    )
    return figure, drawn


def _dots(ax: Axes, rows: pd.DataFrame, names: list[str], number: str) -> None:
    if rows[number].isna().all():
        reasons = rows.loc[rows["reason"].fillna("") != "", "reason"]
        reason = "too few points of a seed, or all that is foretold of one alike"
        if len(reasons) and (rows["seeds"] == 0).all():
            reason = reasons.mode().iloc[0]
        where: dict[str, Any] = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.5, textwrap.fill(reason, 30), color=plots.GREY, **where)
        ax.grid(visible=False)
        return
    ax.axvline(0, color=plots.GREY, lw=0.8)
    for place, name in enumerate(names):
        mine = rows[rows["instrument"] == name]
        families = mine.loc[mine["held_out"] != MEAN, number].dropna().clip(LOWEST, 1)
        ax.plot(families, np.full(len(families), place + 0.25), "o", color=plots.GREY, ms=2, mew=0)
        for _, mean in mine[mine["held_out"] == MEAN].dropna(subset=[number]).iterrows():
            value, low, high = (mean[f"{number}{end}"] for end in ("", "_low", "_high"))
            colour = plots.GREY if name == TASK else "black"
            if np.isfinite(low) and high > LOWEST:
                ax.hlines(place, max(low, LOWEST), min(high, 1.08), color=colour, lw=1.4)
            sure = bool(low > 0 or high < 0)
            ax.plot(
                [max(value, LOWEST)],
                [place],
                marker="<" if value < LOWEST else "o",
                color=colour,
                markerfacecolor=colour if sure and value >= LOWEST else "white",
                ms=4,
                zorder=3,
            )
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
