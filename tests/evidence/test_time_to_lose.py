import numpy as np
import pandas as pd
import pytest

from forgetting import tables as files
from forgetting.errors import UserError
from forgetting.evidence import time_to_lose

EPOCHS = 4
WITHIN = [0.25, 0.5, 1, 2]
CURVES = {  # accuracy on task 1 at the end of it, at moments within task 2, at its end
    0: [0.8, 0.8, 0.6, 0.2, 0.1, 0.1],  # 0.4 is half-way between epochs 0.5 and 1
    1: [1.0, 0.5, 0.6, 0.5, 0.4, 0.3],  # reached at once, and again
    2: [0.9, 0.9, 0.8, 0.7, 0.6, 0.5],  # never
}


def make(curves=CURVES, within=WITHIN, epochs=EPOCHS):
    """Rows of the whole task, of a class and of the task trained; other moments are not 0."""
    rows = []
    for seed, values in curves.items():
        run = {"benchmark": "b", "architecture": "cnn", "strategy": "adam", "seed": seed}
        moments = [(0, 0.0), (1, 0.5), (1, 0.0), *((2, float(at)) for at in within), (2, 0.0)]
        for (task, epoch), value in zip(moments, [0.1, 0.7, *values], strict=True):
            done = (task - 1) * epochs + epoch if epoch else task * epochs
            moment = {"task": task, "epoch": epoch, "epochs_done": done, "statistic": "task_masked"}
            for of_task, output, shown in ((1, "", value), (1, "3", value / 2 + 0.4), (2, "", 0)):
                about = {"of_task": of_task, "output": output, "value": shown}
                rows.append({**run, **moment, **about})
    return {"learning_curve": pd.DataFrame(rows).sample(frac=1, random_state=0)}


def compute(tables, **changes):
    settings = {"where": {"strategy": "adam"}, "horizon": 0, **changes}
    return time_to_lose.per_seed(tables, time_to_lose.Settings.model_validate(settings))


def test_straight_between_the_moments_and_placed_after_the_end_where_never():
    assert compute(make()).to_dict() == pytest.approx({0: 0.75, 1: 0.25, 2: EPOCHS + 1})


def test_a_run_that_ends_before_the_horizon_tells_nothing_if_it_kept_its_accuracy():
    for horizon, missing in ((EPOCHS, False), (EPOCHS + 1, True)):
        found = compute(make(), horizon=horizon)
        assert found.isna().to_dict() == {0: False, 1: False, 2: missing}


def test_another_share():
    # Of 0.8 a quarter is lost at 0.6, of 1.0 at 0.75, of 0.9 at 0.675.
    found = compute(make(), share=0.25)
    assert found.to_dict() == pytest.approx({0: 0.5, 1: 0.125, 2: 1.25})


def test_equals_interpolation_on_falling_curves():
    rng = np.random.default_rng(0)
    curves = {
        seed: np.sort(rng.uniform(0, 1, len(WITHIN) + 2))[::-1] * [1, 0.9, 0.7, 0.5, 0.3, 0.1]
        for seed in range(20)
    }
    found = compute(make(curves))
    at = [0, *WITHIN, EPOCHS]
    for seed, values in curves.items():
        expected = np.interp(0.5 * values[0], values[::-1], at[::-1])
        assert found[seed] == pytest.approx(expected)


def test_a_class_instead_of_the_whole_task():
    # 0.8, 0.8, 0.7, 0.5, ...: never 0.4.
    assert compute(make(), output="3")[0] == EPOCHS + 1
    assert compute(make(), output="3", share=0.25)[0] == pytest.approx(0.75)


def test_the_whole_task_is_found_in_a_table_from_a_file(tmp_path):
    tables = make()
    files.write(tables["learning_curve"], tmp_path / "learning_curve.csv")
    again = {"learning_curve": files.read(tmp_path / "learning_curve.csv")}
    assert again["learning_curve"]["output"].isna().any()
    assert compute(again).to_dict() == pytest.approx(compute(tables).to_dict())


def test_a_seed_without_start_or_end_or_with_nothing_to_lose_is_nan():
    tables = make({**CURVES, 3: [0.0] * 6})
    rows = tables["learning_curve"]
    ended = (rows["seed"] == 0) & (rows["task"] == 2)
    began = (rows["seed"] == 1) & (rows["task"] == 1) & (rows["epoch"] == 0)
    tables["learning_curve"] = rows[~ended & ~began]
    found = compute(tables)
    assert found.isna().to_dict() == {0: True, 1: True, 2: False, 3: True}
    tables["learning_curve"] = rows[rows["task"] < 2]
    assert compute(tables).isna().all()


def test_ambiguous_rows_are_refused():
    rows = make()["learning_curve"]
    other = rows.assign(statistic="class_incremental")
    with pytest.raises(UserError, match="differ in statistic"):
        compute({"learning_curve": pd.concat([rows, other])})


def test_the_runs_that_are_read():
    where = {"benchmark": "b", "strategy": "adam"}
    settings = {"where": {**where, "statistic": "task_masked"}, "horizon": 5}
    assert time_to_lose.runs(time_to_lose.Settings.model_validate(settings)) == [where]
