import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forgetting.errors import UserError
from forgetting.evidence import slope
from forgetting.evidence._rows import NoRows, NotRun

LAYERS = ["stem", "stage1", "stage2", "stage3", "features", "head"]
STRENGTHS = ["ewc~0.5", "ewc~30", "ewc~1000"]


@pytest.fixture
def tables():
    """Similarity of six layers for three strengths and three seeds, and what chance gives."""
    rng = np.random.default_rng(0)
    rows = []
    for strategy in STRENGTHS:
        for seed in (0, 1, 2):
            for depth, layer in enumerate(LAYERS, start=1):
                place = {"strategy": strategy, "seed": seed, "layer": layer, "depth": depth}
                chance = 0.4 / depth
                for statistic, value in (("similarity", rng.uniform()), ("chance", chance)):
                    rows.append({**place, "statistic": statistic, "value": value})
    return {"subspace": pd.DataFrame(rows)}


def compute(tables, **changes):
    settings = {"table": "subspace", "where": {"statistic": "similarity"}, **changes}
    return slope.per_seed(tables, slope.Settings.model_validate(settings))


def points(tables, seed, statistic="similarity", **where):
    rows = tables["subspace"].query("seed == @seed and statistic == @statistic")
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


HIDDEN = {
    "where": {"statistic": "similarity", "strategy": "ewc~30"},
    "leave_out": {"layer": ["features", "head"]},
}


def test_against_depth_equals_a_regression_of_each_seed(tables):
    found = compute(tables, where=HIDDEN["where"])
    hidden = compute(tables, **HIDDEN)
    for seed in (0, 1, 2):
        rows = points(tables, seed, strategy="ewc~30")
        assert found[seed] == pytest.approx(stats.linregress(rows["depth"], rows["value"]).slope)
        rows = rows[~rows["layer"].isin(["features", "head"])]
        assert hidden[seed] == pytest.approx(np.polyfit(rows["depth"], rows["value"], 1)[0])


def test_by_rank_the_slope_is_the_fitted_change_from_first_to_last(tables):
    found = compute(tables, scale="rank", **HIDDEN)
    assert found.to_dict() == pytest.approx((3 * compute(tables, **HIDDEN)).to_dict())


def test_of_two_rungs_by_rank_it_is_their_difference(tables):
    order = ["stage3", "stem"]
    found = compute(tables, where=HIDDEN["where"], along="layer", order=order, scale="rank")
    for seed in (0, 1, 2):
        rows = points(tables, seed, strategy="ewc~30").set_index("layer")["value"]
        assert found[seed] == pytest.approx(rows["stem"] - rows["stage3"])


@pytest.mark.parametrize(("scale", "x"), [("number", [0.5, 30, 1000]), ("rank", [0, 0.5, 1])])
@pytest.mark.parametrize("order", [STRENGTHS, STRENGTHS[::-1]])
def test_numbers_come_from_the_names_of_entries(tables, scale, x, order):
    where = {"statistic": "similarity", "layer": "stage3"}
    found = compute(tables, where=where, along="strategy", order=order, scale=scale)
    decades = compute(tables, where=where, along="strategy", order=order, scale="log10")
    for seed in (0, 1, 2):
        y = points(tables, seed, layer="stage3").set_index("strategy")["value"]
        along = order if scale == "rank" else STRENGTHS  # a rank is the place in the list
        assert found[seed] == pytest.approx(np.polyfit(x, y[along], 1)[0])
        assert decades[seed] == pytest.approx(np.polyfit(np.log10([0.5, 30, 1000]), y, 1)[0])


def test_rungs_left_out_of_the_order_are_not_read(tables):
    where = {"statistic": "similarity", "layer": "stem"}
    found = compute(tables, where=where, along="strategy", order=STRENGTHS[:2], scale="rank")
    y = points(tables, 1, layer="stem")["value"].to_numpy()
    assert found[1] == pytest.approx(y[1] - y[0])


def test_above_chance(tables):
    found = compute(tables, chance={"statistic": "chance"}, **HIDDEN)
    for seed in (0, 1, 2):
        value, chance = (
            points(tables, seed, statistic, strategy="ewc~30")["value"].to_numpy()[:4]
            for statistic in ("similarity", "chance")
        )
        corrected = 1 - (1 - value) / (1 - chance)
        assert found[seed] == pytest.approx(np.polyfit([1, 2, 3, 4], corrected, 1)[0])


