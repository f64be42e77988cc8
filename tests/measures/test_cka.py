"""CKA against Song et al.'s definition by loops, its invariances and its bias; then the measure."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetting.activations import activation_matrices
from forgetting.errors import UserError
from forgetting.measures import _matrices, cka
from forgetting.measures.cka import linear_cka
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged


def random(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated feature sets whose means are far from zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 3
    return x, np.tanh(x @ rng.normal(size=(p, q))) + 0.3 * rng.normal(size=(n, q)) - 7


def by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """The biased estimate: sum_ij K'_ij L'_ij of the doubly centred kernels, pair by pair."""

    def kernel(z: np.ndarray) -> list[list[float]]:
        n, raw = len(z), [[float(a @ b) for b in z] for a in z]
        rows, everything = [sum(row) / n for row in raw], sum(map(sum, raw)) / n**2
        return [[raw[i][j] - rows[i] - rows[j] + everything for j in range(n)] for i in range(n)]

    def hsic(k: list[list[float]], other: list[list[float]]) -> float:
        pairs = itertools.product(range(len(k)), repeat=2)
        return sum(k[i][j] * other[i][j] for i, j in pairs)

    k, other = kernel(x), kernel(y)
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


def by_quadruples(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate as the U-statistic that it is: a mean over four distinct samples."""

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        terms = [
            k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
            for i, j, q, r in itertools.permutations(range(len(k)), 4)
        ]
        return float(np.mean(terms))

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


@pytest.mark.parametrize(
    ("n", "p", "q"), [(9, 3, 4), (9, 12, 2), (8, 30, 20), (4, 2, 3), (9, 1, 1)]
)
def test_equals_the_definitions(n: int, p: int, q: int) -> None:
    x, y = random(n, p, q)
    assert linear_cka(x, y) == pytest.approx(by_loops(x, y), rel=1e-10)
    assert linear_cka(x, y, debiased=True) == pytest.approx(by_quadruples(x, y), rel=1e-9)


def test_the_estimator_of_song_et_al_by_matrices() -> None:
    x, y = random(40, 5, 6)
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other, 0)

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        n, one = len(a), np.ones(len(a))
        mixed = (one @ a @ one) * (one @ b @ one) / (n - 1) / (n - 2)
        return (np.trace(a @ b) + mixed - 2 / (n - 2) * (one @ a @ b @ one)) / n / (n - 3)

    expected = hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))
    assert linear_cka(x, y, debiased=True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "p", "q"), [(30, 3, 4), (6, 30, 20), (20, 40, 2)])
def test_both_ways_of_multiplying_agree(n: int, p: int, q: int) -> None:
    x, y = (torch.from_numpy(z) for z in random(n, p, q))
    expected = [float((a.mT @ b).square().sum()) for a, b in ((x, y), (x, x), (y, y))]
    assert _matrices.products(x, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("samples", "expected"), [(64, 0.889), (256, 0.667), (1000, 0.340), (5000, 0.0925)]
)
def test_bias_on_independent_gaussians_of_512_features(samples: int, expected: float) -> None:
    """What the module says of them; the debiased estimate stays near 0 throughout."""
    x, y = np.random.default_rng(0).normal(size=(2, samples, 512))
    assert linear_cka(x, y) == pytest.approx(expected, abs=0.001)
    assert abs(linear_cka(x, y, debiased=True)) < 0.02


CASES = st.tuples(st.integers(5, 20), st.integers(1, 25), st.integers(1, 25), st.integers(0, 999))


@settings(deadline=None, max_examples=80)
@given(CASES, st.booleans())
def test_bounds_symmetry_and_identity(case: tuple[int, int, int, int], debiased: bool) -> None:
    x, y = random(*case)
    value = linear_cka(x, y, debiased)
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert debiased or value >= 0
    assert linear_cka(y, x, debiased) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert linear_cka(x, x, debiased) == pytest.approx(1, rel=1e-12)


@settings(deadline=None, max_examples=80)
@given(CASES, st.booleans(), st.integers(-60, 60))
def test_invariances(case: tuple[int, int, int, int], debiased: bool, exponent: int) -> None:
    """Turning, shifting and scaling the features, and the order of the samples."""
    n, p, _, seed = case
    x, y = random(*case)
    value = pytest.approx(linear_cka(x, y, debiased), rel=1e-7, abs=1e-9)
    rng = np.random.default_rng(seed + 1)
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    assert linear_cka(x @ turn, y, debiased) == value
    assert linear_cka(x + 100 * rng.normal(size=p), y, debiased) == value
    assert linear_cka(np.ldexp(x, exponent), y, debiased) == value
    order = rng.permutation(n)
    assert linear_cka(x[order], y[order], debiased) == value


def test_large_numbers_and_single_precision() -> None:
    x, y = random(20, 4, 4)
    assert linear_cka(x * 1e200, y * 1e-200) == pytest.approx(linear_cka(x, y), rel=1e-12)
    shifted = (x + 100).astype(np.float32)
    found = linear_cka(torch.from_numpy(shifted), torch.from_numpy(y).requires_grad_(), True)
    assert found == pytest.approx(linear_cka(shifted.astype(np.float64), y, True), rel=1e-12)


