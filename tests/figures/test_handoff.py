import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from forgetting import plots, statistics, tables, wording
from forgetting.errors import UserError
from forgetting.figures import _handoff_rows, handoff
from looking_at_figures import (
    Tables,
    check_captions,
    check_layout,
    check_picture,
    drawing,
    one,
    words,
)
from synthetic_handoff import CLASSES, EPOCHS, SEEDS, class_kept, loss, study

MNIST = {"benchmark": "mnist-fashion"}
ADAM = {**MNIST, "strategy": "adam"}
FIGURES: dict[str, dict[str, object]] = {
    "accuracy_timeline": MNIST,
    "loss_timeline": MNIST,
    "plane_through_tasks": MNIST,
    "plane_at_random": MNIST,
    "accuracy_matrix": {},
    "backward_transfer": {"published": -0.653},
    "forgetting_by_class": MNIST,
}
NEEDS = {
    "accuracy_timeline": ["history", "learning_curve"],
    "loss_timeline": ["history"],
    "plane_through_tasks": ["landscape"],
    "plane_at_random": ["landscape"],
    "accuracy_matrix": ["accuracy"],
    "backward_transfer": ["scores"],
    "forgetting_by_class": ["learning_curve"],
}
FIRST, FASHION = wording.name("mnist-fashion"), wording.name("fashion_mnist")
PLANES = ["plane_through_tasks", "plane_at_random"]


draw = drawing(handoff, FIGURES)


@pytest.fixture(scope="module")
def given() -> Tables:
    return study()


def heights(ax: Axes) -> set[tuple[float, ...]]:
    return {tuple(np.asarray(line.get_ydata(), dtype=float)) for line in ax.lines}


def test_these_are_all_figures_of_the_study_and_each_has_a_caption(request):
    check_captions("handoff", FIGURES, request.config.rootpath)


@pytest.mark.parametrize("component", FIGURES)
def test_nothing_is_clipped_or_covered(drawn, component):
    check_picture(drawn[component][0], tallest=9)


@pytest.mark.parametrize("component", FIGURES)
def test_data_and_seeds_are_named(drawn, component):
    said = words(drawn[component][0])
    assert "Stand-in data: digits+fashion_mnist" in said
    if component in PLANES:
        assert "seed 0" in said
        assert "One seed: planes of different networks cannot be averaged" in said
        assert "500 test images of each task" in said
        return
    assert "ean of 4 seeds" in said
    assert "95 % t-interval over seeds" in said
    if component == "forgetting_by_class":
        assert "No seed diverged" in said
    else:
        assert "1 of 4 (task 2)" in said


@pytest.mark.parametrize("component", FIGURES)
def test_one_seed_of_one_strategy_can_be_drawn(given, component):
    single = {
        name: table[(table["seed"] == 0) & (table["strategy"] == "adam")]
        for name, table in given.items()
    }
    figure, rows = draw(component, single)
    check_layout(figure)
    said = words(figure)
    assert component in PLANES or "One seed, so no interval" in said
    assert set(rows.get("strategy", ["adam"])) == {"adam"}
    assert component not in ("accuracy_timeline", "loss_timeline") or "Not run: " in said


@pytest.mark.parametrize("component", FIGURES)
def test_with_nothing_to_draw_the_figure_says_why(given, component):
    empty = {name: table[table["benchmark"] == "no"] for name, table in given.items()}
    figure, rows = draw(component, empty)
    assert "Nothing to draw: runs.csv has no " in words(figure)
    assert list(rows.columns) == ["nothing"]
    said = words(draw(component, {**empty, "runs": given["runs"]})[0])
    assert f"Nothing to draw: {NEEDS[component][0]}.csv has no " in said
    for table in NEEDS[component]:
        rest = {name: rows for name, rows in given.items() if name != table}
        with pytest.raises(UserError, match=f"add {table} to its tables"):
            draw(component, rest)


def test_figures_of_tables_read_from_files_are_the_same(given, drawn, tmp_path):
    for name, table in given.items():
        tables.write(table, tmp_path / f"{name}.csv")
    read = {name: tables.read(tmp_path / f"{name}.csv") for name in given}
    for component in FIGURES:
        _, again = draw(component, read)
        pd.testing.assert_frame_equal(again, drawn[component][1], check_dtype=False, rtol=1e-6)


