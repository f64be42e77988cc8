import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

import sequences
from forgetting.evidence import threshold

PLACE = {"benchmark": "permuted-mnist", "architecture": "mlp"}


def make(starts):
    """Tables of one method, from seed -> (rank, performance) on each task; reset reaches 0.8."""
    levels = {seed: [level for _, level in points] for seed, points in starts.items()}
    curves = {"sgd": levels, "reset": {s: [0.8] * len(v) for s, v in levels.items()}}
    rows = [
        {**PLACE, "strategy": "sgd", "seed": seed, "task": task, "rank": rank, "level": level}
        for seed, points in starts.items()
        for task, (rank, level) in enumerate(points, start=1)
    ]
    return {**sequences.tables(curves), "ranks": pd.DataFrame(rows).sample(frac=1, random_state=0)}


def compute(tables, **changes):
    settings = {"table": "ranks", "x": "rank", "y": "level", "where": {"strategy": "sgd"}}
    settings = threshold.Settings.model_validate({**settings, **changes})
    return threshold.per_seed(tables, settings)


GOOD, BAD = 0.77, 0.75  # of 0.8: above and below 0.95 of it
EARLY = [(0.9, GOOD), (0.5, GOOD), (0.4, BAD), (0.7, BAD)]
LATER = {
    0: [(0.6, GOOD), (0.55, GOOD), (0.3, BAD), (0.45, BAD)],  # as the rule says
    1: [(0.4, GOOD), (0.3, GOOD), (0.9, BAD), (0.6, BAD)],  # the reverse
    2: [(0.6, GOOD), (0.9, GOOD), (0.5, GOOD), (0.6, BAD)],  # always said to succeed
}


@pytest.fixture
def tables():
    return make({seed: EARLY + points for seed, points in LATER.items()})


def test_the_smallest_rank_that_was_enough(tables):
    assert compute(tables, score="threshold").to_dict() == {0: 0.5, 1: 0.5, 2: 0.5}


def test_later_starts_score_the_rule_against_a_constant_guess(tables):
    assert compute(tables).to_dict() == pytest.approx({0: 0.5, 1: -0.5, 2: 0.0})
    found = compute(tables, score="accuracy")
    assert found.to_dict() == pytest.approx({0: 1 - 0.5, 1: 0 - 0.5, 2: 0.75 - 0.75})


def test_equals_the_balanced_accuracy_of_others():
    rng = np.random.default_rng(0)
    starts = {
        seed: list(zip(rng.uniform(size=40), rng.uniform(0.7, 0.82, 40), strict=True))
        for seed in range(5)
    }
    tables = make(starts)
    for score, chance in (("balanced_accuracy", None), ("accuracy", 0)):
        found = compute(tables, score=score, share=0.9)
        for seed, points in starts.items():
            rank, level = np.transpose(points)
            success = level >= 0.72
            least = rank[:20][success[:20]].min()
            truth, said = success[20:], rank[20:] >= least
            if chance is None:
                expected = balanced_accuracy_score(truth, said) - 0.5
            else:
                expected = (truth == said).mean() - max(truth.mean(), 1 - truth.mean())
            assert found[seed] == pytest.approx(expected)


def test_without_a_threshold_or_with_one_outcome_there_is_no_value():
    failed = [(0.5, BAD)] * 4
    starts = {
        0: failed + LATER[0],
        1: EARLY + failed,
        2: EARLY + [(0.1, GOOD)] * 4,
        3: EARLY + LATER[0],
    }
    tables = make(starts)
    assert compute(tables).isna().to_dict() == {0: True, 1: True, 2: True, 3: False}
    found = compute(tables, score="threshold")
    assert found.isna().to_dict() == {0: True, 1: False, 2: False, 3: False}


def test_success_is_measured_by_the_network_that_starts_afresh(tables):
    fresh = tables["performance"]["strategy"] == "reset"
    later = fresh & (tables["performance"]["task"] > 4)
    tables["performance"].loc[later, "value"] = 0.7  # later tasks are harder for it as well
    assert compute(tables).isna().all()  # all later starts succeed


def test_rows_left_out_and_seeds_that_lack_some(tables):
    found = compute(tables, score="threshold", leave_out={"task": [2]})
    assert found.to_dict() == {0: 0.9, 1: 0.9, 2: 0.9}
    rows = tables["ranks"]
    tables["ranks"] = rows[~((rows["seed"] == 1) & (rows["task"] == 8))]
    performance = tables["performance"]
    gone = (performance["seed"] == 2) & (performance["task"] == 3)
    tables["performance"] = performance[~gone]
    assert compute(tables).isna().to_dict() == {0: False, 1: True, 2: True}


def bounded(tables, left, **changes):
    """The score of the rule by what dead units leave on the later tasks, of 200 parameters."""
    rows = [
        {**PLACE, "strategy": "sgd", "seed": seed, "task": task, "moment": moment}
        | {"value": value * 200, "parameters": 200}
        for seed in tables["ranks"]["seed"].unique()
        for moment, of in (("init", [1.0] * 4 + left), ("end", [0.0] * 8))
        for task, value in enumerate(of, start=1)
    ]
    bound = {"table": "dead_units", "where": {"moment": "init"}, "per": "parameters"}
    tables = {**tables, "dead_units": pd.DataFrame(rows)}
    return compute(tables, bound=bound, **changes).to_dict()


def test_a_bound_takes_the_place_of_the_quantity_on_later_starts(tables):
    assert bounded(tables, [0.6, 0.5, 0.4, 0.1]) == pytest.approx({0: 0.5, 1: 0.5, 2: 1 / 3})
    assert bounded(tables, [0.4, 0.5, 0.6, 0.7])[0] == pytest.approx((1 / 2 + 0) / 2 - 0.5)
    assert bounded(tables, [0.9] * 4) == {0: 0, 1: 0, 2: 0}  # never below: says nothing
    assert bounded(tables, [0.6, 0.5, 0.4, 0.1], score="threshold") == {0: 0.5, 1: 0.5, 2: 0.5}


def test_starts_without_a_bound_count_for_the_threshold_alone(tables):
    """A method without a bound whose early start reached enough from a lower rank."""
    other = tables["ranks"][tables["ranks"]["task"].isin([2, 6])].assign(strategy="ln", rank=0.2)
    tables = {**tables, "ranks": pd.concat([tables["ranks"], other])}
    where = {"strategy": ["sgd", "ln"]}
    assert bounded(tables, [0.6, 0.5, 0.4, 0.1], where=where, score="threshold")[0] == 0.2
    found = bounded(tables, [0.6, 0.5, 0.15, 0.1], where=where)
    assert found == pytest.approx({0: 0.5, 1: 0.5, 2: (2 / 3 + 1) / 2 - 0.5})


def test_the_runs_that_are_read():
    settings = {"table": "ranks", "x": "rank", "y": "level", "where": {"benchmark": "b"}}
    read = threshold.runs(threshold.Settings.model_validate(settings))
    assert read == [{"benchmark": "b"}, {"benchmark": "b", "strategy": "reset"}]
