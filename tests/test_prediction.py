"""What is planted is found, what is not is not, and the numbers are those of other programs."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from forgetting import prediction, statistics
from forgetting.findings import text
from forgetting.outcomes import FORGETTING, OUTCOMES, PLASTICITY
from forgetting.prediction import MEAN, held_out, predict
from planted import FAMILIES, points


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return points()


@pytest.fixture(scope="module")
def found(table: pd.DataFrame) -> pd.DataFrame:
    return predict(table)


def mean_of(found: pd.DataFrame, instrument: str, outcome: str = FORGETTING) -> pd.Series:
    rows = found[(found["instrument"] == instrument) & (found["held_out"] == MEAN)]
    return rows[rows["outcome"] == outcome].iloc[0]


def test_an_instrument_that_drives_the_outcome_is_found(found: pd.DataFrame) -> None:
    row = mean_of(found, "drives")
    assert row["gain_low"] > 0
    assert row["spearman_low"] > mean_of(found, "task_index")["spearman"]
    assert row["partial_low"] > 0
    assert (row["points"], row["seeds"]) == (len(points()), 4)


def test_a_useless_one_and_a_common_trend_are_not_credited(found: pd.DataFrame) -> None:
    """Both have the trend's correlation: that alone is no merit of the instrument."""
    trend = mean_of(found, "task_index")
    assert trend["spearman_low"] > 0
    for name in ("useless", "confound"):
        row = mean_of(found, name)
        assert row["gain_low"] < 0.02
        assert row["gain"] < 0.05
        assert row["spearman"] == pytest.approx(trend["spearman"], abs=0.1)
        assert abs(row["partial"]) < 0.15


def test_one_that_turns_round_from_family_to_family_misleads(found: pd.DataFrame) -> None:
    rows = found[(found["instrument"] == "misleads") & (found["outcome"] == FORGETTING)]
    of_first = rows[rows["held_out"] == next(iter(FAMILIES))].iloc[0]
    assert of_first["gain_high"] < 0
    assert set(rows["held_out"]) == {*FAMILIES, MEAN}


def test_a_fold_is_what_another_program_makes_of_it(table: pd.DataFrame) -> None:
    rows = table[table["seed"] == 1]
    out = (rows["family"] == "split mnist").to_numpy()
    task, both = rows[["task"]].to_numpy(float), rows[["task", "drives"]].to_numpy(float)
    y = rows[FORGETTING].to_numpy()
    foretold, without = (
        LinearRegression().fit(x[~out], y[~out]).predict(x[out]) for x in (both, task)
    )
    spearman, gain = held_out(both, y, out, over=task)
    assert spearman == pytest.approx(stats.spearmanr(foretold, y[out]).statistic)
    errors = [((y[out] - each) ** 2).sum() for each in (foretold, without)]
    assert gain == pytest.approx(1 - errors[0] / errors[1])
    mean = y[~out].mean()
    assert held_out(task, y, out)[1] == pytest.approx(1 - errors[1] / ((y[out] - mean) ** 2).sum())


def test_scale_does_not_matter(table: pd.DataFrame, found: pd.DataFrame) -> None:
    other = predict(table.assign(drives=1e-9 * table["drives"] + 5))
    pd.testing.assert_frame_equal(other, found, rtol=1e-4)


def test_the_seed_is_the_unit(table: pd.DataFrame, found: pd.DataFrame) -> None:
    """The interval of a family is that of the numbers of its seeds, by the project's one rule."""
    values = []
    for _, rows in table.groupby("seed"):
        out = (rows["family"] == "permuted mnist").to_numpy()
        x, task = rows[["task", "drives"]].to_numpy(float), rows[["task"]].to_numpy(float)
        values.append(held_out(x, rows[PLASTICITY].to_numpy(), out, over=task))
    row = found[
        (found["instrument"] == "drives")
        & (found["outcome"] == PLASTICITY)
        & (found["held_out"] == "permuted mnist")
    ].iloc[0]
    spearman, gain = np.transpose(values)
    assert tuple(row[["gain", "gain_low", "gain_high"]]) == statistics.interval(gain)
    expected = statistics.correlation_interval(spearman)
    assert tuple(row[["spearman", "spearman_low", "spearman_high"]]) == expected


def test_seeds_of_other_numbers_are_other_seeds_all_the_same(table: pd.DataFrame) -> None:
    """A benchmark with seeds 7 to 10 has a first to a fourth seed, too."""
    moved = table.assign(seed=table["seed"] + 7 * (table["family"] == "split mnist"))
    pd.testing.assert_frame_equal(predict(moved), predict(table))


