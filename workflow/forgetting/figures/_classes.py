"""Accuracy of each class of task 1 while task 2 is learned."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.ticker import MaxNLocator

from forgetting import plots
from forgetting.figures import _frame, _lines, _panels
from forgetting.figures._lines import DASHED, HUES, MARKERS, Line

WHOLE = Line("all", plots.GREY, "", DASHED, 1.0, band=False)


def first_task_ends(rows: pd.DataFrame) -> pd.Series:
    """When task 1 ends, in epochs done, as far as each row of a learning curve tells; else NaN.

    Rows of task 2 tell it as well, since both tasks take equally many epochs.
    """
    done, within = rows["epochs_done"], rows["epoch"]
    second = (done - within).where(within > 0, done / 2)
    first = done.where(within == 0)
    return second.where(rows["task"] == 2, first.where(rows["task"] == 1))


def since_task_1(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds from the end of task 1 on; ``epoch`` counts the epochs of task 2.

    ``output`` is "all" for the accuracy on the whole task.
    """
    group = ["benchmark", "architecture", "strategy"]
    ends = first_task_ends(rows).groupby([rows[name] for name in group]).transform("max")
    rows = rows.assign(epoch=(rows["epochs_done"] - ends).round(6))
    rows["output"] = rows["output"].fillna("").replace("", WHOLE.label)
    rows = rows[rows["epoch"] >= 0].drop_duplicates([*group, "output", "seed", "epoch"])
    return _panels.over_seeds(rows, [*group, "output", "epoch"], "value")


def looks(
    outputs: Iterable[str], kinds: Mapping[str, Sequence[str]], labels: Mapping[str, str]
) -> dict[str, Line]:
    """A line per class: a hue per kind, a shade and a marker within it.

    Classes of no kind share the hue that is next.
    """
    names = sorted(set(outputs) - {WHOLE.label})
    known = {name for members in kinds.values() for name in members}
    groups = [members for _, members in sorted(kinds.items())]
    groups.append([name for name in names if name not in known])
    found = {}
    for hue, members in zip(HUES * len(groups), groups, strict=False):
        for place, member in enumerate(members):
            label = labels.get(member, member.replace("_", " "))
            red, green, blue = ((1.0 - 0.25 * (place % 3)) * part for part in to_rgb(hue))
            shade = to_hex((red, green, blue))
            found[member] = Line(label, shade, MARKERS[place % len(MARKERS)])
    return {**found, WHOLE.label: WHOLE}


def lines(ax: Axes, drawn: pd.DataFrame, styles: Mapping[str, Line]) -> None:
    """A line per class, named at its end."""
    for output, style in styles.items():
        rows = drawn[drawn["output"] == output].sort_values("epoch")
        if rows.empty:
            continue
        _lines.line(ax, rows, "epoch", style)
        last = rows.iloc[-1]
        label = textwrap.fill(style.label, 14)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        _frame.end_label(ax, last["epoch"], last["mean"], label, style.colour)
