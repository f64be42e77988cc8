import numpy as np
import pandas as pd
import pytest

import sequences
from forgetting.errors import UserError
from forgetting.evidence import first_below
from forgetting.evidence._rows import NoRows


def compute(tables, **changes):
    settings = {"table": "performance", "where": {"strategy": "sgd"}, **changes}
    return first_below.per_seed(tables, first_below.Settings.model_validate(settings))


@pytest.fixture
def tables():
    """Twenty tasks; sgd falls below reset on task 8, never, and on task 3 alone."""
    reset = [0.9 - 0.2 * (task % 3 == 0) for task in range(1, 21)]
    shortfalls = {
        0: [0.05 * (task >= 8) for task in range(1, 21)],
        1: [-0.01] * 20,
        2: [0.3 * (task == 3) - 0.02 for task in range(1, 21)],
    }
    sgd = {seed: np.subtract(reset, lost) for seed, lost in shortfalls.items()}
    return sequences.tables({"sgd": sgd, "reset": dict.fromkeys(sgd, reset)})


def test_the_first_task_below_as_a_share_of_the_tasks(tables):
    assert compute(tables).to_dict() == pytest.approx({0: 8 / 20, 1: 21 / 20, 2: 3 / 20})


def test_how_far_below_counts(tables):
    found = compute(tables, by=0.1)
    assert found.to_dict() == pytest.approx({0: 21 / 20, 1: 21 / 20, 2: 3 / 20})


def test_smoothing_passes_over_a_single_task(tables):
    # Shortfalls are 0.08 on task 1 (mean of three tasks), 0.055 (of four), then 0.04 (of five).
    found = compute(tables, window=0.25, by=0.05)
    assert found[2] == pytest.approx(1 / 20)
    assert compute(tables, window=0.25, by=0.09)[2] == pytest.approx(21 / 20)


def test_smoothing_equals_a_centred_rolling_mean():
    rng = np.random.default_rng(0)
    reset, sgd = rng.normal(0.9, 0.1, 60), rng.normal(0.8, 0.1, 60)
    tables = sequences.tables({"sgd": {0: sgd}, "reset": {0: reset}})
    smooth = pd.Series(sgd - reset).rolling(7, center=True, min_periods=4).mean()
    for by in (0.0, 0.1, 0.15, 0.2):
        below = np.flatnonzero(smooth < -by)
        expected = (below[0] + 1 if below.size else 61) / 60
        # 0.13 of 60 tasks are 7.8, hence 7.
        assert compute(tables, by=by, window=0.13)[0] == pytest.approx(expected)


def test_a_run_that_stopped_is_nan():
    curves = {"sgd": {0: [0.5] * 10, 1: [0.5] * 10, 2: [0.5] * 10}}
    curves["reset"] = {0: [0.6] * 10, 1: [0.6] * 10, 2: [0.6] * 10}
    tables = sequences.tables(curves, stop_after={("sgd", 1): 9, ("reset", 2): 9})
    found = compute(tables)
    assert found.to_dict() == pytest.approx({0: 0.1, 1: float("nan"), 2: float("nan")}, nan_ok=True)


def test_what_it_is_compared_with(tables):
    with pytest.raises(NoRows, match="strategy joint"):
        compute(tables, against="joint")
    rows = tables["performance"]
    wide = rows[rows["strategy"] == "reset"].assign(architecture="wide")
    tables["performance"] = pd.concat([rows, wide])
    with pytest.raises(UserError, match="reset has several architectures on permuted-mnist"):
        compute(tables)


def test_ambiguous_rows_are_refused(tables):
    rows = tables["performance"]
    tables["performance"] = pd.concat([rows, rows.assign(architecture="wide")])
    with pytest.raises(UserError, match="differ in architecture"):
        compute(tables)


def test_the_runs_that_are_read():
    settings = {"table": "performance", "where": {"benchmark": "b", "strategy": "sgd"}}
    read = first_below.runs(first_below.Settings.model_validate(settings))
    assert read == [{"benchmark": "b", "strategy": name} for name in ("sgd", "reset")]


def test_for_good_is_from_where_on_all_lie_below(tables):
    # Seed 0 stays below from task 8 on; seed 2 is below on task 3 alone.
    found = compute(tables, for_good=True)
    assert found.to_dict() == pytest.approx({0: 8 / 20, 1: 21 / 20, 2: 21 / 20})


def test_a_step_is_a_task(tables):
    settings = {"table": "performance", "where": {"strategy": "sgd"}}
    found = first_below.step(tables, first_below.Settings.model_validate(settings))
    assert found == 1 / 20


@pytest.mark.parametrize(("tasks", "reach"), [(800, 19), (60, 1), (40, 0), (100, 2)])
def test_a_window_is_the_odd_number_of_tasks_at_or_below(tasks, reach):
    # A single shortfall of 1 on task 21 is seen as far as the window reaches.
    reset = np.ones(tasks)
    sgd = reset - (np.arange(1, tasks + 1) == 21)
    tables = sequences.tables({"sgd": {0: sgd}, "reset": {0: reset}})
    assert compute(tables, window=0.05)[0] == pytest.approx((21 - reach) / tasks)
