import numpy as np
import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence import spread

OUTPUTS = ["0", "1", "2", "3"]
AFTER = {0: [0.4] * 4, 1: [0.9, 0.9, 0.9, 0.0], 2: [0.1, 0.2, 0.3, 0.4]}


@pytest.fixture
def tables():
    """Accuracy 0.9 on every class before; the whole task's rows have no class."""
    rows = []
    for seed, values in AFTER.items():
        run = {"benchmark": "b", "strategy": "adam", "seed": seed}
        for task, shown in ((1, [0.9] * 4), (2, values)):
            whole = {**run, "task": task, "output": np.nan, "value": float(np.mean(shown))}
            rows.append(whole)
            for output, value in zip(OUTPUTS, shown, strict=True):
                rows.append({**run, "task": task, "output": output, "value": value})
    runs = pd.DataFrame([{"benchmark": "b", "tasks": 2}])
    return {"learning_curve": pd.DataFrame(rows).sample(frac=1, random_state=0), "runs": runs}


def compute(tables, **changes):
    where = {"strategy": "adam", "output": OUTPUTS}
    settings = {"table": "learning_curve", "where": where, "start": 1, **changes}
    return spread.per_seed(tables, spread.Settings.model_validate(settings))


def test_over_the_classes_that_are_named(tables):
    found = compute(tables)
    expected = {0: 0, 1: 0.9 * np.sqrt(0.25 * 0.75), 2: np.std([0.1, 0.2, 0.3, 0.4])}
    assert found.to_dict() == pytest.approx(expected)


def test_it_is_the_change_whose_spread_is_taken(tables):
    rows = tables["learning_curve"]
    hard = (rows["output"] == "2") & (rows["task"] == 1)
    rows.loc[hard, "value"] = 0.7
    after = {0: [0.4, 0.4, 0.2, 0.4], 1: [0.9, 0.9, 0.7, 0.0], 2: [0.1, 0.2, 0.1, 0.4]}
    for seed, values in after.items():
        for output, value in zip(OUTPUTS, values, strict=True):
            at = (rows["seed"] == seed) & (rows["output"] == output) & (rows["task"] == 2)
            rows.loc[at, "value"] = value
    found = compute(tables)
    assert found[0] == pytest.approx(0)
    assert found[1] == pytest.approx(0.9 * np.sqrt(0.25 * 0.75))


def test_a_seed_that_lacks_a_class_is_nan(tables):
    rows = tables["learning_curve"]
    gone = (rows["seed"] == 1) & (rows["output"] == "3") & (rows["task"] == 2)
    tables["learning_curve"] = rows[~gone]
    assert compute(tables).isna().to_dict() == {0: False, 1: True, 2: False}


def test_ambiguous_rows_are_refused(tables):
    rows = tables["learning_curve"]
    tables["learning_curve"] = pd.concat([rows.assign(epoch=0), rows.assign(epoch=1)])
    with pytest.raises(UserError, match="differ in epoch"):
        compute(tables)


def test_the_runs_that_are_read():
    settings = {"table": "learning_curve", "where": {"strategy": "adam", "output": OUTPUTS}}
    assert spread.runs(spread.Settings.model_validate(settings)) == [{"strategy": "adam"}]
