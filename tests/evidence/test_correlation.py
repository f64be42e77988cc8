import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from forgetting.evidence import correlation


def make(seeds):
    """Rank lost and forgetting over tasks and networks, related only through both of them."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for shift, architecture in enumerate(("mlp", "convgru")):
            for task in range(2, 8):
                common = 0.1 * task + 0.3 * shift
                x, y = common + rng.normal(0, 0.05, 2)
                run = {"architecture": architecture, "seed": seed, "task": task}
                rows.append({**run, "rank_lost": x, "forgetting": y})
    return {"forgetting_rank": pd.DataFrame(rows)}


@pytest.fixture
def tables():
    return make(3)


def compute(tables, **changes):
    settings = {
        "table": "forgetting_rank",
        "x": "rank_lost",
        "y": "forgetting",
        "where": {"architecture": "mlp"},
    }
    settings = correlation.Settings.model_validate({**settings, **changes})
    return correlation.per_seed(tables, settings)


def of_seed(tables, seed):
    rows = tables["forgetting_rank"]
    return rows[rows["seed"] == seed]


@pytest.mark.parametrize(
    ("method", "reference"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)]
)
def test_within_each_seed(tables, method, reference):
    found = compute(tables, method=method, where={"architecture": ["mlp", "convgru"]})
    for seed in (0, 1, 2):
        rows = of_seed(tables, seed)
        expected = reference(rows["rank_lost"], rows["forgetting"]).statistic
        assert found[seed] == pytest.approx(expected)
    one = compute(tables, method="pearson")  # of mlp alone
    rows = of_seed(tables, 0).query("architecture == 'mlp'")
    expected = stats.pearsonr(rows["rank_lost"], rows["forgetting"]).statistic
    assert one[0] == pytest.approx(expected)


def test_perfect_ranks_are_held_half_a_step_inside(tables):
    rows = tables["forgetting_rank"]
    rows["forgetting"] = rows["rank_lost"] ** 3
    # Six points: the next value of rho below 1 is 1 - 12 / 210.
    assert compute(tables, method="spearman").to_list() == pytest.approx([1 - 6 / 210] * 3)
    rows["forgetting"] *= -1
    assert compute(tables, method="spearman").to_list() == pytest.approx([6 / 210 - 1] * 3)


def test_held_fixed_equals_a_regression_on_categories(tables):
    found = compute(tables, where={}, hold=["task", "architecture"])
    for seed in (0, 1, 2):
        rows = of_seed(tables, seed)
        left = [
            smf.ols(f"{column} ~ C(task) + C(architecture)", rows).fit().resid
            for column in ("rank_lost", "forgetting")
        ]
        assert found[seed] == pytest.approx(stats.pearsonr(*left).statistic)


def test_holding_fixed_removes_a_relation_that_only_passes_through():
    tables = make(60)
    raw = compute(tables, where={})
    fixed = compute(tables, where={}, hold=["task", "architecture"])
    assert (raw > 0.8).all()
    assert stats.ttest_1samp(fixed, 0).pvalue > 0.01


def test_a_seed_with_fewer_points_is_nan(tables):
    rows = tables["forgetting_rank"]
    tables["forgetting_rank"] = rows[~((rows["seed"] == 1) & (rows["task"] == 7))]
    assert compute(tables).isna().to_dict() == {0: False, 1: True, 2: False}


def test_a_point_without_a_number_counts_as_missing(tables):
    rows = tables["forgetting_rank"]
    rows.loc[(rows["seed"] == 2) & (rows["task"] == 7), "forgetting"] = np.nan
    assert compute(tables).isna().to_dict() == {0: False, 1: False, 2: True}


def test_nothing_to_correlate(tables):
    tables["forgetting_rank"]["forgetting"] = np.nan
    assert compute(tables).isna().to_dict() == {0: True, 1: True, 2: True}


def test_the_interval_is_taken_on_the_z_scale():
    assert correlation.IS_CORRELATION


def test_within_is_the_mean_of_the_parts_on_the_z_scale(tables):
    both = ["mlp", "convgru"]
    # A network whose numbers spread a thousand times as widely counts as much as the other.
    rows = tables["forgetting_rank"]
    wide = rows["architecture"] == "convgru"
    rows.loc[wide, "rank_lost"] *= 1000
    parts = [compute(tables, where={"architecture": name}, hold=["task"]) for name in both]
    found = compute(tables, where={"architecture": both}, hold=["task"], within=["architecture"])
    expected = np.tanh(np.mean(np.arctanh(parts), axis=0))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_within_needs_every_part(tables):
    rows = tables["forgetting_rank"]
    rows.loc[(rows["architecture"] == "convgru") & (rows["seed"] == 1), "rank_lost"] = 0.5
    found = compute(tables, where={"architecture": ["mlp", "convgru"]}, within=["architecture"])
    assert found.isna().to_dict() == {0: False, 1: True, 2: False}
