"""Rungs of ladders in figures: the number in an entry's name, and colours along a strength."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea, VPacker

from forgetting import plots
from forgetting.errors import UserError
from forgetting.figures import _lines
from forgetting.rungs import without_rung

T = TypeVar("T")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Method:
    """A strategy of a figure, with the rungs of its ladder."""

    shown: str
    """Entry that stands for it where one strength is drawn."""
    rungs: tuple[str, ...]
    """Its entries by rising strength; none for a strategy without a strength."""

    def among(self, entries: Collection[str]) -> bool:
        """Whether one of its entries is there."""
        return not {self.shown, *self.rungs}.isdisjoint(entries)

    @property
    def base(self) -> str:
        """The strategy's name without its rung."""
        return without_rung(self.shown)


def rung(entry: str) -> float:
    """The number that an entry's name ends in: ``freeze~2`` 2, ``dilution~0.1`` 0.1.

    Raises:
        UserError: The name has no number after ``~``.
    """
    try:
        return float(entry.partition("~")[2])
    except ValueError:
        raise UserError(
            f"{entry}: a figure places this entry by the number after ~ in its name, as in "
            f"{without_rung(entry)}~0.1; give the study's entry a ladder over numbers"
        ) from None


def rungs(entries: Iterable[str], ladder: str) -> tuple[str, ...]:
    """The entries that are rungs of a ladder, by rising number."""
    return tuple(sorted({e for e in entries if "~" in e and without_rung(e) == ladder}, key=rung))


def middle(values: Sequence[T]) -> T:
    """The middle one; of an even number the upper of the two."""
    return values[len(values) // 2]


def methods(entries: Iterable[str], wanted: Sequence[str]) -> list[Method]:
    """The wanted strategies that were run, in the order wanted.

    ``ewc~100`` is shown at that strength, ``ewc`` at the middle one of its ladder.
    """
    there = set(entries)
    found = []
    for name in wanted:
        ladder = rungs(there, without_rung(name))
        if name in there:
            found.append(Method(name, ladder))
        elif ladder and "~" not in name:
            found.append(Method(middle(ladder), ladder))
    return found


def entries(methods: Iterable[Method]) -> list[str]:
    """Every entry that the methods are drawn with."""
    return list(dict.fromkeys(entry for m in methods for entry in (m.shown, *m.rungs)))


def not_run(wanted: Sequence[str], methods: Iterable[Method]) -> list[str]:
    """A note that names the strategies that were wanted and are not drawn."""
    there = {name for method in methods for name in (method.shown, method.base)}
    return _lines.not_run(wanted, there)


def note(methods: Iterable[Method]) -> str:
    """What the lines of `strength_panels` are."""
    plain = _plain(methods)
    dashed = f"; dashed: {plots.look(plain).label}" if plain else ""
    return f"Strengths: lines in the colours of the numbers above them{dashed}."


def _plain(methods: Iterable[Method]) -> str | None:
    return next((method.shown for method in methods if not method.rungs), None)


def number(value: float) -> str:
    """A number as short as it can be written; powers of ten beyond 1,000 as such."""
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    if mantissa == "1" and not 1e-3 <= value <= 1e3 and float(f"1e{exponent}") == value:
        return "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def colours(count: int) -> list[str]:
    """Colours along a strength, from light for the weakest to dark for the strongest."""
    shades = mpl.colormaps["viridis_r"]
    steps = [1.0] if count == 1 else [0.28 + 0.72 * i / (count - 1) for i in range(count)]
    return [to_hex(shades(step)) for step in steps]


def strengths_above(ax: Axes, title: str, entries: Sequence[str], *, width: float) -> None:
    """The title of a panel and below it its strengths, each in its line's colour.

    Args:
        ax: The panel; it gets no other title.
        title: What the strengths are of.
        entries: Rungs, weakest first.
        width: Inches that a line of strengths may take.
    """
    room = plots.SMALL * 0.62 / 72  # inches that a character takes at most
    lines: list[list[Any]] = [[]]
    used = 0.0
    for entry, colour in zip(entries, colours(len(entries)), strict=True):
        text = number(rung(entry))
        needed = (len(text) + 1) * room
        if lines[-1] and used + needed > width:
            lines.append([])
            used = 0.0
        used += needed
        style = {"size": plots.SMALL, "color": colour, "weight": "bold"}
        lines[-1].append(TextArea(text, textprops=style))
    heading = TextArea(title, textprops={"size": plots.TEXT})
    packed = [HPacker(children=line, pad=0, sep=4, align="baseline") for line in lines if line]
    box = AnchoredOffsetbox(
        "lower left",
        child=VPacker(children=[heading, *packed], pad=0, sep=2, align="left"),
        bbox_to_anchor=(0.0, 1.02),
        bbox_transform=ax.transAxes,
        frameon=False,
        pad=0,
        borderpad=0,
    )
    box.set_clip_on(False)
    ax.add_artist(box)


def strength_panels(
    row: Sequence[Axes], drawn: pd.DataFrame, methods: Sequence[Method], *, y: str
) -> None:
    """A panel per method: a line over the stages for each strength, dashed without a strategy.

    Args:
        row: A panel per method, or per method with strengths; the others stay empty.
        drawn: Means over seeds by ``strategy`` and ``depth``, of one architecture.
        methods: In the order of the panels; the first without strengths is the dashed line.
        y: Label of the leftmost panel.
    """
    plain = _plain(methods)
    laddered = [method for method in methods if method.rungs]
    width = plots.DOUBLE / len(row) - 0.45
    placed = methods if len(row) == len(methods) else laddered
    for ax, method in zip(row, placed, strict=True):
        if not method.rungs:
            ax.set_axis_off()
            continue
        count = len(method.rungs)
        styles = zip(method.rungs, colours(count), np.linspace(0.9, 1.7, count), strict=True)
        if plain is not None:
            look = _lines.of_strategy(plain, style=_lines.DASHED, width=1.0, marker="")
            rows = drawn[drawn["strategy"] == plain]
            _lines.stage_line(ax, rows, drawn, look, within=(-1, 1))
        for entry, colour, thickness in styles:
            look = _lines.Line(entry, colour, "o", width=float(thickness))
            rows = drawn[drawn["strategy"] == entry]
            _lines.stage_line(ax, rows, drawn, look, within=(-1, 1))
        _lines.stage_axis(ax, drawn)
        _lines.unit_axis(ax, drawn["mean"].min())
        strengths_above(ax, plots.look(method.base).label, method.rungs, width=width)
    if placed[0].rungs:
        row[0].set_ylabel(y)
    else:  # an empty panel has the room for it
        row[0].text(0.5, 0.5, y, transform=row[0].transAxes, ha="center", va="center")
        row[1].tick_params(labelleft=True)
