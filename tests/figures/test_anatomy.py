import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.text import Text

from forgetting import statistics, tables, wording
from forgetting.errors import UserError
from forgetting.figures import _classes, _ladders, anatomy
from looking_at_figures import (
    Tables,
    check_captions,
    check_layout,
    check_picture,
    drawing,
    one,
    words,
)
from synthetic_anatomy import SEEDS, SETUPS, study

BENCHMARK = {"benchmark": "split-cifar10"}
PANELS = [
    {"benchmark": "setup-a-objects", "title": "a  then airplane, automobile"},
    {"benchmark": "setup-a-animals", "title": "a  then cat, horse"},
    {"benchmark": "setup-c", "title": "c  carnivores altered"},
    {"benchmark": "setup-b-objects", "title": "b  then airplane, automobile"},
    {"benchmark": "setup-b-animals", "title": "b  then cat, horse"},
]
KINDS = {
    "animals": ["deer", "dog", "large_carnivores", "medium_mammals", "small_mammals"],
    "objects": ["ship", "truck", "food_containers", "household_electrical_devices", "vehicles_1"],
}
LABELS = {"household_electrical_devices": "electrical", "food_containers": "containers"}
FIGURES: dict[str, dict[str, object]] = {
    "learning_curves": BENCHMARK,
    "freezing": BENCHMARK,
    "cka_by_stage": BENCHMARK,
    "rewind": BENCHMARK,
    "subspace_similarity": BENCHMARK,
    "subspace_by_method": {**BENCHMARK, "architecture": "vgg"},
    "cka_by_strength": BENCHMARK,
    "group_forgetting": {},
    "semantic_setups": {
        "panels": PANELS,
        "kinds": KINDS,
        "labels": LABELS,
        "architecture": "resnet",
    },
    "mixing_forgetting": {},
    "mixing_overlap": {},
    "setup_overlap": {},
    "logit_change": BENCHMARK,
}


draw = drawing(anatomy, FIGURES)


@pytest.fixture(scope="module")
def given() -> Tables:
    return study()


def test_these_are_all_figures_of_the_study_and_each_has_a_caption(request):
    check_captions("anatomy", FIGURES, request.config.rootpath)


@pytest.mark.parametrize("component", FIGURES)
def test_nothing_is_clipped_or_covered(drawn, component):
    check_picture(drawn[component][0], tallest=9)


@pytest.mark.parametrize("component", FIGURES)
def test_data_seeds_and_interval_are_named(drawn, component):
    said = words(drawn[component][0])
    assert "Stand-in data: shapes" in said
    assert "ean of 3 seeds" in said
    assert "95 % t-interval over seeds" in said


def test_real_data_are_named_with_their_evidence(given):
    runs = given["runs"].assign(stand_in=False, evidence="reduced", datasets="cifar10-subset")
    said = words(draw("rewind", {**given, "runs": runs}, architecture="vgg")[0])
    assert "Stand-in" not in said
    assert "data: cifar10-subset" in said
    assert "evidence: reduced" in said


@pytest.mark.parametrize("component", FIGURES)
def test_one_architecture_and_one_seed_can_be_drawn(given, component):
    single = {name: table[table["seed"] == 0] for name, table in given.items()}
    figure, drawn = draw(component, single, architecture="densenet")
    assert set(drawn["architecture"]) == {"densenet"}
    assert "One seed, so no interval" in words(figure)
    check_layout(figure)


def test_diverged_seeds_are_named(drawn):
    for component in ("cka_by_strength", "subspace_by_method"):
        assert "VGG EWC 1000 1 of 3 (task 2)" in words(drawn[component][0])
    for component in ("mixing_forgetting", "mixing_overlap"):
        assert "VGG SGD on Dilution 0.2: 1 of 3 (task 2)" in words(drawn[component][0])
    for component in ("rewind", "semantic_setups", "group_forgetting"):
        assert "No seed diverged" in words(drawn[component][0])
    rows = one(drawn["cka_by_strength"][1], architecture="vgg", layer="head")
    assert one(rows, strategy="ewc~1000")["n_seeds"].item() == len(SEEDS) - 1
    assert one(rows, strategy="ewc~100")["n_seeds"].item() == len(SEEDS)


def nothing_of(given: Tables) -> Tables:
    return {name: table[table["benchmark"] == "no"] for name, table in given.items()}


