import pytest

from forgetting.evidence import difference
from forgetting.evidence._rows import NotRun

SETTINGS = {
    "table": "erank",
    "where": {"architecture": "mlp", "layer": "a", "task": "last"},
    "of": {"strategy": "lwf"},
    "minus": {"strategy": "sgd"},
}


def compute(tables, **changes):
    return difference.per_seed(tables, difference.Settings.model_validate({**SETTINGS, **changes}))


def test_paired_within_the_seed(tables):
    # 13 + seed minus 14 + seed; seed 2 of sgd has no last task.
    found = compute(tables)
    assert found.to_dict() == pytest.approx({0: -1.0, 1: -1.0, 2: float("nan")}, nan_ok=True)


def test_pairing_does_not_depend_on_the_order_of_rows(tables):
    expected = compute(tables)
    tables["erank"] = tables["erank"].sample(frac=1, random_state=3)
    assert compute(tables).equals(expected)


def test_sides_may_differ_in_several_columns(tables):
    found = compute(
        tables,
        where={"strategy": "sgd", "task": 0},
        of={"architecture": "mlp", "layer": "b"},
        minus={"architecture": "resnet18", "layer": "a"},
    )
    assert found.to_dict() == {0: 20.0, 1: 21.0, 2: 22.0}


def test_combined_before_subtracting(tables):
    where = {"architecture": "resnet18", "task": 0}
    found = compute(tables, where=where, over=["layer"], combine="max")
    assert found.to_dict() == {0: -20.0, 1: -20.0, 2: -20.0}


def test_a_side_that_was_not_run(tables):
    with pytest.raises(NotRun, match="strategy ewc"):
        compute(tables, minus={"strategy": "ewc"})


def test_the_runs_that_are_read():
    settings = difference.Settings.model_validate(SETTINGS)
    assert difference.runs(settings) == [
        {"architecture": "mlp", "strategy": "lwf"},
        {"architecture": "mlp", "strategy": "sgd"},
    ]
