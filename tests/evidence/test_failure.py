import pandas as pd
import pytest

from forgetting.evidence import failure
from forgetting.evidence._rows import NoRows

STATUS = {  # by seed: at epochs 5, 40 and 100
    0: ("finished", "finished", "chance"),
    1: ("finished", "chance", "diverged"),
    2: ("finished", "finished", "finished"),
}


@pytest.fixture
def tables():
    """Rows of both modes, but of a run that had diverged before one row without a mode."""
    rows = []
    for seed, statuses in STATUS.items():
        for epoch, status in zip((5.0, 40.0, 100.0), statuses, strict=True):
            run = {"benchmark": "warm-start", "strategy": f"nc1~{epoch:g}", "arm": "nc1"}
            about = {**run, "seed": seed, "epoch": epoch, "status": status}
            modes = [None] if status == "diverged" else ["eval", "train"]
            rows += [{**about, "mode": mode} for mode in modes]
    other = pd.DataFrame(rows).assign(arm="full", status="diverged")
    return {"continued": pd.concat([pd.DataFrame(rows), other]).sample(frac=1, random_state=0)}


def compute(tables, **changes):
    settings = {"where": {"benchmark": "warm-start", "arm": "nc1"}, **changes}
    return failure.per_seed(tables, failure.Settings.model_validate(settings))


def test_whether_a_seed_failed_at_a_moment(tables):
    assert compute(tables).to_dict() == {0: 1.0, 1: 1.0, 2: 0.0}
    assert compute(tables, at="first").to_dict() == {0: 0.0, 1: 0.0, 2: 0.0}
    assert compute(tables, at=50).to_dict() == {0: 0.0, 1: 1.0, 2: 0.0}
    assert compute(tables, at="every").to_dict() == pytest.approx({0: 1 / 3, 1: 2 / 3, 2: 0.0})


def test_what_counts_as_failed(tables):
    assert compute(tables, marks=["diverged"]).to_dict() == {0: 0.0, 1: 1.0, 2: 0.0}


def test_a_seed_without_a_row_is_nan(tables):
    rows = tables["continued"]
    tables["continued"] = rows[~((rows["seed"] == 1) & (rows["epoch"] == 100))]
    assert compute(tables).isna().to_dict() == {0: False, 1: True, 2: False}


def test_an_arm_that_was_not_run(tables):
    with pytest.raises(NoRows, match=r"arm wd-0\.1"):
        compute(tables, where={"arm": "wd-0.1"})


def test_the_runs_that_are_read():
    where = {"benchmark": "warm-start", "started_strategy": "warm-up-nc1"}
    settings = failure.Settings.model_validate({"where": {**where, "arm": "nc1"}})
    assert failure.runs(settings) == [where]
