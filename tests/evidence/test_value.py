import pytest

from forgetting.errors import UserError
from forgetting.evidence import value
from forgetting.evidence._rows import NoRows, NotRun

FINAL = {
    "table": "scores",
    "column": "average_accuracy",
    "where": {"strategy": "sgd", "metric": "scenario", "after_task": "last"},
}


def compute(tables, **changes):
    where = {**FINAL["where"], **changes.pop("where", {})}
    settings = {**FINAL, **changes, "where": where}
    return value.per_seed(tables, value.Settings.model_validate(settings))


def test_the_scenario_metric_after_the_last_task(tables):
    found = compute(tables, where={"benchmark": "split-cifar100"})
    assert found.to_dict() == pytest.approx({0: 0.5, 1: 0.6, 2: 0.7})


def test_a_diverged_seed_is_nan(tables):
    found = compute(tables, where={"benchmark": "split-mnist"})
    assert found.to_dict() == pytest.approx({0: 0.5, 1: 0.5, 2: float("nan")}, nan_ok=True)


def test_rows_are_combined_over_named_columns(tables):
    where = {"architecture": "mlp", "strategy": "sgd", "task": 1}
    settings = {"table": "erank", "where": where, "over": ["layer"]}
    means = value.per_seed(tables, value.Settings.model_validate(settings))
    assert means.to_dict() == {0: 27.0, 1: 28.5, 2: 30.0}
    settings["combine"] = "max"
    largest = value.per_seed(tables, value.Settings.model_validate(settings))
    assert largest.to_dict() == {0: 36.0, 1: 38.0, 2: 40.0}


def test_a_seed_that_lacks_a_combined_row_is_nan(tables):
    erank = tables["erank"]
    lost = (erank["seed"] == 1) & (erank["layer"] == "b")
    tables["erank"] = erank[~lost]
    where = {"architecture": "resnet18", "strategy": "sgd", "task": "last"}
    settings = {"table": "erank", "where": where, "over": ["layer"]}
    found = value.per_seed(tables, value.Settings.model_validate(settings))
    assert found.to_dict() == pytest.approx({0: 21.0, 1: float("nan"), 2: 24.0}, nan_ok=True)


def test_several_benchmarks_may_be_combined_though_not_every_pair_exists(tables):
    found = compute(tables, over=["benchmark", "architecture"], combine="min")
    assert found.to_dict() == pytest.approx({0: 0.5, 1: 0.5, 2: float("nan")}, nan_ok=True)


def test_ambiguous_rows_name_what_differs(tables):
    with pytest.raises(UserError, match=r"2 rows for one seed differ in benchmark, architecture"):
        compute(tables)


def test_what_is_missing_is_not_run(tables):
    with pytest.raises(NotRun, match=r"scores\.csv is missing"):
        compute({"runs": tables["runs"]})
    with pytest.raises(NotRun, match=r"scores\.csv is empty"):
        compute({**tables, "scores": tables["scores"].iloc[:0]})
    with pytest.raises(NoRows, match="no rows with strategy ewc"):
        compute(tables, where={"strategy": "ewc"})
    with pytest.raises(NoRows, match="no rows with strategy ewc"):
        compute(tables, where={"strategy": ["sgd", "ewc"]})
    with pytest.raises(
        NoRows, match="no rows with strategy sgd, architecture mlp, benchmark split-cifar100"
    ):
        compute(tables, where={"architecture": "mlp", "benchmark": "split-cifar100"})


def test_an_unknown_column_is_the_users_mistake(tables):
    with pytest.raises(UserError, match=r"no column 'colour'; it has benchmark, architecture"):
        compute(tables, where={"colour": "red"})
    with pytest.raises(UserError, match="no column 'accuracy'"):
        compute(tables, column="accuracy", where={"benchmark": "split-mnist"})


def test_the_runs_that_are_read():
    settings = value.Settings.model_validate(FINAL)
    assert value.runs(settings) == [{"strategy": "sgd"}]
