import numpy as np
import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence import worst_task
from forgetting.evidence._rows import NoRows

OWN = {0: (0.99, 0.90), 1: (0.98, 0.91), 2: (0.99, 0.90)}
JOINT = {0: (0.98, 0.91), 1: (0.99, 0.92), 2: (0.90, 0.60)}


@pytest.fixture
def tables():
    """Rows of all tasks after all tasks; those that are not to be read hold 5."""
    rows = []
    for seed in OWN:
        for strategy, values in (("adam", OWN), ("joint", JOINT)):
            for after in (0, 1, 2):
                for task in (1, 2):
                    read = after == task if strategy == "adam" else after == 2
                    value = values[seed][task - 1] if read else 5.0
                    run = {"benchmark": "b", "strategy": strategy, "seed": seed}
                    about = {"metric": "task_masked", "after_task": after, "task": task}
                    rows.append({**run, **about, "value": value})
    facts = {"benchmark": ["b"], "tasks": [2], "scenario_metric": ["task_masked"]}
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return {"accuracy": frame, "runs": pd.DataFrame(facts)}


def compute(tables, **changes):
    where = {"benchmark": "b", "metric": "scenario"}
    settings = {"where": where, "of": "joint", "minus": "adam", **changes}
    return worst_task.per_seed(tables, worst_task.Settings.model_validate(settings))


def test_the_task_on_which_it_falls_short_the_most(tables):
    assert compute(tables).to_dict() == pytest.approx({0: -0.01, 1: 0.01, 2: -0.30})


def test_a_seed_that_lacks_a_task_is_nan(tables):
    rows = tables["accuracy"]
    joint, adam = (rows["strategy"] == name for name in ("joint", "adam"))
    gone = (joint & (rows["seed"] == 0) & (rows["task"] == 1) & (rows["after_task"] == 2)) | (
        adam & (rows["seed"] == 1) & (rows["task"] == 2) & (rows["after_task"] == 2)
    )
    found = compute({**tables, "accuracy": rows[~gone]})
    assert found.isna().to_dict() == {0: True, 1: True, 2: False}
    rows.loc[rows["seed"] == 2, "value"] = np.nan
    assert np.isnan(compute(tables)[2])


def test_rows_that_differ_in_something_else_are_refused(tables):
    rows = tables["accuracy"]
    tables["accuracy"] = pd.concat([rows, rows.assign(benchmark="c")])
    tables["runs"] = pd.concat([tables["runs"], tables["runs"].assign(benchmark="c")])
    with pytest.raises(UserError, match="differ in benchmark"):
        compute(tables, where={"metric": "scenario"})


def test_a_strategy_that_was_not_run(tables):
    with pytest.raises(NoRows, match="strategy reset"):
        compute(tables, of="reset")


def test_the_runs_that_are_read():
    where = {"benchmark": "b", "metric": "scenario"}
    settings = {"where": where, "of": "joint", "minus": "adam"}
    read = worst_task.runs(worst_task.Settings.model_validate(settings))
    assert read == [{"benchmark": "b", "strategy": name} for name in ("joint", "adam")]
