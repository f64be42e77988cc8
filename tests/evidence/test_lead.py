import numpy as np
import pandas as pd
import pytest

import sequences
from forgetting.errors import UserError
from forgetting.evidence import lead

KEPT = range(1, 41, 3)


def falls(at, tasks=40, first=0.9, lost=0.4):
    """From ``first`` to ``first - lost`` in one step on task ``at``."""
    return [first - lost * (task >= at) for task in range(1, tasks + 1)]


def make(ranks, levels):
    """Rank on every third task and performance on all, by seed; reset has 0.9 throughout."""
    curves = {"sgd": levels, "reset": {seed: [0.9] * 40 for seed in levels}}
    rows = [
        {
            **{"benchmark": "permuted-mnist", "architecture": "mlp", "strategy": "sgd"},
            **{"seed": seed, "task": task, "eps": eps},
            "rank": values[task - 1] if eps == 0.01 else 0.5,
        }
        for seed, values in ranks.items()
        for task in KEPT
        for eps in (0.01, 0.03)
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return {**sequences.tables(curves), "ranks": frame}


def compute(tables, **changes):
    where = {"strategy": "sgd", "eps": 0.01}
    settings = {"table": "ranks", "column": "rank", "where": where, "window": 0, **changes}
    return lead.per_seed(tables, lead.Settings.model_validate(settings))


def test_the_tasks_between_the_two_falls_on_the_tasks_looked_at():
    ranks = {0: falls(10), 1: falls(22), 2: falls(11)}
    levels = {0: falls(22), 1: falls(10), 2: falls(12)}
    # Seen on tasks 1, 4, 7, 10, 13, ...: 11 and 12 are both noticed on 13.
    found = compute(make(ranks, levels))
    assert found.to_dict() == pytest.approx({0: -12 / 40, 1: 12 / 40, 2: 0.0})


def test_units_and_sizes_do_not_matter():
    levels = {0: falls(22)}
    small = {0: falls(10, first=0.5, lost=0.1)}
    found = compute(make(small, levels))
    assert found[0] == pytest.approx(-12 / 40)
    tables = make(small, levels)
    tables["ranks"]["rank"] *= 1e6
    assert compute(tables)[0] == pytest.approx(found[0])


def test_a_share_of_the_fall():
    # From 0.9 down to 0.5 in equal steps; performance in one step on task 22.
    slowly = [0.9 - 0.4 * (task - 1) / 39 for task in range(1, 41)]
    tables = make({0: slowly}, {0: falls(22)})
    for share in (0.1, 0.3, 0.5, 0.9):
        expected = next(task for task in KEPT if (task - 1) / 39 >= share)
        assert compute(tables, share=share)[0] == pytest.approx((expected - 22) / 40)


def test_performance_that_never_falls_has_nothing_before_it():
    found = compute(make({0: falls(10), 1: falls(10)}, {0: [0.9] * 40, 1: falls(10, lost=0.005)}))
    assert found.isna().all()


def test_a_rank_that_never_falls_is_placed_after_the_end():
    ranks = {0: [0.5] * 40, 1: falls(4, lost=0.05), 2: falls(4, lost=-0.3)}
    found = compute(make(ranks, dict.fromkeys(ranks, falls(22))))
    assert found.to_list() == pytest.approx([(41 - 22) / 40] * 3)
    smaller = compute(make(ranks, dict.fromkeys(ranks, falls(22))), least=0.01)
    assert smaller[1] == pytest.approx((4 - 22) / 40)


def test_how_hard_a_task_is_does_not_pass_for_a_fall():
    hard = np.array([0.3 * (task in (4, 5, 6, 7)) for task in range(1, 41)])
    tables = make({0: falls(10)}, {0: falls(22) - hard})
    of_reset = (tables["performance"]["strategy"] == "reset") & tables["performance"]["task"].isin(
        [4, 5, 6, 7]
    )
    tables["performance"].loc[of_reset, "value"] -= 0.3
    assert compute(tables)[0] == pytest.approx(-12 / 40)
    assert compute(tables, against="")[0] == pytest.approx((10 - 4) / 40)


def test_smoothing_of_performance_is_centred():
    noisy = np.array(falls(22))
    noisy[3] -= 0.4  # task 4
    tables = make({0: falls(10)}, {0: noisy})
    assert compute(tables)[0] == pytest.approx((10 - 4) / 40)
    assert compute(tables, window=0.13)[0] == pytest.approx((10 - 22) / 40)


def test_rows_left_out_and_seeds_that_lack_some():
    ranks = {0: [5.0, *falls(10)[1:]], 1: falls(10)}
    tables = make(ranks, dict.fromkeys(ranks, falls(22)))
    assert compute(tables)[0] == pytest.approx((4 - 22) / 40)
    assert compute(tables, leave_out={"task": [1]})[0] == pytest.approx(-12 / 40)
    rows = tables["ranks"]
    tables["ranks"] = rows[~((rows["seed"] == 1) & (rows["task"] == 40))]
    assert compute(tables).isna().to_dict() == {0: False, 1: True}


def test_a_run_without_performance_is_nan():
    ranks = {0: falls(10), 1: falls(10)}
    tables = make(ranks, dict.fromkeys(ranks, falls(22)))
    rows = tables["performance"]
    tables["performance"] = rows[~((rows["seed"] == 1) & (rows["strategy"] == "sgd"))]
    assert compute(tables).isna().to_dict() == {0: False, 1: True}


def test_ambiguous_rows_are_refused():
    tables = make({0: falls(10)}, {0: falls(22)})
    with pytest.raises(UserError, match="differ in"):
        compute(tables, where={"strategy": "sgd"})


def test_the_runs_that_are_read():
    settings = {"table": "ranks", "where": {"strategy": "sgd", "eps": 0.01}}
    read = lead.runs(lead.Settings.model_validate(settings))
    assert read == [{"strategy": "sgd"}, {"strategy": "reset"}]


def test_a_step_is_from_one_task_that_is_looked_at_to_the_next():
    tables = make({0: falls(20)}, {0: falls(20)})
    settings = {"table": "ranks", "column": "rank", "where": {"strategy": "sgd", "eps": 0.01}}
    assert lead.step(tables, lead.Settings.model_validate(settings)) == 3 / 40
    settings["leave_out"] = {"task": [4]}  # from 1 to 7
    assert lead.step(tables, lead.Settings.model_validate(settings)) == 6 / 40
