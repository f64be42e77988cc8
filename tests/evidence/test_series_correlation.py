import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forgetting import statistics
from forgetting.errors import UserError
from forgetting.evidence import series_correlation
from forgetting.evidence._curves import Curves, of_means
from forgetting.evidence._rows import NoRows

PLACE = {"benchmark": "permuted-mnist", "architecture": "mlp"}
TASKS = range(1, 31)
MATCHED = {"table": "performance", "match": ["task"]}


def frame(rows):
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def make(seeds=4, *, noise=1.0, seed=0):
    """Collapse (every third task, and before training) rises as performance falls."""
    rng = np.random.default_rng(seed)
    collapse, performance = [], []
    for number, strategy in itertools.product(range(seeds), ("sgd", "l2")):
        run = {**PLACE, "strategy": strategy, "seed": number}
        for task in TASKS:
            level = 0.9 - 0.004 * task + noise * rng.normal(0, 0.02)
            performance.append({**run, "task": task, "value": level})
        for task in (0, *TASKS[::3]):
            value = 0.2 + 0.005 * task + noise * rng.normal(0, 0.02)
            for statistic, shown in (("nc1", value), ("nc2", -value)):
                collapse.append({**run, "task": task, "statistic": statistic, "value": shown})
    return {"neural_collapse": frame(collapse), "performance": frame(performance)}


def compute(tables, **changes):
    settings = {
        "table": "neural_collapse",
        "where": {**PLACE, "strategy": "sgd", "statistic": "nc1"},
        "other": MATCHED,
        **changes,
    }
    return series_correlation.per_seed(tables, series_correlation.Settings.model_validate(settings))


def points(tables, seed):
    """Tasks, collapse and performance of plain SGD, by hand."""
    rows = tables["neural_collapse"].query("strategy == 'sgd' and statistic == 'nc1' and task > 0")
    x = rows[rows["seed"] == seed].set_index("task")["value"].sort_index()
    other = tables["performance"].query("strategy == 'sgd'")
    y = other[other["seed"] == seed].set_index("task")["value"]
    return x.index.to_numpy(), x.to_numpy(), y[x.index].to_numpy()


def test_rows_of_two_tables_are_joined_where_run_and_task_agree():
    tables = make()
    found = compute(tables)
    for seed in range(4):
        _, x, y = points(tables, seed)
        assert found[seed] == pytest.approx(stats.pearsonr(x, y).statistic)


def test_what_is_left_of_a_line():
    tables = make()
    found = compute(tables, detrend="line")
    for seed in range(4):
        at, x, y = points(tables, seed)
        left = [v - np.polyval(np.polyfit(at, v, 1), at) for v in (x, y)]
        assert found[seed] == pytest.approx(stats.pearsonr(*left).statistic)


def test_changes_from_point_to_point():
    tables = make()
    found = compute(tables, detrend="differences")
    for seed in range(4):
        _, x, y = points(tables, seed)
        steps = [[v[i + 1] - v[i] for i in range(len(v) - 1)] for v in (x, y)]
        assert found[seed] == pytest.approx(stats.pearsonr(*steps).statistic)


@pytest.mark.parametrize("detrend", ["line", "differences"])
def test_a_common_trend_is_no_relation_once_it_is_out(detrend):
    tables = make(80)
    assert (compute(tables) < -0.3).mean() > 0.95
    assert stats.ttest_1samp(compute(tables, detrend=detrend), 0).pvalue > 0.01


def test_fluctuations_beside_a_trend_are_found():
    tables = make(noise=0)
    rng = np.random.default_rng(0)
    shared = {(seed, task): rng.normal(0, 0.02) for seed in range(4) for task in (0, *TASKS)}
    for name, sign in (("neural_collapse", 1), ("performance", -1)):
        rows = tables[name]
        keys = zip(rows["seed"], rows["task"], strict=True)
        rows["value"] += sign * np.array([shared[key] for key in keys])
    for detrend in ("line", "differences"):
        assert (compute(tables, detrend=detrend) < -0.999).all()


def test_the_mean_curves_by_the_jackknife():
    tables = make()
    values = compute(tables, seeds="mean")
    each = [points(tables, seed)[1:] for seed in range(4)]

    def z(seeds):
        x, y = (np.mean([each[seed][k] for seed in seeds], axis=0) for k in (0, 1))
        return np.arctanh(np.corrcoef(x, y)[0, 1])

    for seed in range(4):
        others = [other for other in range(4) if other != seed]
        expected = 4 * z(range(4)) - 3 * z(others)
        assert np.arctanh(values[seed]) == pytest.approx(expected)
    assert compute(tables).mean() > np.tanh(z(range(4)))  # noise hides some of each seed's


def test_seeds_alike_have_the_correlation_of_any_of_them():
    tables = make()
    for name in tables:
        rows = tables[name]
        keys = [column for column in rows if column not in ("seed", "value")]
        tables[name]["value"] = rows.groupby(keys)["value"].transform("mean")
    assert compute(tables, seeds="mean").to_list() == pytest.approx(compute(tables).to_list())