def test_a_strategy_on_two_networks_is_refused(given):
    runs = given["runs"]
    other = runs[runs["strategy"] == "adam"].assign(architecture="mlp")
    with pytest.raises(UserError, match="adam is there on mlp, mnist_cnn"):
        draw("loss_timeline", {**given, "runs": pd.concat([runs, other])})


def test_tasks_are_called_by_their_data_sets_in_the_order_learned(given):
    both = given["runs"].assign(datasets="mnist+fashion_mnist")
    assert _handoff_rows.task_names(both) == {1: "A (MNIST)", 2: f"B ({FASHION})"}
    assert _handoff_rows.task_names(given["runs"]) == {1: "A", 2: "B"}  # in two orders
    assert _handoff_rows.task_names(both.assign(datasets="mnist")) == {1: "A", 2: "B"}
    said = words(draw("loss_timeline", given, benchmark="fashion-to-mnist")[0])
    assert f"A ({FASHION})" in said


def test_accuracy_is_drawn_for_every_seed_and_in_the_mean(given, drawn):
    figure, rows = drawn["accuracy_timeline"]
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == [
        plots.look("adam").label,
        f"{plots.look('adam-reset').label}, 1 of 4 diverged",
    ]
    curves = one(given["learning_curve"], **ADAM, statistic="task_masked", output="", of_task=1)
    curves = curves.drop_duplicates(["seed", "epochs_done"])
    values = curves.pivot(index="seed", columns="epochs_done", values="value").to_numpy()
    test = figure.axes[2]
    mine = one(rows, line="mean", kind="test", strategy="adam", of_task=1)
    assert mine["value"].to_numpy() == pytest.approx(values.mean(axis=0))
    limits = mine[["value", "ci_low", "ci_high"]].iloc[-1].tolist()
    assert limits == pytest.approx(list(statistics.interval(values[:, -1])))
    assert {*map(tuple, values), tuple(mine["value"])} <= heights(test)
    history = one(given["history"], **ADAM, statistic="accuracy", seed=2)
    assert tuple(one(history, task=2)["value"]) in heights(figure.axes[0])
    (line,) = [
        line
        for line in figure.axes[0].lines
        if tuple(line.get_ydata()) == tuple(one(history, task=2)["value"])
    ]
    assert list(line.get_xdata()) == list(range(EPOCHS + 1, 2 * EPOCHS + 1))
    single = one(rows, line="seed", kind="training", strategy="adam-reset", of_task=2)
    assert set(single["seed"]) == {0, 2, 3}


def test_where_b_begins_is_marked_and_b_is_faint_before(drawn):
    for component in ("accuracy_timeline", "loss_timeline"):
        for ax in drawn[component][0].axes:
            (begin,) = [x for x in ax.lines if list(x.get_xdata()) == [EPOCHS, EPOCHS]]
            assert begin.get_linestyle() != "-"
    ax = drawn["accuracy_timeline"][0].axes[2]
    (faint,) = [line for line in ax.lines if line.get_alpha() == 0.4]
    assert max(faint.get_xdata()) == EPOCHS
    assert faint.get_ydata() == pytest.approx(0.1)


def test_losses_are_on_a_logarithmic_axis_and_one_of_zero_is_drawn(given, drawn):
    figure, rows = drawn["loss_timeline"]
    raw = one(given["history"], **ADAM, statistic="loss", task=1)
    expected = raw.groupby("epoch")["value"].mean()
    mine = one(rows, line="mean", strategy="adam", of_task=1)
    assert mine["value"].to_numpy() == pytest.approx(expected.to_numpy())
    assert all(ax.get_yscale() == "log" for ax in figure.axes)
    assert tuple(mine["value"]) in heights(figure.axes[0])
    zero = given["history"].copy()
    zero.loc[(zero["statistic"] == "loss") & (zero["epoch"] == EPOCHS), "value"] = 0.0
    figure, _ = draw("loss_timeline", {**given, "history": zero})
    assert min(min(h) for h in heights(figure.axes[0]) if len(h) > 2) == 1e-8
    check_layout(figure)


