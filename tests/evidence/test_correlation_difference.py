import numpy as np
import pandas as pd
import pytest

from forgetting.evidence import correlation_difference
from forgetting.evidence._rows import NoRows

PLACE = {"benchmark": "warm-start", "architecture": "resnet18"}


@pytest.fixture
def tables():
    """Twelve moments of two arms, three seeds."""
    rng = np.random.default_rng(0)
    rows = [
        {
            **{**PLACE, "strategy": f"{arm}~{epoch}", "arm": arm, "started_strategy": arm},
            **{"seed": seed, "epoch": float(epoch), "nc1": rng.normal(), "value": rng.normal()},
        }
        for arm in ("full", "nc1")
        for epoch in range(1, 13)
        for seed in range(3)
    ]
    return {"continued": pd.DataFrame(rows).sample(frac=1, random_state=0)}


def compute(tables, **changes):
    settings = {
        "table": "continued",
        "where": {"arm": "full"},
        "other": {},
        "along": "epoch",
        "of": {"column": "epoch"},
        "minus": {"column": "nc1"},
        **changes,
    }
    model = correlation_difference.Settings.model_validate(settings)
    return correlation_difference.per_seed(tables, model)


def r(tables, seed, column, arm="full", low=0, high=99):
    rows = tables["continued"].query("arm == @arm and seed == @seed")
    rows = rows[(rows["epoch"] >= low) & (rows["epoch"] <= high)]
    return np.corrcoef(rows[column], rows["value"])[0, 1]


def test_two_predictors_of_one_quantity(tables):
    found, sizes = compute(tables), compute(tables, strength=True)
    for seed in range(3):
        epoch, nc1 = r(tables, seed, "epoch"), r(tables, seed, "nc1")
        assert found[seed] == pytest.approx(epoch - nc1)
        assert sizes[seed] == pytest.approx(abs(epoch) - abs(nc1))


def test_one_predictor_over_two_ranges(tables):
    early = {"column": "nc1", "within": {"epoch": [0, 6]}}
    late = {"column": "nc1", "within": {"epoch": [7, 12]}}
    found = compute(tables, of=early, minus=late)
    for seed in range(3):
        expected = r(tables, seed, "nc1", high=6) - r(tables, seed, "nc1", low=7)
        assert found[seed] == pytest.approx(expected)
    with pytest.raises(NoRows, match="epoch from 50 to 60"):
        compute(tables, of=early, minus={**late, "within": {"epoch": [50, 60]}})


def test_one_predictor_in_two_arms(tables):
    sides = {arm: {"column": "nc1", "where": {"arm": arm}} for arm in ("nc1", "full")}
    found = compute(tables, where={}, of=sides["nc1"], minus=sides["full"])
    for seed in range(3):
        expected = r(tables, seed, "nc1", arm="nc1") - r(tables, seed, "nc1")
        assert found[seed] == pytest.approx(expected)


def test_the_quantity_may_stand_in_another_table(tables):
    expected = compute(tables)
    rows = tables["continued"]
    other = rows[[*PLACE, "strategy", "seed", "value"]]
    tables = {"continued": rows.drop(columns="value"), "performance": other}
    assert compute(tables, other={"table": "performance"}).equals(expected)


def test_a_seed_that_lacks_a_point_of_either_side_is_nan(tables):
    rows = tables["continued"]
    rows.loc[(rows["seed"] == 2) & (rows["strategy"] == "full~3"), "nc1"] = np.nan
    assert compute(tables).isna().to_dict() == {0: False, 1: False, 2: True}


def test_the_runs_that_are_read():
    side = {"column": "nc1"}
    settings = {
        "table": "continued",
        "where": {**PLACE, "mode": "eval"},
        "other": {},
        "of": {**side, "where": {"started_strategy": "warm-up", "arm": "full"}},
        "minus": {**side, "where": {"started_strategy": "warm-up-nc1", "arm": "nc1"}},
    }
    read = correlation_difference.runs(correlation_difference.Settings.model_validate(settings))
    assert read == [{**PLACE, "started_strategy": parent} for parent in ("warm-up", "warm-up-nc1")]
