"""Figures across studies: what is drawn is what the tables hold, and can be read."""

import numpy as np
import pandas as pd
import pytest

from forgetting.figures import across
from forgetting.figures._across_instruments import family_name
from forgetting.prediction import LABELS, MEAN, predict
from forgetting.tables import ID
from looking_at_figures import Tables, check_picture, drawing, words
from planted import points

FIGURES: dict[str, dict[str, object]] = {"instruments_over_tasks": {}, "held_out_prediction": {}}
NAMES = {
    "drives": "log10_nc1",
    "useless": "dead_units",
    "confound": "weight_effective_rank",
    "misleads": "cka_to_past",
}
draw = drawing(across, FIGURES)


@pytest.fixture(scope="module")
def given() -> Tables:
    table = points().rename(columns=NAMES)
    table["cka_to_past"] = table["cka_to_past"].mask(table["family"] == "split mnist")
    runs = table[["study", *ID]].drop_duplicates().assign(
        status="finished",
        diverged_task=pd.NA,
        datasets="mnist",
        stand_in=False,
        evidence="reduced",
        scenario_metric="task_masked",
        tasks=10,
    )  # fmt: skip
    return {"instruments": table, "prediction": predict(table), "runs": runs}


@pytest.mark.parametrize("component", FIGURES)
def test_it_can_be_read(component: str, drawn) -> None:
    check_picture(drawn[component][0], tallest=7)


def test_lines_are_means_over_seeds(drawn, given: Tables) -> None:
    figure, table = drawn["instruments_over_tasks"]
    rows = given["instruments"]
    mine = rows[(rows["family"] == "split mnist") & (rows["strategy"] == "ewc")]
    expected = mine.groupby("task")["dead_units"].mean()
    lines = [np.asarray(line.get_ydata()) for ax in figure.axes for line in ax.lines]
    assert sum(len(y) == len(expected) and np.allclose(y, expected) for y in lines) == 1
    said = table[(table["family"] == "split mnist") & (table["instrument"] == "dead_units")]
    assert set(said["n_seeds"]) == {4}


def test_each_family_is_a_row_and_each_instrument_a_column_with_one_scale(drawn) -> None:
    figure, _ = drawn["instruments_over_tasks"]
    text = words(figure).replace("\n", " ")
    for name in ("dead_units", "log10_nc1", "cka_to_past"):
        assert LABELS[name] in text
    assert family_name("split mnist") == "Split, MNIST"
    assert "Permuted, MNIST" in text
    grid = np.array(figure.axes).reshape(3, 4)
    for column in grid.T:
        assert len({ax.get_ylim() for ax in column}) == 1
    off = [ax for ax in figure.axes if not ax.axison]
    assert len(off) == 1  # CKA where there is none


def test_dots_are_the_means_of_the_table(drawn, given: Tables) -> None:
    figure, table = drawn["held_out_prediction"]
    pd.testing.assert_frame_equal(table, given["prediction"])
    means = table[(table["held_out"] == MEAN) & (table["outcome"] == "forgetting")]
    names = list(dict.fromkeys(table["instrument"]))
    for ax, number in zip(figure.axes[:3], ("spearman", "gain", "partial"), strict=True):
        dots = {
            (names[int(line.get_ydata()[0])], float(line.get_xdata()[0]))
            for line in ax.lines
            if len(line.get_xdata()) == 1 and float(line.get_ydata()[0]).is_integer()
        }
        there = means.dropna(subset=[number])
        assert dots == {(row["instrument"], max(row[number], -1.0)) for _, row in there.iterrows()}


def test_one_family_can_be_read_and_that_nothing_is_held_out_is_said(given: Tables) -> None:
    mine = given["instruments"]
    mine = mine[(mine["family"] == "split cifar10") & (mine["seed"] == 0)]
    few = {**given, "instruments": mine, "prediction": predict(mine[mine["task"] < 2])}
    for component in FIGURES:
        check_picture(draw(component, few)[0], tallest=7)
    said = words(draw("held_out_prediction", few)[0]).replace("\n", " ")
    assert said.count("only split cifar10 has both, so nothing can be held out") >= 4


def test_a_number_that_none_has_is_not_blamed_on_families_that_others_have(given: Tables) -> None:
    table = given["prediction"].assign(spearman=np.nan)
    alone = table["instrument"] == "cka_to_past"
    table.loc[alone, ["gain", "seeds"]] = (np.nan, 0)
    table.loc[alone, "reason"] = "only one has both, so nothing can be held out"
    said = words(draw("held_out_prediction", {**given, "prediction": table})[0]).replace("\n", " ")
    assert "all that is foretold of one alike" in said
    assert "nothing can be held out" not in said


def test_nothing_measured_is_said() -> None:
    empty = points().iloc[:0]
    figure, _ = draw("instruments_over_tasks", {"instruments": empty, "runs": empty})
    assert "instruments.csv has no run" in words(figure)
