import pandas as pd
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


def test_changes_since_a_task_are_compared(tables):
    # Layer b falls by 12 and layer a by 6 of mlp sgd, by seeds that have a last task.
    where = {"architecture": "mlp", "strategy": "sgd", "task": "last"}
    sides = {"of": {"layer": "b"}, "minus": {"layer": "a"}}
    found = compute(tables, where=where, baseline={"task": 0}, **sides)
    assert found.to_dict() == pytest.approx({0: -6, 1: -6, 2: float("nan")}, nan_ok=True)


def test_effects_of_a_strategy_are_compared(tables):
    # After task 2 lwf has 12 in layer a and sgd 16; in layer b both have twice that.
    where = {"architecture": "resnet18", "strategy": "lwf", "task": 2}
    sides = {"of": {"layer": "b"}, "minus": {"layer": "a"}}
    found = compute(tables, where=where, baseline={"strategy": "sgd"}, **sides)
    assert found.to_dict() == {0: -4.0, 1: -4.0, 2: -4.0}
    settings = {"table": "erank", "where": where, "baseline": {"strategy": "sgd"}, **sides}
    read = difference.runs(difference.Settings.model_validate(settings))
    assert {selection["strategy"] for selection in read} == {"lwf", "sgd"}


def test_changes_are_combined(tables):
    where = {"architecture": "mlp", "strategy": "lwf"}
    sides = {"of": {"task": 3}, "minus": {"task": 1}}
    found = compute(tables, where=where, baseline={"task": 0}, over=["layer"], **sides)
    assert found.to_dict() == {0: 3.0, 1: 3.0, 2: 3.0}  # 3 and 6, less 1 and 2


def test_a_baseline_that_was_not_run(tables):
    with pytest.raises(NotRun, match="strategy ewc"):
        compute(tables, baseline={"strategy": "ewc"})


def test_a_share_of_another_column(tables):
    tables["scores"] = tables["scores"].assign(learned=0.8)
    settings = {"table": "scores", "column": "average_accuracy", "per": "learned"}
    where = {"architecture": "resnet18", "metric": "scenario", "after_task": "last"}
    found = compute(tables, **settings, where=where)
    assert found.to_dict() == pytest.approx(dict.fromkeys((0, 1, 2), 0.25 / 0.8))


def test_above_chance_on_either_side(tables):
    # Similarities 0.5 and 0.75 where random subspaces have 0.25 and 0.5: 1/3 and 1/2 above chance.
    about = {"architecture": "mlp", "strategy": "sgd", "benchmark": "b", "seed": 0}
    numbers = {
        ("a", "value"): 0.5,
        ("a", "chance"): 0.25,
        ("b", "value"): 0.75,
        ("b", "chance"): 0.5,
    }
    rows = [{**about, "layer": la, "statistic": st, "value": v} for (la, st), v in numbers.items()]
    tables["subspace"] = pd.DataFrame(rows)
    settings = {
        "table": "subspace",
        "where": {"statistic": "value"},
        "chance": {"statistic": "chance"},
    }
    found = compute(tables, **settings, of={"layer": "b"}, minus={"layer": "a"})
    assert found.to_dict() == pytest.approx({0: 1 / 2 - 1 / 3})


def test_what_is_taken_away_may_be_combined_otherwise(tables):
    # Tasks 1 and 2 of lwf have 11 and 12, plus the seed: the mean less the lower of tasks 0 and 3.
    where = {"architecture": "mlp", "strategy": "lwf", "layer": "a"}
    sides = {"of": {"task": [1, 2]}, "minus": {"task": [0, 3]}, "over": ["task"]}
    found = compute(tables, where=where, **sides, combine_minus="min")
    assert found.to_dict() == {0: 1.5, 1: 1.5, 2: 1.5}
    assert compute(tables, where=where, **sides).to_dict() == {0: 0.0, 1: 0.0, 2: 0.0}
