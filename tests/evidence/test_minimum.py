import numpy as np
import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence import minimum
from forgetting.evidence._rows import NoRows

FRACTIONS = [0, 0.05, 0.1, 0.2, 0.5, 1]
RUNGS = [f"dilution~{fraction}" for fraction in FRACTIONS]
CURVES = {
    0: [0.8, 0.7, 0.6, 0.7, 0.9, 1.0],  # a dip at 0.1
    1: [0.5, 0.7, 0.8, 0.8, 0.9, 1.0],  # smallest at the start
    2: [0.8, 0.8, 0.8, 0.6, 0.6, 0.9],  # 0.2 and 0.5 alike
}


@pytest.fixture
def tables():
    rows = [
        {"benchmark": rung, "seed": seed, "value": value}
        for seed, curve in CURVES.items()
        for rung, value in zip(RUNGS, curve, strict=True)
    ]
    return {"accuracy": pd.DataFrame(rows).sample(frac=1, random_state=1)}


def compute(tables, **changes):
    settings = {"table": "accuracy", "where": {}, "along": "benchmark", "order": RUNGS, **changes}
    return minimum.per_seed(tables, minimum.Settings.model_validate(settings))


def test_the_number_of_the_smallest_rung(tables):
    assert compute(tables).to_dict() == pytest.approx({0: 0.1, 1: 0.0, 2: 0.35})


def test_the_order_of_the_rungs_does_not_matter(tables):
    assert compute(tables, order=RUNGS[::-1]).equals(compute(tables))


def test_only_the_named_rungs_count(tables):
    assert compute(tables, order=RUNGS[3:]).to_list() == pytest.approx([0.2, 0.2, 0.35])


def test_equals_argmin_where_nothing_ties(tables):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, len(RUNGS)))
    rows = [
        {"benchmark": rung, "seed": seed, "value": values[seed, place], "layer": layer}
        for seed in range(40)
        for place, rung in enumerate(RUNGS)
        for layer in ("a", "b")
    ]
    found = compute({"accuracy": pd.DataFrame(rows)}, over=["layer"])
    assert found.to_list() == [FRACTIONS[place] for place in values.argmin(axis=1)]


def test_a_seed_that_lacks_a_rung_is_nan(tables):
    rows = tables["accuracy"]
    kept = ~((rows["seed"] == 0) & (rows["benchmark"] == "dilution~1"))
    assert compute({"accuracy": rows[kept]}).isna().to_dict() == {0: True, 1: False, 2: False}
    rows.loc[(rows["seed"] == 1) & (rows["benchmark"] == "dilution~0.2"), "value"] = np.nan
    assert compute({"accuracy": rows}).isna().to_dict() == {0: False, 1: True, 2: False}


def test_a_rung_that_was_not_run(tables):
    with pytest.raises(NoRows, match=r"benchmark dilution~0\.7"):
        compute(tables, order=[*RUNGS, "dilution~0.7"])


def test_a_rung_without_a_number(tables):
    tables["accuracy"]["benchmark"] = tables["accuracy"]["benchmark"].replace(RUNGS[0], "none")
    with pytest.raises(UserError, match="'none' has no number"):
        compute(tables, order=["none", *RUNGS[1:]])


def test_the_runs_that_are_read():
    settings = minimum.Settings.model_validate(
        {
            "table": "accuracy",
            "where": {"strategy": "sgd", "task": 1},
            "along": "benchmark",
            "order": RUNGS[:2],
        }
    )
    read = minimum.runs(settings)
    assert read == [{"strategy": "sgd", "benchmark": rung} for rung in RUNGS[:2]]
