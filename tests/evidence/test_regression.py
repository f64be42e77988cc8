import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

import sequences
from forgetting.evidence import regression

SEEDS = (0, 1, 2)
TASKS = 30
PLACE = {"benchmark": "permuted-mnist", "architecture": "mlp"}


def make(effect=0.0, *, gap=0.0, seed=0):
    """Performance is 0.5 + 0.004 rank + effect; l2_er has 20 to 60 of rank, l2 10 to 40 - gap."""
    rng = np.random.default_rng(seed)
    curves, rows = {"l2": {}, "l2_er": {}, "reset": {}}, []
    for number in SEEDS:
        curves["reset"][number] = rng.normal(0.7, 0.1, TASKS)
        for strategy, low, high in (("l2", 10, 40 - gap), ("l2_er", 20, 60)):
            rank = rng.uniform(low, high, TASKS)
            level = 0.004 * rank + effect * (strategy == "l2_er") + rng.normal(0, 0.01, TASKS)
            curves[strategy][number] = level + curves["reset"][number]
            for task, value in enumerate(rank, start=1):
                run = {**PLACE, "strategy": strategy, "seed": number, "task": task}
                for moment, shown in (("init", value), ("end", -value)):
                    rows.append({**run, "moment": moment, "value": shown})
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return {**sequences.tables(curves), "feature_rank": frame}


def compute(tables, **changes):
    settings = {
        "table": "performance",
        "where": {"benchmark": "permuted-mnist"},
        "of": "l2_er",
        "minus": "l2",
        "covariate": {"table": "feature_rank", "where": {"moment": "init"}},
        "against": "reset",
        **changes,
    }
    return regression.per_seed(tables, regression.Settings.model_validate(settings))


def joined(tables, seed):
    """Points of a seed, performance less reset's."""
    rows = tables["performance"].query("seed == @seed").set_index(["strategy", "task"])["value"]
    rank = tables["feature_rank"].query("seed == @seed and moment == 'init'")
    points = rank.rename(columns={"value": "x"}).drop(columns="moment")
    keys = zip(points["strategy"], points["task"], strict=True)
    left = [rows[strategy, task] - rows["reset", task] for strategy, task in keys]
    points = points.assign(y=left, of=(points["strategy"] == "l2_er").astype(float))
    x = points.groupby("strategy")["x"]
    return points[(points["x"] >= x.min().max()) & (points["x"] <= x.max().min())]


def test_equals_the_coefficient_of_a_regression_within_the_common_range():
    tables = make(0.03)
    found = compute(tables)
    logarithmic = compute(
        tables,
        covariate={"table": "feature_rank", "where": {"moment": "init"}, "scale": "log10"},
    )
    for seed in SEEDS:
        points = joined(tables, seed)
        assert found[seed] == pytest.approx(smf.ols("y ~ of + x", points).fit().params["of"])
        fit = smf.ols("y ~ of + np.log10(x)", points).fit()
        assert logarithmic[seed] == pytest.approx(fit.params["of"])


def test_by_hand():
    # l2: (1, 1), (3, 3); l2_er: (1, 2), (3, 4): one line each, 1 apart.
    curves = {"l2": {0: [1.0, 3.0]}, "l2_er": {0: [2.0, 4.0]}}
    rows = [
        {**PLACE, "strategy": strategy, "seed": 0, "task": task, "value": 2 * task - 1}
        for strategy in curves
        for task in (1, 2)
    ]
    tables = {**sequences.tables(curves), "feature_rank": pd.DataFrame(rows)}
    found = compute(tables, covariate={"table": "feature_rank"}, against="")
    assert found.to_dict() == pytest.approx({0: 1.0})


def test_an_advantage_through_the_covariate_is_none_at_equal_covariate():
    difference, effects = [], []
    for seed in range(20):
        tables = make(0.0, seed=seed)
        rows = tables["performance"].groupby("strategy")["value"].mean()
        difference.append(rows["l2_er"] - rows["l2"])
        effects += compute(tables).to_list()
    assert np.mean(difference) > 0.05
    assert abs(np.mean(effects)) < 0.003


def test_ranges_that_do_not_meet_have_no_value():
    assert compute(make(0.03, gap=25)).isna().all()


def test_seeds_that_lack_a_point_are_nan():
    tables = make()
    rows = tables["feature_rank"]
    gone = (rows["seed"] == 0) & (rows["task"] == 3) & (rows["strategy"] == "l2")
    tables["feature_rank"] = rows[~gone]
    rows = tables["performance"]
    gone = (rows["seed"] == 1) & (rows["task"] == 5) & (rows["strategy"] == "reset")
    tables["performance"] = rows[~gone]
    assert compute(tables).isna().to_dict() == {0: True, 1: True, 2: False}


def test_rows_left_out():
    tables = make()
    expected = compute(tables)
    first = (tables["performance"]["task"] == 1) & (tables["performance"]["strategy"] == "l2")
    tables["performance"].loc[first, "value"] = 100.0
    without = compute(tables, leave_out={"task": [1]})
    assert (abs(without) < 0.05).all()
    assert without.to_dict() != expected.to_dict()


def test_the_runs_that_are_read():
    settings = {
        "table": "performance",
        "where": {"benchmark": "b"},
        "of": "l2_er",
        "minus": "l2",
        "covariate": {"table": "feature_rank"},
        "against": "reset",
    }
    read = regression.runs(regression.Settings.model_validate(settings))
    assert read == [
        {"benchmark": "b", "strategy": ["l2_er", "l2"]},
        {"benchmark": "b", "strategy": "reset"},
    ]
