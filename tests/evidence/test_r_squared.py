import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sequences
from forgetting.evidence import correlation, r_squared

SEEDS = (0, 1, 2)
TASKS = range(1, 9)


@pytest.fixture
def tables():
    """A rank by two estimators beside performance; reset is hard on even tasks."""
    rng = np.random.default_rng(0)
    rows, curves = [], {"sgd": {}, "l2": {}, "reset": {}}
    for seed in SEEDS:
        curves["reset"][seed] = [0.9 - 0.3 * (task % 2 == 0) for task in TASKS]
        for strategy in ("sgd", "l2"):
            rank = rng.uniform(size=len(TASKS))
            level = 0.2 * rank + np.array(curves["reset"][seed]) + rng.normal(0, 0.02, len(TASKS))
            curves[strategy][seed] = level
            for task in TASKS:
                point = {"strategy": strategy, "seed": seed, "task": task}
                for estimator in ("quadrature", "published"):
                    x = rank[task - 1] if estimator == "quadrature" else rng.uniform()
                    point = {
                        **point,
                        "estimator": estimator,
                        "rank": x,
                        "performance": level[task - 1],
                    }
                    rows.append({"benchmark": "permuted-mnist", "architecture": "mlp", **point})
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return {**sequences.tables(curves), "rank_and_performance": frame}


def settings_of(module, **changes):
    settings = {
        "table": "rank_and_performance",
        "x": "rank",
        "y": "performance",
        "where": {"benchmark": "permuted-mnist", "estimator": "quadrature"},
        **changes,
    }
    return module.Settings.model_validate(settings)


def compute(tables, **changes):
    return r_squared.per_seed(tables, settings_of(r_squared, **changes))


def of_seed(tables, seed, estimator="quadrature"):
    return tables["rank_and_performance"].query("seed == @seed and estimator == @estimator")


def explained(x, y):
    """1 - residual / total sum of squares of a fitted line."""
    left = y - np.polyval(np.polyfit(x, y, 1), x)
    return 1 - (left @ left) / ((y - y.mean()) @ (y - y.mean()))


def test_the_share_of_the_variance_that_a_line_explains(tables):
    found = compute(tables)
    for seed in SEEDS:
        rows = of_seed(tables, seed)
        x, y = rows["rank"].to_numpy(), rows["performance"].to_numpy()
        assert found[seed] == pytest.approx(explained(x, y))
        assert found[seed] == pytest.approx(stats.linregress(x, y).rvalue ** 2)


def test_a_falling_line_explains_as_much(tables):
    before = compute(tables)
    tables["rank_and_performance"]["rank"] *= -1
    assert compute(tables).to_dict() == pytest.approx(before.to_dict())


def test_a_difference_of_two(tables):
    where = {"benchmark": "permuted-mnist"}
    marks = {"of": {"estimator": "quadrature"}, "minus": {"estimator": "published"}}
    found = compute(tables, where=where, **marks)
    for seed in SEEDS:
        first, second = (
            stats.linregress(rows["rank"], rows["performance"]).rvalue ** 2
            for rows in (of_seed(tables, seed), of_seed(tables, seed, "published"))
        )
        assert found[seed] == pytest.approx(first - second)


def test_how_hard_a_task_is_can_be_taken_out(tables):
    assert (compute(tables) < 0.5).all()
    found = compute(tables, against="reset")
    assert (found > 0.7).all()
    rows = of_seed(tables, 1)
    fresh = np.where(rows["task"] % 2 == 0, 0.6, 0.9)
    expected = stats.linregress(rows["rank"], rows["performance"] - fresh).rvalue ** 2
    assert found[1] == pytest.approx(expected)
    related = correlation.per_seed(tables, settings_of(correlation, against="reset"))
    assert related.to_dict() == pytest.approx((found**0.5).to_dict())


def test_a_correlation_leaves_rows_out_as_well(tables):
    left = {"task": [1, 2], "strategy": ["sgd", "none"]}
    squared = compute(tables, leave_out=left)
    related = correlation.per_seed(tables, settings_of(correlation, leave_out=left))
    rows = of_seed(tables, 2).query("task > 2 and strategy == 'l2'")
    expected = stats.pearsonr(rows["rank"], rows["performance"]).statistic
    assert related[2] == pytest.approx(expected)
    assert squared[2] == pytest.approx(expected**2)


def test_a_seed_without_its_yardstick_or_a_point_is_nan(tables):
    performance = tables["performance"]
    gone = (performance["strategy"] == "reset") & (performance["seed"] == 1)
    tables["performance"] = performance[~(gone & (performance["task"] == 8))]
    rows = tables["rank_and_performance"]
    tables["rank_and_performance"] = rows[~((rows["seed"] == 2) & (rows["task"] == 3))]
    found = compute(tables, against="reset")
    assert found.isna().to_dict() == {0: False, 1: True, 2: True}


def test_a_constant_explains_nothing(tables):
    tables["rank_and_performance"]["rank"] = 0.5
    assert compute(tables).isna().all()


def test_the_runs_that_are_read():
    where = {"benchmark": "permuted-mnist", "eps": 0.01}
    marks = {"of": {"strategy": "sgd"}, "minus": {"strategy": "l2"}}
    settings = settings_of(r_squared, where=where, against="reset", **marks)
    named = [run["strategy"] for run in r_squared.runs(settings)]
    assert named == ["sgd", "l2", "reset"]
    assert correlation.runs(settings_of(correlation, where=where)) == [
        {"benchmark": "permuted-mnist"}
    ]


def test_a_search_takes_the_largest_of_every_seed(tables):
    rows = tables["rank_and_performance"]
    noise = np.random.default_rng(1).normal(size=len(rows))
    other = rows.assign(rank=rows["rank"] + noise, eps=0.1)
    tables["rank_and_performance"] = pd.concat([rows.assign(eps=0.01), other])
    where = {"benchmark": "permuted-mnist", "estimator": "quadrature"}
    each = [compute(tables, where={**where, "eps": eps}) for eps in (0.01, 0.1)]
    found = compute(tables, search="eps")
    assert found.to_dict() == np.maximum(*each).to_dict()
    assert (found > np.minimum(*each)).all()
    assert compute(tables, where={**where, "eps": [0.1]}, search="eps").equals(each[1])
