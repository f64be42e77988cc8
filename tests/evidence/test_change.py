import pytest

from forgetting.errors import UserError
from forgetting.evidence import change

NAN = float("nan")


def compute(tables, **changes):
    where = {"architecture": "mlp", "strategy": "sgd", **changes.pop("where", {})}
    settings = change.Settings.model_validate({"table": "erank", "where": where, **changes})
    return change.per_seed(tables, settings)


def test_relative_from_before_training_to_the_last_task(tables):
    # 20 + seed falls by 6; seed 2 never reached the last task.
    found = compute(tables, where={"layer": "a"})
    assert found.to_dict() == pytest.approx({0: -6 / 20, 1: -6 / 21, 2: NAN}, nan_ok=True)


def test_absolute_between_two_tasks_leaves_out_a_seed_without_its_last(tables):
    found = compute(tables, where={"layer": "b"}, start=1, end=2, relative=False)
    assert found.to_dict() == pytest.approx({0: -4.0, 1: -4.0, 2: NAN}, nan_ok=True)


def test_changes_of_layers_are_taken_apart_and_combined(tables):
    relative = compute(tables, over=["layer"])
    assert relative[0] == pytest.approx(-6 / 20)
    steepest = compute(tables, over=["layer"], combine="min", relative=False)
    gentlest = compute(tables, over=["layer"], combine="max", relative=False)
    assert (steepest[0], gentlest[0]) == (-12.0, -6.0)


def test_the_peak(tables):
    erank = tables["erank"]
    summit = (erank["strategy"] == "lwf") & (erank["task"] == 2) & (erank["layer"] == "a")
    tables["erank"].loc[summit, "value"] = 40
    where = {"strategy": "lwf", "layer": "a"}
    rise = compute(tables, where=where, start=0, end="peak")
    fall = compute(tables, where=where, start="peak", end="last")
    assert rise.to_dict() == pytest.approx({0: 30 / 10, 1: 29 / 11, 2: 28 / 12})
    assert fall.to_dict() == pytest.approx({0: -27 / 40, 1: -26 / 40, 2: -25 / 40})


def test_the_peak_of_a_diverged_run_is_unknown(tables):
    found = compute(tables, where={"layer": "a"}, start=0, end="peak")
    assert found.to_dict() == pytest.approx({0: 0.0, 1: 0.0, 2: NAN}, nan_ok=True)


def test_nothing_changes_from_a_task_to_itself(tables):
    assert (compute(tables, where={"layer": "a"}, start=1, end=1).dropna() == 0).all()


def test_a_negative_start_keeps_the_direction(tables):
    tables["erank"]["value"] *= -1  # -20 rises to -14
    found = compute(tables, where={"layer": "a"})
    assert found[0] == pytest.approx(6 / 20)


def test_ambiguous_rows_are_refused(tables):
    with pytest.raises(UserError, match="differ in layer"):
        compute(tables)


def test_the_network_before_training_need_not_count(tables):
    # 20 + seed before training and 18 + seed after task 1, the highest from there on.
    found = compute(tables, where={"layer": "a"}, start="peak", end="last", since=1)
    assert found.to_dict() == pytest.approx({0: -4 / 18, 1: -4 / 19, 2: NAN}, nan_ok=True)


def test_nothing_is_relative_to_zero(tables):
    tables["erank"].loc[tables["erank"]["task"] == 0, "value"] = 0.0
    assert compute(tables, where={"layer": "a"}).isna().all()
