"""What tests of figures look at: the words on a figure, and whether one can read them."""

import itertools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from forgetting import components, plots

Tables = dict[str, pd.DataFrame]
Picture = tuple[Figure, pd.DataFrame]
Settings = Mapping[str, object]


def drawing(module: ModuleType, figures: Mapping[str, Settings]) -> Callable[..., Picture]:
    """Return the function that draws a study's figure with its settings, some of them changed."""
    classes = components.figures(module.__name__.rpartition(".")[2])

    def draw(component: str, given: Tables, **changed: object) -> Picture:
        settings = classes[component].model_validate({**figures[component], **changed})
        return getattr(module, component)(given, settings)

    return draw


def texts(figure: Figure) -> list[Text]:
    found = []
    for artist in figure.findobj(Text):
        if artist.get_visible() and artist.get_text().strip():
            found.append(artist)
    return found


def undrawn(figure: Figure) -> set[Text]:
    """Labels of ticks beyond an axis' limits or of axes that are off: kept, but not drawn."""
    found = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low - 1e-9 <= tick.get_loc() <= high + 1e-9 or not axis.axes.axison:
                found |= {tick.label1, tick.label2}
    return found


def apart(one: Text, other: Text, dpi: float) -> bool:
    """Whether two texts along one oblique direction have a line's height between them."""
    if one.get_rotation() != other.get_rotation() or one.get_rotation() % 90 == 0:
        return False
    between = np.subtract(
        *(text.get_transform().transform(text.get_unitless_position()) for text in (one, other))
    )
    angle = np.radians(one.get_rotation())
    across = abs(between @ [-np.sin(angle), np.cos(angle)])
    return bool(across >= max(one.get_fontsize(), other.get_fontsize()) * dpi / 72)


def check_layout(figure: Figure) -> None:
    """Every text lies inside the figure, is large enough, and covers no other text."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    inside, boxes, beyond = figure.bbox, [], undrawn(figure)
    for text in texts(figure):
        if text in beyond:
            continue
        box = Text.get_window_extent(text, renderer)
        assert text.get_fontsize() >= plots.SMALL
        assert inside.x0 <= box.x0, text.get_text()
        assert box.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= box.y0, text.get_text()
        assert box.y1 <= inside.y1, text.get_text()
        boxes.append((text, box))
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        clear = width <= 1 or height <= 1 or apart(one, other, figure.dpi)
        assert clear, f"{one.get_text()!r} covers {other.get_text()!r}"


def check_picture(figure: Figure, *, tallest: float) -> None:
    """It has the width of a printed page, is no taller than so many inches, and can be read."""
    assert figure.get_size_inches()[0] == plots.DOUBLE
    assert figure.get_size_inches()[1] < tallest
    check_layout(figure)


def check_captions(study: str, figures: Collection[str], root: Path) -> None:
    """These are all figures of the study, and each has a caption."""
    assert set(figures) == set(components.figures(study))
    for component in figures:
        text = (root / f"workflow/report/{component}.rst").read_text("utf-8")
        assert text.startswith("**")
        assert "snakemake.wildcards.figure" in text


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in texts(figure))


def one(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table