@pytest.mark.parametrize("component", FIGURES)
def test_with_nothing_to_draw_the_figure_says_why(given, component):
    figure, drawn = draw(component, nothing_of(given))
    assert "Nothing to draw: runs.csv has no " in words(figure)
    assert list(drawn.columns) == ["nothing"]
    check_layout(figure)
    measured = {**nothing_of(given), "runs": given["runs"]}
    said = words(draw(component, measured)[0])
    assert "Nothing to draw: " in said
    assert ".csv has no " in said


def test_a_table_the_study_forgot_is_one_message(given):
    with pytest.raises(UserError, match="add subspace to its tables"):
        draw("subspace_similarity", {"runs": given["runs"]})


def test_figures_of_tables_read_from_files_are_the_same(given, drawn, tmp_path):
    for name, table in given.items():
        tables.write(table, tmp_path / f"{name}.csv")
    read = {name: tables.read(tmp_path / f"{name}.csv") for name in given}
    for component in ("learning_curves", "semantic_setups", "rewind"):
        _, again = draw(component, read)
        pd.testing.assert_frame_equal(again, drawn[component][1], check_dtype=False, rtol=1e-8)


# Lines are the rows of the CSV: in each panel, every line's heights are those of one group of rows.
LINES = {
    "cka_by_stage": ("depth", ["statistic"]),
    "rewind": ("stages_reset", ["direction"]),
    "subspace_similarity": ("depth", ["condition"]),
    "mixing_overlap": ("share", ["mixing", "statistic"]),
    "freezing": ("stages_frozen", ["task"]),
}


def heights(ax) -> set[tuple[float, ...]]:
    return {tuple(np.asarray(line.get_ydata(), dtype=float)) for line in ax.lines}


@pytest.mark.parametrize("component", LINES)
def test_lines_are_the_rows_of_the_csv(drawn, component):
    figure, rows = drawn[component]
    along, keys = LINES[component]
    assert len(figure.axes) == 3
    for ax, architecture in zip(figure.axes, ["vgg", "resnet", "densenet"], strict=True):
        assert ax.get_title(loc="left") == wording.name(architecture)
        mine = one(rows, architecture=architecture).dropna(subset=[along])
        groups = [tuple(g.sort_values(along)["mean"]) for _, g in mine.groupby(keys)]
        assert len(groups) == len(set(groups)) >= 2
        assert set(groups) <= heights(ax)


def test_learning_curves_are_faint_before_a_task_is_learned(drawn):
    figure, rows = drawn["learning_curves"]
    mine = one(rows, architecture="vgg").sort_values("epochs_done")
    second = one(mine, of_task=2)
    assert set(second.loc[second["epochs_done"] < 10, "mean"].between(0.45, 0.55)) == {True}
    ax = figure.axes[0]
    (faint,) = [line for line in ax.lines if line.get_alpha() == 0.4]
    assert faint.get_xdata().max() == 10
    assert tuple(one(mine, of_task=1)["mean"]) in heights(ax)
    assert tuple(second.loc[second["epochs_done"] >= 10, "mean"]) in heights(ax)
    (begin,) = [line for line in ax.lines if list(line.get_xdata()) == [10, 10]]
    assert begin.get_linestyle() != "-"


def test_freezing_counts_plain_training_as_nothing_frozen(given, drawn):
    figure, rows = drawn["freezing"]
    mine = one(rows, architecture="resnet")
    curve = one(mine, task=2).dropna(subset=["stages_frozen"])
    assert curve.sort_values("stages_frozen")["strategy"].tolist() == [
        "sgd",
        *(f"freeze~{k}" for k in range(1, 7)),
    ]
    raw = one(given["accuracy"], **BENCHMARK, architecture="resnet", strategy="freeze~3")
    values = one(raw, metric="task_masked", after_task=2, task=2)["value"]
    row = one(curve, stages_frozen=3).iloc[0]
    expected = statistics.interval(values.to_numpy())
    assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))
    alone = one(mine, strategy="task2-only")["mean"].item()
    assert (alone, alone) in heights(figure.axes[1])


def test_subspaces_are_of_the_k_chosen_and_stages_without_a_choice_are_left_out(given, drawn):
    figure, rows = drawn["subspace_similarity"]
    assert set(rows["k"]) == {10}
    assert "head" not in set(rows["layer"])  # five outputs
    assert "stages of k features or fewer" in words(figure)
    chance = one(rows, architecture="vgg", layer="stage1", condition="chance")
    assert chance[["mean", "ci_low", "ci_high"]].iloc[0].tolist() == [10 / 16] * 3
    figure, rows = draw("subspace_similarity", given, k=2, architecture="vgg")
    assert "first k = 2 principal directions" in words(figure)
    assert "head" in set(rows["layer"])
    assert "k features or fewer" not in words(figure)
    figure, _ = draw("subspace_similarity", given, k=7)
    assert "subspace.csv has no k = 7 (it has 2, 5, 10, 20)" in words(figure)


