import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from forgetting import statistics

# Three tasks; rows: before training, after task 1, 2, 3.
R = np.array(
    [
        [0.10, 0.20, 0.30],
        [0.90, 0.25, 0.35],
        [0.70, 0.80, 0.45],
        [0.60, 0.85, 0.95],
    ]
)


def test_golden_scores():
    assert statistics.average_accuracy(R) == pytest.approx((0.60 + 0.85 + 0.95) / 3)
    # Task 1: max(.90, .70) - .60; task 2: max(.25, .80) - .85.
    assert statistics.forgetting(R) == pytest.approx((0.30 - 0.05) / 2)
    assert statistics.backward_transfer(R) == pytest.approx((-0.30 + 0.05) / 2)
    assert statistics.forward_transfer(R) == pytest.approx((0.05 + 0.15) / 2)
    assert statistics.learning_accuracy(R) == pytest.approx((0.90 + 0.80 + 0.95) / 3)


def test_forgetting_takes_its_maximum_over_published_rows_only():
    best_before_training = R.copy()
    best_before_training[0, 0] = 1.0  # row 0 is no row of the maximum
    assert statistics.forgetting(best_before_training) == statistics.forgetting(R)
    best_last = R.copy()
    best_last[3, 1] = 1.0  # nor is the last: a task that improved is forgotten negatively
    assert statistics.forgetting(best_last) == pytest.approx((0.30 - 0.20) / 2)
    best_before_learning = R.copy()
    best_before_learning[1, 1] = 0.99  # a row before the task was learned is
    assert statistics.forgetting(best_before_learning) == pytest.approx((0.30 + 0.14) / 2)


def loops(matrix: np.ndarray) -> dict[str, float]:
    """The definitions written out, one index at a time, tasks counted from 1."""
    tasks = matrix.shape[1]

    def a(after: int, task: int) -> float:
        return float(matrix[after, task - 1])

    lost, back, forward = [], [], []
    for j in range(1, tasks):
        lost.append(max(a(row, j) for row in range(1, tasks)) - a(tasks, j))
        back.append(a(tasks, j) - a(j, j))
    for j in range(2, tasks + 1):
        forward.append(a(j - 1, j) - a(0, j))
    return {
        "average_accuracy": sum(a(tasks, j) for j in range(1, tasks + 1)) / tasks,
        "learning_accuracy": sum(a(j, j) for j in range(1, tasks + 1)) / tasks,
        "forgetting": sum(lost) / len(lost),
        "backward_transfer": sum(back) / len(back),
        "forward_transfer": sum(forward) / len(forward),
    }


accuracies = st.floats(0, 1, width=32)
matrices = st.integers(2, 6).flatmap(
    lambda tasks: arrays(np.float64, (tasks + 1, tasks), elements=accuracies)
)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_scores_equal_the_loops(matrix):
    for name, expected in loops(matrix).items():
        assert getattr(statistics, name)(matrix) == pytest.approx(expected, abs=1e-12)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_forgetting_is_at_least_minus_backward_transfer(matrix):
    assert statistics.forgetting(matrix) >= -statistics.backward_transfer(matrix) - 1e-12


def test_one_task_has_no_transfer_and_no_forgetting():
    one = [[0.1], [0.9]]
    assert statistics.average_accuracy(one) == statistics.learning_accuracy(one) == 0.9
    for name in ("forgetting", "backward_transfer", "forward_transfer"):
        assert math.isnan(getattr(statistics, name)(one))


def test_unseen_tasks_may_be_unevaluated():
    seen = R.copy()
    seen[np.triu_indices(4, k=0, m=3)] = np.nan  # evaluate: seen
    assert np.isnan(seen[0]).all()
    assert statistics.forgetting(seen) == pytest.approx((0.30 - 0.05) / 2)
    assert statistics.backward_transfer(seen) == statistics.backward_transfer(R)
    assert math.isnan(statistics.forward_transfer(seen))