def test_strategies_without_a_learning_curve_have_an_empty_panel(given):
    curves = given["learning_curve"]
    some = {**given, "learning_curve": curves[curves["strategy"] == "adam"]}
    figure, _ = draw("accuracy_timeline", some)
    assert "not measured" in words(figure)
    check_layout(figure)


def test_planes_are_one_per_task_on_one_scale_with_the_path_in_order(given, drawn):
    figure, rows = drawn["plane_through_tasks"]
    assert set(rows["direction_y"]) == {"checkpoint task-2"}
    assert set(rows["seed"]) == {0}
    titles = [ax.get_title(loc="left") for ax in figure.axes[:2]]
    assert titles == ["loss of A (Digits)", f"loss of B ({FASHION})"]
    grid = one(rows, statistic="loss")
    assert len(grid) == 2 * 9**2
    for of_task, ax in enumerate(figure.axes[:2], start=1):
        path = ax.lines[0].get_xydata()
        assert path[[0, 4, 8]] == pytest.approx(np.array([[0, 0], [1, 0], [0, 1]]))
        assert path[1:4, 0] == pytest.approx([0.6, 0.84, 0.9744])
        assert [c.norm.vmin for c in ax.collections] == pytest.approx([0.003] * 8)
        filled = np.concatenate([np.asarray(points.get_array()) for points in ax.collections[2:]])
        own = [
            (1.0 if not epoch else 0.2) * loss(of_task, x, y)
            for epoch, (x, y) in zip([0, 1, 2, 4, 0, 1, 2, 4, 0], path, strict=True)
        ]
        assert sorted(filled) == pytest.approx(sorted(np.clip(own, 0.003, None)))
    said = words(figure)
    off = one(rows, statistic="path")["value"]
    off = off[off > 0.01]
    assert f"off the plane, by {100 * off.min():.0f} to {100 * off.max():.0f} %" in said
    assert "0: the weights before training" in said
    assert "towards the weights after A" in said


def test_a_path_along_random_directions_is_enlarged(drawn):
    figure, rows = drawn["plane_at_random"]
    assert set(rows["direction_x"]) == {"random"}
    near = figure.axes[2]
    assert near.get_title(loc="left") == "path enlarged, loss of A"
    assert "(\N{MULTIPLICATION SIGN}10⁻³)" in near.get_xlabel()
    assert near.lines[0].get_xydata()[4] == pytest.approx([1, 0])
    assert figure.axes[0].lines[0].get_xydata()[4] == pytest.approx([1e-3, 0])
    away = one(rows, statistic="path")["value"]
    kept = 100 * np.sqrt(1 - away[away > 0] ** 2).max()
    assert f"at most {kept:.2g} %" in words(figure)
    assert "0: the weights after B" in words(figure)


def test_planes_are_drawn_without_a_path_and_of_the_seed_asked_for(given):
    table = given["landscape"]
    bare = table[table["path_task"].isna()].drop(columns=["path_task", "path_epoch"])
    for component, panels in zip(PLANES, (2, 2), strict=True):
        figure, rows = draw(component, {**given, "landscape": bare}, seed=1)
        assert set(rows["seed"]) == {1}
        said = words(figure)
        assert "The path of training is not measured." in said
        assert "while A is learned" not in said
        assert len(figure.axes) == panels + 1  # and the scale
        check_layout(figure)
    figure, _ = draw("plane_at_random", given, seed=7)
    assert "landscape.csv has no plane along random directions with seed 7" in words(figure)
    figure, _ = draw("plane_through_tasks", given, moment="end")
    assert "no plane through three checkpoints with moment end" in words(figure)