def test_what_equals_chance_everywhere_has_no_slope(tables):
    rows = tables["subspace"]
    rows["value"] = 0.4 / rows["depth"]
    assert (compute(tables, **HIDDEN) < -0.05).all()  # chance itself falls with the depth
    assert compute(tables, chance={"statistic": "chance"}, **HIDDEN).to_list() == [0, 0, 0]


def test_a_chance_of_one_leaves_nothing_to_compare(tables):
    rows = tables["subspace"]
    rows.loc[(rows["statistic"] == "chance") & (rows["layer"] == "stem"), "value"] = 1.0
    assert compute(tables, chance={"statistic": "chance"}, **HIDDEN).isna().all()


def test_rows_are_combined_within_a_rung(tables):
    found = compute(tables, over=["strategy"], leave_out=HIDDEN["leave_out"])
    for seed in (0, 1, 2):
        mean = points(tables, seed).groupby("depth")["value"].mean()[[1, 2, 3, 4]]
        assert found[seed] == pytest.approx(np.polyfit(mean.index, mean, 1)[0])


def test_a_seed_that_lacks_a_rung_is_nan(tables):
    rows = tables["subspace"]
    tables["subspace"] = rows[~((rows["seed"] == 1) & (rows["layer"] == "stage2"))]
    assert compute(tables, **HIDDEN).isna().to_dict() == {0: False, 1: True, 2: False}
    where = {"statistic": "similarity", "layer": "stage2"}
    found = compute(tables, where=where, along="strategy", order=STRENGTHS)
    assert found.isna().to_dict() == {0: False, 2: False}
    assert compute(tables, where={"statistic": "similarity", "strategy": "ewc~30"}).isna()[1]


def test_a_rung_without_a_number_is_nan(tables):
    rows = tables["subspace"]
    rows.loc[(rows["seed"] == 2) & (rows["layer"] == "stem"), "value"] = np.nan
    assert compute(tables, **HIDDEN).isna().to_dict() == {0: False, 1: False, 2: True}


def test_a_rung_that_was_not_run(tables):
    where = {"statistic": "similarity", "layer": "stem"}
    with pytest.raises(NoRows, match="strategy ewc~9"):
        compute(tables, where=where, along="strategy", order=["ewc~30", "ewc~9"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "rows for one seed differ in strategy"),
        ({**HIDDEN, "along": "layer"}, "'stem' has no number"),
        ({**HIDDEN, "order": [2]}, "needs two rungs along depth, found 1"),
        ({**HIDDEN, "along": "colour"}, "no column 'colour'"),
        ({**HIDDEN, "leave_out": {"colour": [1]}}, "no column 'colour'"),
    ],
)
def test_what_cannot_be_fitted_is_the_users_mistake(tables, changes, message):
    with pytest.raises(UserError, match=message):
        compute(tables, **changes)


def test_a_table_with_one_rung_has_no_slope(tables):
    rows = tables["subspace"]
    one = {"subspace": rows[rows["depth"] == rows["depth"].min()]}
    with pytest.raises(NotRun, match="one row only along depth"):
        compute(one, **HIDDEN)


def test_decades_need_positive_numbers(tables):
    rows = tables["subspace"]
    rows["strategy"] = rows["strategy"].replace("ewc~0.5", "ewc~0")
    where = {"statistic": "similarity", "layer": "stem"}
    with pytest.raises(UserError, match="above 0, found 0"):
        compute(tables, where=where, along="strategy", order=["ewc~0", "ewc~30"], scale="log10")


def test_the_runs_that_are_read():
    settings = {"table": "cka", "where": {"architecture": "vgg", "strategy": "sgd", "task": 2}}
    read = slope.runs(slope.Settings.model_validate(settings))
    assert read == [{"architecture": "vgg", "strategy": "sgd"}]
    settings = {"table": "cka", "where": {}, "along": "strategy", "order": ["ewc~1", "ewc~2"]}
    read = slope.runs(slope.Settings.model_validate(settings))
    assert read == [{"strategy": "ewc~1"}, {"strategy": "ewc~2"}]