@pytest.mark.parametrize(("row", "column"), [(1, 0), (2, 0), (3, 0)])
def test_a_diverged_run_has_no_forgetting(row, column):
    matrix = R.copy()
    matrix[row, column] = np.nan
    assert math.isnan(statistics.forgetting(matrix))


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (3,), (1, 0), (2, 4, 3)])
def test_a_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"\(tasks \+ 1, tasks\)"):
        statistics.average_accuracy(np.zeros(shape))


def test_torch_tensors_are_accepted():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(R, requires_grad=True)
    assert statistics.forgetting(tensor) == statistics.forgetting(R)


VALUES = [0.61, 0.58, 0.70, 0.64, 0.66]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_t_interval_below_ten_seeds(level):
    found = statistics.interval(VALUES, level)
    low, high = DescrStatsW(VALUES).tconfint_mean(alpha=1 - level)
    assert found == pytest.approx((np.mean(VALUES), low, high))


def test_interval_of_three_seeds_by_hand():
    # Mean 2, standard deviation 1, t(0.975, 2) = 4.302653.
    mean, low, high = statistics.interval([1.0, 2.0, 3.0])
    assert (mean, high - mean, mean - low) == pytest.approx((2, 2.4841377, 2.4841377))


def bca_by_hand(values: np.ndarray, level: float, resamples: int) -> tuple[float, float]:
    """Efron's BCa interval of the mean, from the book's formulas."""
    rng = np.random.default_rng(5)
    means = rng.choice(values, (resamples, len(values))).mean(axis=1)
    bias = stats.norm.ppf((means < values.mean()).mean())
    jackknife = np.array([np.delete(values, i).mean() for i in range(len(values))])
    away = jackknife.mean() - jackknife
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    limits = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + stats.norm.ppf(tail)
        limits.append(stats.norm.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(means, limits)
    return float(low), float(high)


def test_bca_bootstrap_from_ten_seeds():
    values = np.random.default_rng(1).gamma(4.0, size=14)
    found = statistics.interval(values)
    low, high = bca_by_hand(values, 0.95, 200_000)
    # Quantiles of 9,999 resamples scatter by about 0.03 standard errors.
    tolerance = 0.12 * values.std() / math.sqrt(14)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=tolerance)
    assert found.high == pytest.approx(high, abs=tolerance)
    assert found == statistics.interval(values)  # seeded
    t = stats.t.interval(0.95, 13, values.mean(), stats.sem(values))
    assert abs(found.high - t[1]) > tolerance or abs(found.low - t[0]) > tolerance


def test_nine_values_give_t_and_ten_give_the_bootstrap():
    values = np.random.default_rng(2).normal(size=10)
    t = stats.t.interval(0.95, 8, values[:9].mean(), stats.sem(values[:9]))
    assert statistics.interval(values[:9])[1:] == pytest.approx(t)
    t = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    assert statistics.interval(values).low != pytest.approx(t[0])


def test_missing_values_are_dropped():
    assert statistics.interval([*VALUES, np.nan]) == statistics.interval(VALUES)
    assert statistics.prediction_interval([np.nan, *VALUES]) == statistics.prediction_interval(
        VALUES
    )


@pytest.mark.parametrize("values", [[], [np.nan], [0.4], [0.4, np.nan]])
@pytest.mark.parametrize(
    "function",
    [statistics.interval, statistics.prediction_interval, statistics.correlation_interval],
)
def test_no_limits_below_two_values(function, values):
    mean, low, high = function(values)
    assert math.isnan(low)
    assert math.isnan(high)
    assert math.isnan(mean) == (0.4 not in values)


@pytest.mark.parametrize("count", [2, 5, 10, 30])
def test_equal_values_have_a_point_for_an_interval(count):
    assert statistics.interval([0.3] * count) == (pytest.approx(0.3),) * 3


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_outside_the_unit_interval_are_refused(level):
    with pytest.raises(ValueError, match="level"):
        statistics.interval(VALUES, level)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(-3, 3), st.floats(0.1, 4))