def test_the_matrix_holds_means_in_per_cent_and_joint_has_the_rows_it_has(given, drawn):
    figure, rows = drawn["accuracy_matrix"]
    raw = one(given["accuracy"], **ADAM, metric="task_masked", after_task=2, task=1)["value"]
    cell = one(rows, **ADAM, after_task=2, task=1).iloc[0]
    expected = list(statistics.interval(raw.to_numpy()))
    assert cell[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes}
    ax = panels[f"{FIRST}\n{plots.look('adam').label}"]
    assert f"{100 * cell['mean']:.1f}" in [text.get_text() for text in ax.texts]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["before", "after A", "after B"]
    ax = panels[f"{FIRST}\n{plots.look('joint').label}"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["before", "after A and B"]
    assert "not run" not in words(figure)


def test_configurations_are_those_asked_for_in_their_order(given):
    asked = [
        {"benchmark": "mnist-fashion", "strategy": "adam"},
        {"benchmark": "fashion-to-mnist", "strategy": "adam"},
        {"benchmark": "fashion-to-mnist", "strategy": "adam-reset"},
    ]
    figure, rows = draw("accuracy_matrix", given, configurations=asked)
    titles = [ax.get_title(loc="left").partition("\n")[0] for ax in figure.axes]
    assert titles == [wording.name("mnist-fashion"), wording.name("fashion-to-mnist")]
    assert set(rows["strategy"]) == {"adam"}
    missing = f"{wording.name('fashion-to-mnist')}, {plots.look('adam-reset').label}"
    assert f"Not run: {missing}." in words(figure)
    figure, _ = draw("backward_transfer", given, configurations=asked[2:])
    assert "runs.csv has no adam-reset on fashion-to-mnist" in words(figure)


def test_backward_transfer_is_of_every_seed_with_the_mean_and_the_published(given, drawn):
    figure, rows = drawn["backward_transfer"]
    raw = one(given["accuracy"], **ADAM, metric="task_masked", task=1).set_index("seed")
    transfer = one(raw, after_task=2)["value"] - one(raw, after_task=1)["value"]
    mine = one(rows, **ADAM)
    assert one(mine, kind="seed").set_index("seed")["backward_transfer"].to_dict() == {
        seed: pytest.approx(transfer[seed]) for seed in SEEDS
    }
    mean = one(mine, kind="mean").iloc[0]
    expected = list(statistics.interval(transfer.to_numpy()))
    assert mean[["backward_transfer", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    ax = figure.axes[0]
    assert any(list(line.get_xdata()) == [-0.653, -0.653] for line in ax.lines)
    assert any(sorted(line.get_xdata()) == sorted(transfer) for line in ax.lines)
    said = words(figure)
    assert "published, one seed: \N{MINUS SIGN}65.3" in said
    missing = f"{FIRST}, {plots.look('joint').label}"
    assert f"No accuracy after A or none at the end: {missing}." in said
    figure, _ = draw("backward_transfer", given, published=None)
    assert "published" not in words(figure)


def test_classes_are_lines_and_after_b_dots_of_every_seed(given, drawn):
    figure, rows = drawn["forgetting_by_class"]
    left, right = figure.axes
    assert [t.get_text() for t in right.get_yticklabels()] == [*CLASSES, "all"]
    lines = [
        tuple(mine.sort_values("epoch")["value"])
        for _, mine in one(rows, kind="mean").groupby("output")
    ]
    assert len(set(lines)) == 11
    assert set(lines) == heights(left)
    colours = [(x.get_color(), x.get_marker()) for x in left.lines]
    assert len(set(colours)) == 11
    ends = one(given["learning_curve"], **ADAM, statistic="task_masked", task=2, epoch=0.0)
    ends = one(ends, of_task=1, output="3").set_index("seed")["value"]
    found = one(rows, kind="seed after B", output="3").set_index("seed")["value"]
    assert found.to_dict() == {seed: pytest.approx(ends[seed]) for seed in SEEDS}
    assert any(sorted(line.get_xdata()) == sorted(ends) for line in right.lines)
    left_over = np.stack([class_kept("mnist-fashion", seed) for seed in SEEDS])
    deviation = 0.99 * (1 - (1 - left_over) * (1 - np.exp(-1.5 * EPOCHS)))
    spread = statistics.interval(deviation.std(axis=1, ddof=1))
    mean, low, high = (f"{100 * each:.1f}" for each in spread)
    assert f"after B: {mean} [{low}, {high}] percentage points" in words(figure)
    figure, _ = draw("forgetting_by_class", given, labels={"3": "dress"})
    assert "dress" in words(figure)
    check_layout(figure)
