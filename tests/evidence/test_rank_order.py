import itertools

import pandas as pd
import pytest
from scipy import stats

from forgetting.evidence import rank_order

SETTINGS = {
    "table": "erank",
    "where": {"architecture": "resnet18", "layer": "a", "task": "last"},
    "order": ["lwf", "sgd"],
}


def compute(tables, **changes):
    return rank_order.per_seed(tables, rank_order.Settings.model_validate({**SETTINGS, **changes}))


def test_smallest_step_is_positive_exactly_when_the_order_holds(tables):
    assert compute(tables).to_dict() == {0: 1.0, 1: 1.0, 2: 1.0}
    assert compute(tables, order=["sgd", "lwf"]).to_dict() == {0: -1.0, 1: -1.0, 2: -1.0}
    assert compute(tables, descending=True).to_dict() == {0: -1.0, 1: -1.0, 2: -1.0}


def test_an_order_along_tasks(tables):
    tables["erank"].loc[lambda rows: rows["task"] == 2, "value"] += 0.25
    where = {"architecture": "mlp", "strategy": "lwf", "layer": "a"}
    found = compute(tables, where=where, along="task", order=[0, 1, 2, 3])
    assert found.to_dict() == {0: 0.75, 1: 0.75, 2: 0.75}


def test_a_seed_that_lacks_a_member_is_nan(tables):
    where = {"architecture": "mlp", "layer": "a", "task": "last"}
    for method in ("smallest_step", "kendall"):
        found = compute(tables, where=where, method=method)
        assert found.to_dict() == pytest.approx({0: 1, 1: 1, 2: float("nan")}, nan_ok=True)


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2, 3])))
def test_kendall_equals_scipy_without_ties(tables, order):
    where = {"architecture": "mlp", "strategy": "lwf", "layer": "a"}
    found = compute(tables, where=where, along="task", order=list(order), method="kendall")
    # The values of lwf grow with the task, so the claimed ranks are compared with the order.
    assert found[0] == pytest.approx(stats.kendalltau(range(4), order).statistic)


def test_the_runs_that_are_read():
    settings = rank_order.Settings.model_validate(SETTINGS)
    assert [selection["strategy"] for selection in rank_order.runs(settings)] == ["lwf", "sgd"]


def test_a_tie_is_not_taken_for_the_opposite_order():
    # b and c are equal but for noise; the least step of every seed would be -1 for both.
    noise = {"a": (0, 0), "b": (9, 7), "c": (8, 8)}
    rows = [
        {"benchmark": "b", "architecture": "m", "strategy": name, "seed": seed, "value": value}
        for name, values in noise.items()
        for seed, value in enumerate(values)
    ]
    settings = {"table": "erank", "where": {"architecture": "m"}, "order": ["a", "b", "c"]}
    found = compute({"erank": pd.DataFrame(rows)}, **settings)
    assert found.to_dict() == {0: -1.0, 1: 1.0}


def test_a_step_of_tau_is_one_pair_more_in_order():
    settings = rank_order.Settings.model_validate({**SETTINGS, "order": list("abcd")})
    assert rank_order.step({}, settings) == 0
    settings = settings.model_copy(update={"method": "kendall"})
    orders = itertools.permutations(range(4))
    taus = sorted({round(stats.kendalltau(range(4), order).statistic, 9) for order in orders})
    assert rank_order.step({}, settings) == pytest.approx(taus[1] - taus[0])