def test_a_line_is_interrupted_where_a_stage_has_no_value(given):
    table = given["subspace"].copy()
    gap = (table["layer"] == "stage3") & (table["statistic"] == "subspace_similarity")
    table.loc[gap, "value"] = np.nan
    figure, rows = draw("subspace_similarity", {**given, "subspace": table}, architecture="vgg")
    assert "do not vary along k directions" in words(figure)
    broken = [line for line in figure.axes[0].lines if np.isnan(line.get_ydata()).any()]
    assert len(broken) == 3
    assert all(np.isnan(line.get_ydata()).tolist().index(True) == 2 for line in broken)
    assert set(one(rows, layer="stage3")["condition"]) == {"chance"}


def test_strengths_are_lines_in_the_colours_of_their_numbers(drawn):
    for component, row in (("subspace_by_method", "by strength"), ("cka_by_strength", None)):
        figure, rows = drawn[component]
        if row:
            rows = one(rows, row=row)
        mine = one(rows, architecture="vgg", strategy="si~0.1").sort_values("depth")
        panels = [ax for ax in figure.axes if tuple(mine["mean"]) in heights(ax)]
        (line,) = [
            line for line in panels[-1].lines if tuple(line.get_ydata()) == tuple(mine["mean"])
        ]
        numbers = {text.get_text(): text for text in panels[-1].findobj(Text)}
        assert numbers["0.1"].get_color() == line.get_color()
        assert {"SI", "0.01", "0.1", "1"} <= set(numbers)
        plain = one(rows, architecture="vgg", strategy="sgd").sort_values("depth")
        assert tuple(plain["mean"]) in heights(panels[-1])


def test_methods_have_a_column_each_and_the_missing_are_named(given):
    without = {name: t[~t["strategy"].str.startswith("si~")] for name, t in given.items()}
    figure, rows = draw("subspace_by_method", without, methods=["sgd", "replay~0.5", "ewc", "si"])
    assert len(figure.axes) == 6
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:3] == ["SGD", "Replay 0.5", "EWC 100"]
    assert "Not run: si." in words(figure)
    assert set(one(rows, row="by method")["strategy"]) == {"sgd", "replay~0.5", "ewc~100"}
    assert set(one(rows, row="by strength")["condition"]) == {"task2-task1_post_task2"}
    check_layout(figure)


def test_group_table_holds_the_accuracy_lost_and_says_what_was_not_run(given, drawn):
    figure, rows = drawn["group_forgetting"]
    raw = one(given["accuracy"], benchmark="artifacts-artifacts", architecture="vgg", task=1)
    raw = one(raw, metric="task_masked").set_index("seed")
    lost = one(raw, after_task=1)["value"] - one(raw, after_task=2)["value"]
    cell = one(rows, first="artifacts", second="artifacts", architecture="vgg").iloc[0]
    assert cell["mean"] == pytest.approx(lost.mean())
    limits = f"[{100 * cell['ci_low']:.1f}, {100 * cell['ci_high']:.1f}]"
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[-2:] == [f"{100 * cell['mean']:.1f}", limits]
    some = {name: t[t["benchmark"] != "animals-artifacts"] for name, t in given.items()}
    said = words(draw("group_forgetting", some)[0])
    assert said.count("not run") == 3
    assert "Not run: animals-artifacts." in said


