"""Points of a study's runs, and the correlations within seeds that the study's claims judge."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from forgetting import plots, statistics
from forgetting.evidence import correlation
from forgetting.figures._lines import HUES, MARKERS, Line


def points(ax: Axes, points: pd.DataFrame) -> None:
    """A point per row, in the look of its strategy."""
    for strategy in plots.in_order(points["strategy"]):
        look, at = plots.look(strategy), points[points["strategy"] == strategy]
        style: dict[str, Any] = {
            "marker": look.marker,
            "color": look.colour,
            "alpha": 0.75,
            "linewidths": 0,
        }
        ax.scatter(at["rank_lost"], at["forgetting"], s=13, **style)
    for axis, sign in ((ax.xaxis, "%"), (ax.yaxis, "")):
        axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=None, symbol=sign))
        axis.set_major_locator(mpl.ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))


def correlations(rows: pd.DataFrame, matrices: Sequence[str]) -> pd.DataFrame:
    """Pearson, Spearman and partial correlations for every matrix and architecture.

    Computed by the evidence that the study's claims use, so figure and scorecard agree.
    Architecture "" stands for the mean over them of the partial one.
    """
    kinds: dict[str, dict[str, Any]] = {
        "pearson": {},
        "spearman": {"method": "spearman"},
        "pearson_given_task": {"hold": ["task"]},
    }
    every = {"pearson_given_task": {"hold": ["task"], "within": ["architecture"]}}
    found = []
    for matrix in [matrix for matrix in matrices if (rows["matrix"] == matrix).any()]:
        for architecture in ["", *plots.in_order(rows["architecture"])]:
            where = {"matrix": matrix} | ({"architecture": architecture} if architecture else {})
            for label, chosen in (kinds if architecture else every).items():
                asked = correlation.Settings.model_validate(
                    {"table": "points", "x": "rank_lost", "y": "forgetting", "where": where}
                    | chosen
                )
                per_seed = correlation.per_seed({"points": rows}, asked)
                limits = statistics.correlation_interval(per_seed.to_numpy())
                found.append([matrix, architecture, label, *limits, per_seed.notna().sum()])
    columns = ["matrix", "architecture", "correlation", "mean", "ci_low", "ci_high", "n_seeds"]
    return pd.DataFrame(found, columns=columns)


def in_words(found: pd.DataFrame) -> str:
    """The correlations of one panel in two lines."""
    value = {row.correlation: number(row) for row in found.itertuples()}
    return (
        f"Pearson {value['pearson']}, Spearman {value['spearman']}\n"
        f"Pearson given task {value['pearson_given_task']}"
    )


def number(row: Any) -> str:
    """A correlation with its interval, as it stands in a sentence."""
    mean, low, high = row.mean, row.ci_low, row.ci_high
    if np.isnan(mean):
        return "undefined"
    limits = "one seed" if np.isnan(low) else f"{low:.2f}, {high:.2f}"
    return f"{mean:.2f} [{limits}]".replace("-", "\N{MINUS SIGN}")


def setup_looks(setups: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Line]:
    """A look per set-up and second task: a colour per second task, filled for a, open for b."""
    seconds = list(dict.fromkeys(second for _, second in setups))
    return {
        (setup, second): Line(
            f"set-up {setup}, task 2: {second}",
            HUES[seconds.index(second) % len(HUES)],
            MARKERS[seconds.index(second) % len(MARKERS)],
            style="none",
            width=2.4,
            filled=setup == "a",
        )
        for setup, second in dict.fromkeys(setups)
    }


def crosses(ax: Axes, drawn: pd.DataFrame, looks: Mapping[tuple[str, str], Line]) -> None:
    """A point per benchmark at its means, with both intervals.

    Args:
        ax: The panel.
        drawn: ``setup``, ``second``, and ``mean``, ``ci_low``, ``ci_high`` of ``_overlap`` and of
            ``_lost`` (as a share).
        looks: From `setup_looks`.
    """
    for _, row in drawn.iterrows():
        style = looks[row["setup"], row["second"]]
        x, y = row["mean_overlap"], row["mean_lost"]
        ax.hlines(y, row["ci_low_overlap"], row["ci_high_overlap"], color=style.colour, lw=0.8)
        ax.vlines(x, row["ci_low_lost"], row["ci_high_lost"], color=style.colour, lw=0.8)
        ax.plot([x], [y], zorder=3, **style.look)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0, symbol=""))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(mpl.ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
