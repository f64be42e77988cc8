import itertools

import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence import excess

PLACE = {"benchmark": "permuted-mnist", "architecture": "mlp", "strategy": "sgd"}
RANKS = {  # by seed: (task, moment) -> rank at its largest
    0: {(1, "end"): 0.5, (2, "init"): 0.4, (2, "end"): 0.3},
    1: {(1, "end"): 0.5, (2, "init"): 0.95, (2, "end"): 0.3},
    2: {(1, "end"): 0.1, (2, "init"): 0.1, (2, "end"): 0.79},
}
BOUNDS = {(1, "end"): 180, (2, "init"): 150, (2, "end"): 120}


@pytest.fixture
def tables():
    """Ranks by two numbers of steps, and bounds of 200 parameters; 0.05 of it is another split."""
    ranks, bounds = [], []
    for seed, values in RANKS.items():
        for (task, moment), split in itertools.product(BOUNDS, ("train", "held_out")):
            run = {**PLACE, "seed": seed, "task": task, "moment": moment, "split": split}
            for steps in (50, 100):
                value = values[task, moment] - 0.01 * (steps == 50)
                ranks.append({**run, "steps": steps, "value": value if split == "train" else 5.0})
            limit = {"statistic": "rank_bound", "value": BOUNDS[task, moment], "parameters": 200}
            bounds.append({**run, **limit})
            bounds.append({**run, **limit, "statistic": "exact_zero", "value": 3})
    frames = {"hessian": ranks, "dead_units": bounds}
    return {n: pd.DataFrame(r).sample(frac=1, random_state=0) for n, r in frames.items()}


def compute(tables, **changes):
    bound = {"table": "dead_units", "where": {"statistic": "rank_bound"}, "per": "parameters"}
    settings = {
        "table": "hessian",
        "where": {"strategy": "sgd", "split": "train"},
        "bound": {**bound, **changes.pop("bound", {})},
        **changes,
    }
    return excess.per_seed(tables, excess.Settings.model_validate(settings))


def test_the_largest_excess_over_all_tasks_and_rows(tables):
    # Bounds are 0.9, 0.75 and 0.6 of the parameters.
    assert compute(tables).to_dict() == pytest.approx({0: 0.3 - 0.6, 1: 0.95 - 0.75, 2: 0.79 - 0.6})


def test_without_a_divisor_the_bound_is_taken_as_it_is(tables):
    found = compute(tables, bound={"per": ""})
    assert found[0] == pytest.approx(0.3 - 120)


def test_a_seed_without_a_bound_is_nan(tables):
    rows = tables["dead_units"]
    gone = (rows["seed"] == 1) & (rows["moment"] == "init")
    tables["dead_units"] = rows[~gone]
    assert compute(tables).isna().to_dict() == {0: False, 1: True, 2: False}


def test_the_bound_is_of_the_same_runs(tables):
    other = tables["dead_units"].assign(strategy="l2", value=0.0)
    tables["dead_units"] = pd.concat([tables["dead_units"], other])
    assert compute(tables)[0] == pytest.approx(0.3 - 0.6)


def test_several_bounds_for_one_quantity_are_refused(tables):
    with pytest.raises(UserError, match="dead_units has several bounds for one"):
        compute(tables, bound={"where": {}})


def test_the_runs_that_are_read():
    settings = {
        "table": "hessian",
        "where": {**PLACE, "split": "train"},
        "bound": {"table": "dead_units"},
    }
    assert excess.runs(excess.Settings.model_validate(settings)) == [PLACE]
