import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from forgetting import plots, wording
from forgetting.figures import _frame


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def rgb(colour: str) -> tuple[float, float, float]:
    return mpl.colors.to_rgb(colour)


def test_strategies_drawn_together_differ_in_colour_and_in_marker():
    for together in (
        ["sgd", "lwf", "experience_replay", "joint"],
        ["ewc", "si", "sgd", "freeze"],
        ["adam", "adam_reset", "joint"],
        ["adam", "l2", "effective_rank", "l2_effective_rank", "replace_most_useful_l2"],
    ):
        looks = [plots.look(strategy) for strategy in together]
        assert len({look.colour for look in looks}) == len(together)
        assert len({look.marker for look in looks}) == len(together)
    pairs = [(look.colour, look.marker) for look in plots.LOOKS.values()]
    assert len(set(pairs)) == len(pairs)


def test_every_colour_stands_out_from_paper():
    for look in plots.LOOKS.values():
        assert 1.05 / (luminance(look.colour) + 0.05) > 2.0


def test_a_rung_of_a_ladder_looks_like_its_strategy_and_says_which():
    assert plots.look("ewc~100").colour == plots.look("ewc").colour
    assert plots.look("ewc~100").label == "EWC 100"
    assert plots.look("experience-replay") == plots.look("experience_replay")


def test_an_unlisted_strategy_looks_the_same_wherever_it_is_drawn():
    assert plots.look("my-own-idea") == plots.look("my-own-idea")
    assert plots.look("my-own-idea").label == "my-own-idea"


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ("mlp", "MLP"),
        ("bi_convgru", "Bi-ConvGRU"),
        ("conv-gru", "ConvGRU"),
        ("resnet18", "ResNet-18"),
        ("split-mnist", "Split MNIST"),
        ("split-cifar100-20", "Split CIFAR-100 20"),
        ("something", "Something"),
    ],
)
def test_entries_are_written_for_readers(entry, written):
    assert wording.name(entry) == written


def test_order_is_the_modules_then_the_alphabet():
    found = plots.in_order(["zeta", "joint", "experience-replay", "sgd", "alpha", "sgd"])
    assert found == ["sgd", "experience-replay", "joint", "alpha", "zeta"]
    assert plots.in_order(["resnet18", "bi-convgru", "mlp"]) == ["mlp", "bi-convgru", "resnet18"]


def labels_spread(ends: list[float]) -> tuple[mpl.axes.Axes, list[mpl.transforms.Bbox]]:
    with mpl.rc_context(plots.STYLE):
        figure, axes = _frame.panels(1, 1, width=plots.SINGLE, height=2.0)
        ax = axes[0, 0]
        ax.set_ylim(0, 1)
        for number, y in enumerate(ends):
            ax.plot([0, 1], [0.5, y])
            _frame.end_label(ax, 1, y, f"line {number}", "black")
        _frame.frame(figure, "title", notes=["a note"])
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        boxes = [mpl.text.Text.get_window_extent(t, renderer) for t in ax.texts]
    return ax, boxes


@pytest.mark.parametrize("ends", [[0.9, 0.89, 0.88], [0.0, 0.01, 1.0, 0.99], [0.5] * 5])
def test_end_labels_keep_their_order_apart_and_inside(ends):
    ax, boxes = labels_spread(ends)
    boxes_by_height = sorted(boxes, key=lambda box: box.y0)
    for low, high in itertools.pairwise(boxes_by_height):
        assert low.y1 <= high.y0 + 0.5
    panel = ax.get_window_extent()
    assert boxes_by_height[0].y0 >= panel.y0 - 0.5
    assert boxes_by_height[-1].y1 <= panel.y1 + 0.5
    centres = [(box.y0 + box.y1) / 2 for box in boxes]
    assert all(
        centres[i] < centres[j]
        for i in range(len(ends))
        for j in range(len(ends))
        if ends[i] < ends[j]
    )


def test_a_label_with_room_stays_where_its_line_ends():
    ax, boxes = labels_spread([0.1, 0.5, 0.9])
    for text, box in zip(ax.texts, boxes, strict=True):
        end = ax.transData.transform(text.xy)[1]
        assert (box.y0 + box.y1) / 2 == pytest.approx(end, abs=2.0)


def test_saved_files_are_the_same_bytes_each_time_and_hold_real_text(tmp_path):
    for folder in ("first", "second"):
        with mpl.rc_context(plots.STYLE):
            figure, axes = _frame.panels(1, 1)
            axes[0, 0].plot([0, 1], [0, 1])
            _frame.frame(figure, "A title", subtitle="sub", stand_in="digits", key=["sgd"])
        plots.save(figure, pd.DataFrame({"x": [0, 1]}), tmp_path / folder / "f.pdf")
    for name in ("f.pdf", "f.png", "f.csv"):
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    pdf = (tmp_path / "first" / "f.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf  # TrueType, so text can be selected and edited
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        "f.csv",
        "f.pdf",
        "f.png",
    ]