def test_semantic_setups_have_a_panel_per_benchmark_and_a_hue_per_kind(drawn):
    figure, rows = drawn["semantic_setups"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == [p["title"] for p in PANELS]
    assert set(rows["epoch"]) >= {0.0, 0.1, 10.0}
    for ax, panel in zip(figure.axes, PANELS, strict=True):
        mine = one(rows, benchmark=panel["benchmark"])
        assert set(mine["output"]) == {"all", *SETUPS[panel["benchmark"]]}
        lines = [tuple(g.sort_values("epoch")["mean"]) for _, g in mine.groupby("output")]
        assert set(lines) == heights(ax)
    looks = _classes.looks(["ship", "truck", "deer", "dog", "eel"], KINDS, {"eel": "an eel"})
    hue = {
        name: np.array(colors.rgb_to_hsv(colors.to_rgb(look.colour)))[0]
        for name, look in looks.items()
    }
    assert hue["ship"] == pytest.approx(hue["truck"], abs=0.01)
    assert hue["deer"] == pytest.approx(hue["dog"], abs=0.01)
    assert len({round(hue[name], 1) for name in ("ship", "deer", "eel")}) == 3
    assert looks["ship"].colour != looks["truck"].colour
    assert looks["eel"].label == "an eel"


def test_the_end_of_task_1_is_found_from_either_task():
    rows = pd.DataFrame(
        [(0, 0.0, 0.0), (1, 0.5, 0.5), (1, 0.0, 8.0), (2, 0.5, 8.5), (2, 0.0, 16.0)],
        columns=["task", "epoch", "epochs_done"],
    )
    ends = _classes.first_task_ends(rows)
    assert ends.isna().tolist() == [True, True, False, False, False]
    assert set(ends.dropna()) == {8.0}


def test_the_lowest_share_of_each_mixing_is_marked(given, drawn):
    figure, rows = drawn["mixing_forgetting"]
    raw = one(given["accuracy"], architecture="resnet", task=1, after_task=2, metric="task_masked")
    raw = raw[raw["benchmark"].str.startswith("interpolation~")]
    means = raw.groupby("benchmark")["value"].mean()
    marked = rows[rows["lowest"] & (rows["architecture"] == "resnet")]
    marked = one(marked, mixing="interpolation")
    assert marked["share"].item() == float(means.idxmin().partition("~")[2])
    assert marked["mean"].item() == pytest.approx(means.min())
    assert (marked["mean"].item(),) in heights(figure.axes[1])
    assert rows["lowest"].sum() == 2 * 3


def test_setups_are_points_with_filled_and_open_markers(given, drawn):
    figure, rows = drawn["setup_overlap"]
    assert len(rows) == 4 * 3 * 2
    ax = figure.axes[3]  # VGG, centred
    mine = one(rows, architecture="vgg", statistic="trace_overlap_centred")
    for line in ax.lines:
        point = mine[mine["mean_overlap"] == line.get_xdata()[0]].iloc[0]
        assert line.get_ydata()[0] == point["mean_lost"]
        assert (line.get_markerfacecolor() == "white") == (point["setup"] == "b")
    raw = one(given["overlap"], benchmark="setup-b-objects", architecture="vgg", layer="features")
    raw = one(raw, task=1, statistic="trace_overlap_centred")["value"]
    assert one(mine, benchmark="setup-b-objects")["mean_overlap"].item() == pytest.approx(
        raw.mean()
    )


def test_logit_change_is_placed_by_the_learning_rate(given, drawn):
    figure, rows = drawn["logit_change"]
    mine = one(rows, architecture="vgg", statistic="slope").sort_values("learning_rate")
    assert mine["learning_rate"].tolist() == [0.0001, 0.001, 0.01, 0.1]
    lower = figure.axes[3]
    assert tuple(mine["mean"]) in heights(lower)
    assert lower.get_xscale() == "log"


def test_the_number_of_a_rung():
    assert _ladders.rung("freeze~3") == 3
    assert _ladders.rung("dilution~0.15") == 0.15
    assert _ladders.rungs(["ewc~1000", "ewc", "si~1", "ewc~20"], "ewc") == ("ewc~20", "ewc~1000")
    for entry in ("sgd", "replay~all"):
        with pytest.raises(UserError, match=f"{entry}: .*number after ~"):
            _ladders.rung(entry)


def test_numbers_are_written_short():
    written = [_ladders.number(value) for value in (0.05, 1, 1000, 1e4, 25000, 1e-5, 2e-5)]
    assert written == ["0.05", "1", "1000", "10⁴", "25000", "10⁻⁵", "2e\N{MINUS SIGN}05"]


def test_colours_along_a_strength_darken_and_are_seen_on_paper():
    def luminance(colour: str) -> float:
        rgb = np.array(colors.to_rgb(colour))
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for count in (1, 3, 6):
        steps = [luminance(colour) for colour in _ladders.colours(count)]
        assert len(steps) == count
        assert steps == sorted(steps, reverse=True)
        assert 1.05 / (steps[0] + 0.05) > 1.9


@pytest.mark.slow
def test_layout_holds_for_all_architectures_with_long_ladders(given):
    for component in ("subspace_by_method", "semantic_setups"):
        check_layout(draw(component, given, architecture=None)[0])
    wide = {}
    for name, table in given.items():
        ewc = table[table["strategy"].str.startswith("ewc~")]
        more = [
            ewc.assign(strategy=ewc["strategy"].str.replace("ewc~", f"ewc~{factor}"))
            for factor in ("20", "300", "0.0")
        ]
        wide[name] = pd.concat([table, *more])
    check_layout(draw("subspace_by_method", wide)[0])