@settings(max_examples=60, deadline=None)
def test_interval_moves_with_its_values(values, shift, scale):
    found = statistics.interval(values)
    moved = statistics.interval([scale * value + shift for value in values])
    assert found.low <= found.mean + 1e-12
    assert found.mean <= found.high + 1e-12
    assert moved == pytest.approx([scale * limit + shift for limit in found], abs=1e-8)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_prediction_interval_equals_that_of_a_regression_on_a_constant(count):
    values = np.random.default_rng(count).normal(0.6, 0.1, count)
    frame = sm.OLS(values, np.ones(count)).fit().get_prediction([[1.0]]).summary_frame(alpha=0.05)
    expected = frame[["mean", "obs_ci_lower", "obs_ci_upper"]].to_numpy()[0]
    assert statistics.prediction_interval(values) == pytest.approx(expected)


def test_prediction_interval_covers_one_further_run():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        draws = rng.normal(size=6)
        _, low, high = statistics.prediction_interval(draws[:5])
        inside += low <= draws[5] <= high
    assert stats.binomtest(inside, 400, 0.95).pvalue > 0.001


def test_correlation_interval_by_hand():
    r = np.array([0.5, 0.7, 0.9])
    z = 0.5 * np.log((1 + r) / (1 - r))
    half = 4.302652729911275 * z.std(ddof=1) / math.sqrt(3)
    expected = [math.tanh(v) for v in (z.mean(), z.mean() - half, z.mean() + half)]
    assert statistics.correlation_interval(r) == pytest.approx(expected)
    half *= math.sqrt(3) * math.sqrt(1 + 1 / 3)
    expected = [math.tanh(v) for v in (z.mean(), z.mean() - half, z.mean() + half)]
    assert statistics.correlation_interval(r, prediction=True) == pytest.approx(expected)


def test_correlation_interval_from_ten_seeds_is_the_bootstrap_on_z():
    r = np.random.default_rng(3).uniform(0.2, 0.9, 11)
    expected = np.tanh(statistics.interval(np.arctanh(r)))
    assert statistics.correlation_interval(r) == pytest.approx(expected)


def test_perfect_correlations_stay_finite():
    assert statistics.correlation_interval([1, 1, 1]) == pytest.approx((1, 1, 1), abs=1e-5)
    mean, low, high = statistics.correlation_interval([-1, 0.2, 0.5])
    assert -1 <= low < mean < high <= 1


def test_impossible_correlations_are_refused():
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        statistics.correlation_interval([0.5, 1.5])


@given(
    arrays(np.float64, (2, 8), elements=st.integers(-6, 6).map(float)),
)
@settings(max_examples=60, deadline=None)
def test_correlations_equal_scipy(pair):
    x, y = pair
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(statistics.pearson(x, y))
        assert math.isnan(statistics.spearman(x, y))
        return
    assert statistics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert statistics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_correlations_need_three_points_and_no_gaps():
    assert math.isnan(statistics.pearson([1, 2], [3, 5]))
    assert math.isnan(statistics.pearson([1, 2, np.nan], [3, 5, 4]))
    assert math.isnan(statistics.spearman([1, 2, np.nan], [3, 5, 4]))
    with pytest.raises(ValueError, match="one length"):
        statistics.pearson([1, 2, 3], [1, 2])


def test_a_constant_with_rounding_is_constant():
    assert math.isnan(statistics.pearson([0.1 + 0.2, 0.3, 0.3], [1, 2, 3]))