@pytest.mark.parametrize("debiased", [False, True])
def test_not_defined(debiased: bool) -> None:
    x, y = random(10, 3, 4)
    constant = np.full((10, 3), 0.1) * [1, 1e5, 0]
    assert math.isnan(linear_cka(constant, y, debiased))
    assert math.isnan(linear_cka(y, constant, debiased))
    broken = x.copy()
    broken[2, 1] = np.inf
    assert math.isnan(linear_cka(broken, y, debiased))
    dead = np.hstack([x, constant])
    assert linear_cka(dead, y, debiased) == pytest.approx(linear_cka(x, y, debiased), rel=1e-12)
    with pytest.raises(ValueError, match="same samples, got 10 and 9"):
        linear_cka(x, y[1:], debiased)
    with pytest.raises(ValueError, match="samples x features"):
        linear_cka(x[0], y, debiased)


def test_debiased_needs_four_samples_and_variation_beyond_one() -> None:
    x, y = random(10, 3, 4)
    assert math.isnan(linear_cka(x[:3], y[:3], debiased=True))
    assert linear_cka(x[:3], y[:3]) > 0
    one = np.zeros((10, 3))
    one[4] = 1.3
    assert math.isnan(linear_cka(one, y, debiased=True))
    assert linear_cka(one, y) > 0


def test_every_stage_before_against_after(shift: RunView) -> None:
    frame = cka.measure(shift, cka.Settings(probe={"images": 10}))
    assert list(frame.columns) == list(cka.COLUMNS)
    network = shift.network(0, "task-1")
    assert len(frame) == len(SEEDS) * 7 * 2
    for index, seed in enumerate(SEEDS):
        rows = frame[frame.seed == seed]
        assert list(rows.layer[::2]) == network.stage_names
        assert list(rows.depth[::2]) == [1, 2, 3, 4, 5, 6, 7]
        images, _, chosen = shift.probe("test", 10, task=1, seed_index=index)
        nets = shift.network(index, "task-1"), shift.network(index, "task-2")
        pairs = zip(*(activation_matrices(n, images, layout="pooled") for n in nets), strict=True)
        for (name, layout, x), (_, _, y) in pairs:
            row = rows[rows.layer == name].set_index("statistic")
            assert row.value["cka_biased"] == pytest.approx(
                by_loops(x.numpy(), y.numpy()), rel=1e-9
            )
            assert row.value["cka_debiased"] == linear_cka(x, y, debiased=True)
            assert set(row.samples) == {10}
            assert set(row.features) == {x.shape[1]}
            assert set(row.layout) == {layout}
        assert set(rows.task) == {2}
        assert set(rows.inputs) == {"task 1"}
    (about,) = frame.attrs["probe"]
    assert (about["task"], about["seeds"], about["images"]) == (1, SEEDS, 10)
    assert about["indices"] == chosen.tolist()


def test_layout_and_inputs_are_settings(shift: RunView) -> None:
    plain = cka.measure(shift, cka.Settings())
    flat = cka.measure(shift, cka.Settings(layout="flattened"))
    second = cka.measure(shift, cka.Settings(inputs="task 2"))
    assert list(flat.features[flat.seed == 4][::2]) == [128, 128, 64, 32, 16, 16, 3]
    head = plain.layer == "head"
    assert list(flat.value[head]) == list(plain.value[head])
    assert not np.isclose(
        flat.value[plain.layer == "stem"], plain.value[plain.layer == "stem"]
    ).any()
    assert set(second.inputs) == {"task 2"}
    assert second.attrs["probe"][0]["task"] == 2
    assert not np.isclose(second.value[head], plain.value[head]).any()


def test_a_probe_of_each_seed_where_tasks_differ(growing: RunView) -> None:
    probes = cka.measure(growing, cka.Settings()).attrs["probe"]
    assert [about["seeds"] for about in probes] == [[4], [7]]
    assert probes[0]["indices"] != probes[1]["indices"]


def test_a_diverged_seed_has_no_rows(shift: RunView) -> None:
    frame = cka.measure(diverged(shift, 4, 2), cka.Settings())
    assert set(frame.seed) == {7}
    nothing = cka.measure(diverged(diverged(shift, 4, 2), 7, 1), cka.Settings())
    assert len(nothing) == 0
    assert list(nothing.columns) == list(cka.COLUMNS)
    # Where every seed diverged in task 2, no weights were kept after it.
    none = diverged(diverged(shift, 4, 2), 7, 2)
    moments = {n: at for n, at in none.record["checkpoint_tasks"].items() if at["task"] < 2}
    gone = dataclasses.replace(none, record={**none.record, "checkpoint_tasks": moments})
    assert len(cka.measure(gone, cka.Settings())) == 0


def test_a_run_without_task_1_is_refused(shift: RunView) -> None:
    with pytest.raises(UserError, match="no weights were kept after task 1"):
        cka.measure(shift.other("task2_only"), cka.Settings())
