import itertools

import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence import from_moment
from forgetting.evidence._rows import NoRows, NotRun

PLACE = {"benchmark": "warm-start", "architecture": "resnet18"}
MOMENTS = {"full": (5, 10, 40, 100), "nc1": (5, 10, 40)}


@pytest.fixture
def tables():
    """Accuracy is 1000 x seed + epoch, of nc1 a half more, and -1 in the other mode; 7 alone."""
    rows = []
    for arm, mode, seed in itertools.product(MOMENTS, ("eval", "train"), range(3)):
        for epoch in MOMENTS[arm]:
            value = 1000 * seed + epoch + 0.5 * (arm == "nc1")
            about = {"arm": arm, "started_strategy": f"warm-up-{arm}", "task": 1}
            run = {**PLACE, "strategy": f"{arm}~{epoch}", "seed": seed, **about}
            value = value if mode == "eval" else -1.0
            rows.append({**run, "epoch": float(epoch), "mode": mode, "accuracy": value})
    alone = [
        {**PLACE, "strategy": "scratch", "seed": seed, "task": 2, "value": 7.0 + seed}
        for seed in range(3)
    ]
    frames = {"continued": rows, "performance": alone}
    return {n: pd.DataFrame(r).sample(frac=1, random_state=0) for n, r in frames.items()}


def compute(tables, **changes):
    settings = {"where": {**PLACE, "mode": "eval"}, "of": {"arm": "full"}, **changes}
    return from_moment.per_seed(tables, from_moment.Settings.model_validate(settings))


@pytest.mark.parametrize(
    ("at", "expected"),
    [("first", 5), ("last", 100), (50, 40), (7.5, 5), (8, 10), (1000, 100), ("every", 38.75)],
)
def test_the_number_from_a_moment(tables, at, expected):
    assert compute(tables, at=at).to_dict() == {0: expected, 1: 1000 + expected, 2: 2000 + expected}


def test_the_later_moment_less_the_earlier(tables):
    assert compute(tables, at="last", minus_at="first").to_list() == [95, 95, 95]


@pytest.mark.parametrize("at", ["first", "last", "every", 90])
def test_arms_are_compared_at_the_moments_that_both_have(tables, at):
    found = compute(tables, of={"arm": "nc1"}, minus={"arm": "full"}, at=at)
    assert found.to_list() == [0.5, 0.5, 0.5]
    if at == "last":
        other = compute(tables, minus={"arm": "nc1"}, at="last", minus_at="first")
        assert other.to_list() == [34.5, 34.5, 34.5]


def test_arms_without_a_moment_in_common(tables):
    rows = tables["continued"]
    tables["continued"] = rows[(rows["arm"] == "nc1") | (rows["epoch"] == 100)]
    with pytest.raises(NoRows, match="no moment in common"):
        compute(tables, minus={"arm": "nc1"})


def test_against_a_network_that_is_trained_on_the_next_task_alone(tables):
    found = compute(tables, at="last", against="scratch")
    assert found.to_list() == [100 - 7, 1100 - 8, 2100 - 9]
    with pytest.raises(NotRun, match=r"performance\.csv is missing"):
        compute({"continued": tables["continued"]}, against="scratch")
    with pytest.raises(NotRun, match="strategy joint"):
        compute(tables, against="joint")


def test_a_seed_that_lacks_a_moment_is_nan(tables):
    rows = tables["continued"]
    gone = (rows["seed"] == 1) & (rows["arm"] == "nc1") & (rows["epoch"] == 40)
    tables["continued"] = rows[~gone]
    comparison = {"of": {"arm": "nc1"}, "minus": {"arm": "full"}}
    for at, missing in (("last", True), ("every", True), ("first", False)):
        found = compute(tables, **comparison, at=at)
        assert found.isna().to_dict() == {0: False, 1: missing, 2: False}
    tables["continued"] = rows.assign(accuracy=rows["accuracy"].mask(rows["epoch"] == 5))
    assert compute(tables, at="first").isna().all()


def test_rows_that_differ_in_something_else_are_refused(tables):
    with pytest.raises(UserError, match="differ in mode"):
        compute(tables, where=PLACE)


def test_the_runs_that_are_read():
    settings = {
        "where": {**PLACE, "mode": "eval"},
        "of": {"arm": "nc1", "started_strategy": "warm-up-nc1"},
        "minus": {"arm": "full", "started_strategy": "warm-up"},
        "against": "scratch",
    }
    read = from_moment.runs(from_moment.Settings.model_validate(settings))
    assert read == [
        {**PLACE, "started_strategy": "warm-up-nc1"},
        {**PLACE, "started_strategy": "warm-up"},
        {"benchmark": "warm-start", "strategy": "scratch"},
    ]
