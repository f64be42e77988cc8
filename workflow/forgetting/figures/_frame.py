"""Panels, labels at the ends of lines, and the frame of words around a figure.

What a reader must know stands on the figure: on which data, under which metric, how many seeds,
what the interval is, which seeds diverged, and that data are stand-ins.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text

from forgetting.plots import DOUBLE, GREY, SMALL, STAND_IN, TEXT, look

END_LABEL = "end-label"
KEY_GAP, KEY_HANDLE = 1.4, 1.6  # between columns and of a line, in the size of the text


def panels(
    rows: int, columns: int, *, width: float = DOUBLE, height: float = 1.6, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of ``rows`` x ``columns`` panels, each ``height`` inches high; see `frame`."""
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.04, h_pad=0.04, wspace=0.03, hspace=0.03)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def blocks(
    counts: Sequence[int], columns: int, *, height: float, **shared: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Panels in blocks that each begin a new row; block i has ``counts[i]`` panels."""
    rows = [-(-count // columns) for count in counts]
    figure, axes = panels(sum(rows), columns, height=height, **shared)
    found, start = [], 0
    for count, height_in_rows in zip(counts, rows, strict=True):
        cells = list(axes[start : start + height_in_rows].ravel())
        for spare in cells[count:]:
            spare.remove()
        found.append(cells[:count])
        start += height_in_rows
    return figure, found


def message(text: str) -> Figure:
    """A figure that says why there is nothing on it."""
    figure = Figure(figsize=(DOUBLE, 0.6))
    FigureCanvasAgg(figure)
    figure.text(0.05 / DOUBLE, 0.5, text, fontsize=TEXT, color=GREY, va="center")
    return figure


def end_label(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Name a line at its right end; `frame` moves the labels of one panel apart."""
    label = ax.annotate(
        text,
        (x, y),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=TEXT,
        linespacing=1.05,
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.5,
            "shrinkA": 0,
            "shrinkB": 1,
            "relpos": (0, 0.5),
        },
    )
    label.set_gid(END_LABEL)


def frame(
    figure: Figure,
    title: str,
    *,
    subtitle: str = "",
    notes: Sequence[str] = (),
    stand_in: str = "",
    key: Sequence[str | Line2D] = (),
) -> Figure:
    """Add the header and the footer, growing the figure by their height, and settle labels.

    Args:
        figure: From `panels`.
        title: What the figure shows.
        subtitle: On which data and under which metric.
        notes: Sentences below the panels: seeds, intervals, divergence.
        stand_in: Names of the stand-in data sets; marked in colour.
        key: Strategies, or lines with a label, named once for all panels, where lines cannot be
            labelled.
    """
    width, height = figure.get_size_inches()
    above = [(title, 9.0, "black", "bold"), (subtitle, TEXT, GREY, "normal")]
    above += [(f"Stand-in data: {stand_in}", TEXT, STAND_IN, "bold")] if stand_in else []
    above = [line for line in above if line[0]]
    wrapped = _wrapped(figure, " ".join(notes), width - 0.1)
    handles = [_handle(entry) for entry in key]
    columns = _key_columns(figure, handles, width - 0.1)
    rows = -(-len(handles) // columns)
    top = sum(1.45 * size / 72 for _, size, _, _ in above) + 0.08
    top += 0.24 + 0.16 * (rows - 1) if key else 0.0
    bottom = 1.35 * SMALL / 72 * len(wrapped) + (0.08 if wrapped else 0.0)
    total = height + top + bottom
    figure.set_size_inches(width, total)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, bottom / total, 1, height / total))
    left, y = 0.05 / width, 1 - 0.05 / total
    for text, size, colour, weight in above:
        figure.text(left, y, text, fontsize=size, color=colour, weight=weight, va="top")
        y -= 1.45 * size / 72 / total
    for number, line in enumerate(wrapped, start=1):
        baseline = (0.05 + 1.35 * SMALL / 72 * (len(wrapped) - number)) / total
        figure.text(left, baseline, line, fontsize=SMALL, color=GREY)
    if key:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(left, y),
            ncols=columns,
            borderaxespad=0,
            borderpad=0,
            columnspacing=KEY_GAP,
            handlelength=KEY_HANDLE,
        ).set_in_layout(False)
    figure.draw_without_rendering()
    for ax in figure.axes:
        _spread_end_labels(ax)
    return figure


def _handle(entry: str | Line2D) -> Line2D:
    if isinstance(entry, Line2D):
        return entry
    style = look(entry)
    return Line2D([], [], color=style.colour, marker=style.marker, label=style.label)


def _key_columns(figure: Figure, handles: Sequence[Line2D], width: float) -> int:
    """As many columns as the width has room for; a column is as wide as its longest label."""
    renderer, font = FigureCanvasAgg(figure).get_renderer(), FontProperties(size=TEXT)
    beside = (KEY_HANDLE + 0.8 + KEY_GAP) * TEXT / 72  # 0.8: from a line to its label
    needed = []
    for handle in handles:
        label = str(handle.get_label())
        pixels = renderer.get_text_width_height_descent(label, font, ismath=False)[0]
        needed.append(pixels / figure.dpi + beside)
    for columns in range(len(needed), 1, -1):
        rows = -(-len(needed) // columns)
        if sum(max(needed[i : i + rows]) for i in range(0, len(needed), rows)) <= width:
            return -(-len(needed) // rows)
    return 1


def _wrapped(figure: Figure, text: str, width: float) -> list[str]:
    """The text in lines of at most ``width`` inches, in the size of footnotes."""
    renderer, font = FigureCanvasAgg(figure).get_renderer(), FontProperties(size=SMALL)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        pixels = renderer.get_text_width_height_descent(longer, font, ismath=False)[0]
        if lines and pixels <= width * figure.dpi:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _spread_end_labels(ax: Axes) -> None:
    """Move the end labels of a panel apart, each as little as possible, and inside the panel."""
    labels = [t for t in ax.texts if isinstance(t, Annotation) and t.get_gid() == END_LABEL]
    figure = ax.get_figure(root=True)
    if not labels or figure is None:
        return
    renderer = FigureCanvasAgg(figure).get_renderer()
    wanted = np.array([ax.transData.transform(label.xy)[1] for label in labels])
    order = np.argsort(wanted, kind="stable")
    heights = np.array([Text.get_window_extent(t, renderer).height for t in labels])[order]
    # With gaps taken out, keeping the order is monotone least squares: pool adjacent violators.
    offsets = np.concatenate([[0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    blocks: list[list[float]] = []
    for value in wanted[order] - offsets:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    pooled = np.repeat([b[0] for b in blocks], [int(b[1]) for b in blocks])
    box = ax.get_window_extent(renderer)
    lowest, highest = box.y0 + heights[0] / 2, box.y1 - heights[-1] / 2 - offsets[-1]
    placed = np.clip(pooled, lowest, max(lowest, highest)) + offsets
    for index, y in zip(order, placed, strict=True):
        labels[index].xyann = (6, (y - wanted[index]) * 72 / figure.dpi)