def test_the_partial_correlation_holds_task_and_place_fixed(table: pd.DataFrame) -> None:
    """A level of a benchmark that goes with the outcome's is no relation within one."""
    levels = dict(zip(FAMILIES, (0.0, 3.0, 6.0), strict=True))
    shift = table["family"].map(levels)
    rng = np.random.default_rng(1)
    planted = table.assign(level=shift + rng.normal(size=len(table)), **{FORGETTING: shift})
    planted[FORGETTING] += rng.normal(size=len(table))
    assert stats.spearmanr(planted["level"], planted[FORGETTING]).statistic > 0.6
    row = mean_of(predict(planted), "level")
    assert abs(row["partial"]) < 0.15


def test_few_points_and_one_family_are_said_not_raised(table: pd.DataFrame) -> None:
    one = predict(points(families=["split mnist"]))
    assert one["gain"].isna().all()
    assert mean_of(one, "drives")["partial_low"] > 0
    assert set(one["reason"]) == {"only split mnist has both, so nothing can be held out"}
    without = predict(table.assign(**{PLASTICITY: np.nan}))
    none = mean_of(without, "drives", PLASTICITY)
    assert none["reason"] == "no point has both, so nothing can be held out"
    few = table[(table["family"] != "split mnist") | (table["task"] == 1)]
    few = few[(few["family"] != "split mnist") | (few["strategy"] != "ewc")]
    rows = predict(few)
    short = rows[(rows["held_out"] == "split mnist") & (rows["instrument"] == "drives")]
    assert set(short["reason"]) == {"too few points of a seed, or all alike"}
    # The others are judged as if it could be, too, and the mean is theirs.
    mean = mean_of(rows, "drives")
    rest = rows[rows["held_out"].isin([*FAMILIES][1:]) & (rows["instrument"] == "drives")]
    assert mean["gain"] == pytest.approx(rest.loc[rest["outcome"] == FORGETTING, "gain"].mean())


def test_a_missing_measurement_leaves_its_point_out_of_that_instrument_alone(
    table: pd.DataFrame,
) -> None:
    first = table["task"] == 1
    rows = predict(table.assign(useless=table["useless"].mask(first)))
    assert mean_of(rows, "useless")["points"] == len(table) - first.sum()
    assert mean_of(rows, "drives")["points"] == len(table)


def test_all_together_is_the_model_with_every_instrument_that_networks_have() -> None:
    table = points()
    names = {"drives": "log10_nc1", "useless": "dead_units", "misleads": "cka_to_past"}
    found = predict(table.rename(columns=names))
    rows = table[table["seed"] == 0]
    out = (rows["family"] == "split cifar10").to_numpy()
    x = rows[["task", "drives", "useless"]].to_numpy(float)
    y, task = rows[FORGETTING].to_numpy(), rows[["task"]].to_numpy(float)
    alone = predict(table[table["seed"] == 0].rename(columns=names))
    mine = alone[(alone["instrument"] == "together") & (alone["held_out"] == "split cifar10")]
    assert mine["gain"].iloc[0] == pytest.approx(held_out(x, y, out, over=task)[1])
    assert mean_of(found, "together")["gain_low"] > 0
    assert "together" not in set(predict(table)["instrument"])


def test_the_text_says_what_the_table_says(table: pd.DataFrame, found: pd.DataFrame) -> None:
    said = text(table, found, "small")
    for outcome in ("## Forgetting", "## Loss of plasticity"):
        part = said.partition(outcome)[2].partition("\n## ")[0]
        assert "foretold by drives; misled by" in part
        assert "it grows with drives" in part
        row = mean_of(found, "drives")
        numbers = (row["gain"], row["gain_low"], row["gain_high"])
        assert "| drives | {:.2f} [{:.2f}, {:.2f}] |".format(*numbers) in part
    assert f"| split mnist | collapse | 1 | 1 | 3 | 4 | 5 | {4 * 3 * 5} | {4 * 3 * 5} |" in said
    assert "4 instruments are tried" in said
    nothing = text(table, predict(table.assign(**dict.fromkeys(OUTCOMES, np.nan))), "small")
    assert nothing.count("Nothing can be held out: no point has both.") == 2


def test_instruments_come_in_one_order(table: pd.DataFrame) -> None:
    named = table.rename(columns={"useless": "log10_nc1", "drives": "weight_effective_rank"})
    names = prediction.instruments(named)
    assert names == ["weight_effective_rank", "log10_nc1", "confound", "misleads"]


def test_a_predictor_that_varies_by_rounding_alone_foretells_nothing():
    generator = np.random.default_rng(0)
    out = np.arange(12) >= 6
    y = generator.normal(size=12)
    same = 5.0 * (1 + 1e-15 * generator.normal(size=12))
    same[out] += generator.normal(size=6)
    _, gain = held_out(same[:, None], y, out)
    assert gain == pytest.approx(0, abs=1e-9)
    _, gain = held_out((5 + 1e-3 * generator.normal(size=12))[:, None], y, out)
    assert abs(gain) > 1e-3