def test_partial_correlation_with_one_covariate_is_the_recursion():
    x, y, z = np.random.default_rng(4).normal(size=(3, 20))
    x, y = x + z, y - 2 * z
    xy, xz, yz = (np.corrcoef(*pair)[0, 1] for pair in ((x, y), (x, z), (y, z)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert statistics.partial_correlation(x, y, z[:, None]) == pytest.approx(expected)
    ranks = [stats.rankdata(v) for v in (x, y, z)]
    xy, xz, yz = (np.corrcoef(ranks[i], ranks[j])[0, 1] for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    found = statistics.partial_correlation(x, y, z[:, None], method="spearman")
    assert found == pytest.approx(expected)


def test_partial_correlation_equals_that_of_regression_residuals():
    rng = np.random.default_rng(6)
    design = np.column_stack([rng.normal(size=30), rng.integers(0, 2, 30), rng.integers(0, 2, 30)])
    x, y = rng.normal(size=(2, 30)) + design.sum(axis=1)
    left = [sm.OLS(v, sm.add_constant(design)).fit().resid for v in (x, y)]
    expected = stats.pearsonr(*left).statistic
    assert statistics.partial_correlation(x, y, design) == pytest.approx(expected)
    redundant = np.column_stack([design, design[:, :1]])
    assert statistics.partial_correlation(x, y, redundant) == pytest.approx(expected)


def test_partial_correlation_without_covariates_is_pearson():
    x, y = np.random.default_rng(7).normal(size=(2, 10))
    empty = np.empty((10, 0))
    assert statistics.partial_correlation(x, y, empty) == pytest.approx(statistics.pearson(x, y))


def test_partial_correlation_of_what_is_explained_is_undefined():
    z = np.arange(6.0)
    assert math.isnan(statistics.partial_correlation(3 * z + 1, z**2, z[:, None]))
    assert math.isnan(statistics.partial_correlation(z, z**2, np.eye(6)[:, 1:]))  # nothing left
    assert math.isnan(statistics.partial_correlation(z, z**2, np.full((6, 1), np.nan)))


def test_partial_correlation_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="covariates"):
        statistics.partial_correlation([1, 2, 3], [1, 2, 4], [1, 2, 3])
    with pytest.raises(ValueError, match="method"):
        statistics.partial_correlation([1, 2, 3], [1, 2, 4], [[1], [2], [2]], method="kendall")


def test_spearman_inside_keeps_perfect_agreement_half_a_step_off_the_end() -> None:
    x = [0.1, 0.4, 0.5, 2.0]
    step = 12 / (4**3 - 4)
    assert statistics.spearman_inside(x, x) == pytest.approx(1 - step / 2)
    assert statistics.spearman_inside(x, x[::-1]) == pytest.approx(step / 2 - 1)
    mixed = [0.4, 0.1, 0.5, 2.0]
    assert statistics.spearman_inside(x, mixed) == statistics.spearman(x, mixed)
    assert np.isnan(statistics.spearman_inside([1.0], [1.0]))


@pytest.mark.parametrize("count", [3, 5, 12])
def test_equal_values_on_a_grid_spread_as_rounding_does(count: int) -> None:
    mean, low, high = statistics.interval([0.5] * count, step=0.1)
    # Numbers that are rounded to the grid, drawn uniformly around it.
    drawn = np.random.default_rng(0).uniform(0.45, 0.55, 200_000)
    half = stats.t.ppf(0.975, count - 1) * drawn.std() / np.sqrt(count)
    assert mean == 0.5
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), rel=0.01)
    unequal = [0.5, 0.6, *[0.5] * (count - 2)]
    assert statistics.interval(unequal, step=0.1) == statistics.interval(unequal)


@pytest.mark.parametrize("have", range(6))
def test_share_interval_is_the_exact_binomial(have: int) -> None:
    values = [1.0] * have + [0.0] * (5 - have)
    exact = stats.binomtest(have, 5).proportion_ci(0.95, method="exact")
    found = statistics.share_interval([*values, float("nan")])
    assert found == pytest.approx((have / 5, exact.low, exact.high))
    assert np.isnan(statistics.share_interval([])).all()