def test_the_interval_is_for_the_curves_without_noise():
    """Whatever the number of seeds; the plain correlation of means is nearer to 0."""
    at = np.arange(1, 31)
    shape = np.sin(at), 0.6 * np.sin(at) + 0.8 * np.cos(at)
    truth = np.arctanh(np.corrcoef(*shape)[0, 1])
    rng = np.random.default_rng(0)
    estimates, plain, covered = [], [], []
    for _ in range(300):
        noisy = np.array(shape)[:, None] + rng.normal(0, 0.5, (2, 5, len(at)))
        values = of_means(Curves(*(pd.DataFrame(each, columns=at) for each in noisy)), "none")
        mean, low, high = np.arctanh(statistics.correlation_interval(values))
        estimates.append(mean)
        plain.append(np.arctanh(np.corrcoef(*noisy.mean(axis=1))[0, 1]))
        covered.append(low < truth < high)
    assert truth - np.mean(plain) > 0.05
    assert abs(np.mean(estimates) - truth) < 0.03
    assert 0.9 < np.mean(covered) < 0.99


def test_a_seed_that_lacks_a_point_is_nan_and_in_no_mean():
    tables = make()
    whole = compute(tables, seeds="mean")
    rows = tables["neural_collapse"]
    cut = ~((rows["seed"] == 1) & (rows["task"] == 4))
    found = compute({**tables, "neural_collapse": rows[cut]})
    assert found.isna().to_dict() == {0: False, 1: True, 2: False, 3: False}
    without = rows[rows["seed"] != 1]
    expected = compute({**tables, "neural_collapse": without}, seeds="mean")
    found = compute({**tables, "neural_collapse": rows[cut]}, seeds="mean")
    assert found.drop(1).to_dict() == pytest.approx(expected.to_dict())
    assert np.isnan(found[1])
    assert not np.allclose(found.drop(1), whole.drop(1))
    rows = tables["performance"]
    rows.loc[(rows["seed"] == 2) & (rows["task"] == 7), "value"] = np.nan
    assert compute(tables).isna().to_dict() == {0: False, 1: False, 2: True, 3: False}


def test_one_seed_has_no_jackknife():
    tables = {name: rows[rows["seed"] == 0] for name, rows in make().items()}
    assert compute(tables, seeds="mean").isna().to_dict() == {0: True}


def test_too_few_points():
    tables = make()
    for detrend, fewest in (("none", 3), ("line", 4), ("differences", 4)):
        for points, missing in ((fewest, False), (fewest - 1, True)):
            found = compute(tables, within={"task": [1, 3 * points - 2]}, detrend=detrend)
            assert found.isna().all() == missing


def ladder():
    """Runs that continue another from epochs 5 to 50: collapse there, accuracy on two tasks."""
    rng = np.random.default_rng(1)
    continued, performance = [], []
    for arm, epoch, seed in itertools.product(("full", "nc1"), range(5, 55, 5), range(3)):
        run = {**PLACE, "strategy": f"{arm}~{epoch}", "seed": seed}
        about = {"arm": arm, "started_strategy": "warm-up", "task": 1, "epoch": float(epoch)}
        numbers = {"nc1": rng.normal(), "accuracy": rng.normal()}
        continued.append({**run, **about, **numbers})
        for task in (1, 2):
            performance.append({**run, "task": task, "value": rng.normal()})
    return {"continued": frame(continued), "performance": frame(performance)}


LADDER = {"table": "continued", "column": "nc1", "along": "epoch", "where": {"arm": "full"}}


def test_two_columns_of_one_table_within_a_range():
    tables = ladder()
    where = {"within": {"epoch": [5, 25]}, "other": {"column": "accuracy"}}
    found = compute(tables, **LADDER, **where)
    for seed in range(3):
        rows = tables["continued"].query("arm == 'full' and epoch <= 25 and seed == @seed")
        expected = stats.pearsonr(rows["nc1"], rows["accuracy"]).statistic
        assert found[seed] == pytest.approx(expected)
    with pytest.raises(NoRows, match="no rows with epoch from 60 to 90"):
        compute(tables, **{**LADDER, **where, "within": {"epoch": [60, 90]}})


def test_a_ladder_of_runs_and_their_number_on_one_task():
    tables = ladder()
    second = {"table": "performance", "where": {"task": 2}}
    found = compute(tables, **{**LADDER, "column": "epoch"}, other=second)
    for seed in range(3):
        rows = tables["performance"].query("task == 2 and seed == @seed")
        rows = rows[rows["strategy"].str.startswith("full")]
        epochs = [float(name.partition("~")[2]) for name in rows["strategy"]]
        assert found[seed] == pytest.approx(stats.pearsonr(epochs, rows["value"]).statistic)
    with pytest.raises(UserError, match="performance has several rows for one"):
        compute(tables, **LADDER, other={"table": "performance"})


def test_points_that_occur_twice_are_refused():
    with pytest.raises(UserError, match="differ in strategy, arm"):
        compute(ladder(), **{**LADDER, "where": {}}, other={"column": "accuracy"})


def test_a_column_that_is_not_there():
    tables = make()
    with pytest.raises(UserError, match="table performance has no column 'accuracy'"):
        compute(tables, other={**MATCHED, "column": "accuracy"})
    with pytest.raises(UserError, match="table neural_collapse has no column 'epoch'"):
        compute(tables, along="epoch")


def test_the_runs_that_are_read():
    where = {**PLACE, "started_strategy": "warm-up", "arm": "full", "mode": "eval"}
    settings = {"table": "continued", "where": where, "other": {"column": "accuracy"}}
    read = series_correlation.runs(series_correlation.Settings.model_validate(settings))
    assert read == [{**PLACE, "started_strategy": "warm-up"}]
    assert series_correlation.IS_CORRELATION
