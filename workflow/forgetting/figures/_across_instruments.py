"""The instruments of all studies over tasks, one scale for each instrument."""

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from forgetting import plots, wording
from forgetting.figures import _frame, _panels
from forgetting.figures._panels import Drawn, Tables
from forgetting.prediction import LABELS, instruments
from forgetting.rungs import without_rung

if TYPE_CHECKING:
    from forgetting.figures.across import InstrumentsOverTasks

LINE = ["study", "family", "benchmark", "architecture", "strategy"]
STYLES = ["-", "--", ":", "-."]
DASHES = {"-": "\u2014", "--": "- -", ":": "\u00b7\u00b7\u00b7", "-.": "-\u00b7"}


@_panels.drawing
def instruments_over_tasks(given: Tables, settings: "InstrumentsOverTasks") -> Drawn:
    """A row for each family, its networks told apart by the style of lines."""
    table = _panels.some(_panels.of_table(given, "instruments"), "instruments.csv has no run")
    runs = _panels.of_table(given, "runs")
    names = [name for name in instruments(table) if table[name].notna().any()]
    long = table.melt([*LINE, "seed", "task"], names, var_name="instrument")
    drawn = _panels.over_seeds(long, [*LINE, "instrument", "task"], "value")
    families = sorted(drawn["family"].unique(), key=lambda family: _place(drawn, family))
    height = 0.8 + 0.6 / len(families)  # names of instruments stand above the first row
    figure, axes = _frame.panels(
        len(families), len(names), height=height, sharex="row", sharey="col"
    )
    for row, family in zip(axes, families, strict=True):
        mine = drawn[drawn["family"] == family]
        networks = plots.in_order(mine["architecture"])
        styles = {name: STYLES[i % len(STYLES)] for i, name in enumerate(networks)}
        for ax, name in zip(row, names, strict=True):
            _lines(ax, mine[mine["instrument"] == name], styles)
            if not ax.lines and ax is not row[0]:  # which bears the row's name
                ax.set_axis_off()
        last = int(mine["task"].max())
        row[0].set_xticks([1, last] if last > 1 else [1])
        row[0].set_xlim(1 - 0.06 * last, last + 0.06 * last)
        label = [*_wrapped(family_name(family), 18)]
        label += [f"{wording.name(name)} {DASHES[styles[name]]}" for name in networks]
        row[0].set_ylabel("\n".join(label), rotation=0, ha="right", va="center", linespacing=1.15)
        row[0].yaxis.labelpad = 4
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title("\n".join(_wrapped(LABELS.get(name, name), 12)), linespacing=1.15)
        ax.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    for ax in axes.ravel():
        ax.tick_params(pad=1.5)
    axes[-1, len(names) // 2].set_xlabel("after task")
    _frame.frame(
        figure,
        "Every study's instrument on every network",
        subtitle=f"at the end of tasks, on training images of the task  \u00b7  evidence: "
        f"{', '.join(sorted(runs['evidence'].unique()))}",
        notes=[
            "A scale for each instrument, all rows alike. Rows are kinds of benchmarks with their "
            "data; a line is a benchmark with a strategy, rungs of a ladder in one colour; dots "
            "where a run is measured once or twice. No panel: not measured, or not to be.",
            *_panels.footnotes(runs, mean="Lines: mean", interval="in the CSV"),
        ],
        stand_in=_panels.stand_in(runs),
        key=plots.in_order({without_rung(name) for name in drawn["strategy"]}),
    )
    return figure, drawn


def family_name(family: str) -> str:
    """A family as a reader writes it: ``split cifar10`` Split, CIFAR-10."""
    component, _, data = family.partition(" ")
    sets = " + ".join(wording.name(each) for each in data.split("+"))
    return f"{wording.name(component)}, {sets}" if data else wording.name(component)


def _place(drawn: pd.DataFrame, family: str) -> tuple[int, str]:
    """Long sequences first."""
    return -int(drawn.loc[drawn["family"] == family, "task"].max()), family


def _lines(ax: Axes, rows: pd.DataFrame, styles: dict[str, str]) -> None:
    for key, line in rows.groupby(LINE):
        *_, architecture, strategy = (str(part) for part in key)
        look = plots.look(strategy)
        ax.plot(
            line["task"],
            line["mean"],
            color=look.colour,
            linestyle=styles[architecture],
            linewidth=0.9,
            marker=look.marker if len(line) < 3 else "none",
            markersize=2.2,
            markeredgewidth=0,
            alpha=0.85,
        )


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many letters, or of one word."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
