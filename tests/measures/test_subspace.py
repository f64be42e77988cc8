"""Subspace similarity against scikit-learn's PCA and closed cases; then the measure."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from forgetting.activations import activation_matrices
from forgetting.errors import UserError
from forgetting.measures import subspace
from forgetting.measures.subspace import principal_directions, subspace_similarity
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged


def random(n: int, m: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of samples of one space, with spread variances and means far from zero."""
    rng = np.random.default_rng(seed)
    spread = 1.3 ** -np.arange(p)
    turn = np.linalg.qr(np.eye(p) + 0.3 * rng.normal(size=(p, p)))[0]
    return rng.normal(size=(n, p)) * spread + 5, rng.normal(size=(m, p)) * spread @ turn - 2


def by_pca(x: np.ndarray, y: np.ndarray, k: int) -> float:
    v, u = (PCA(n_components=k, svd_solver="full").fit(z).components_ for z in (x, y))
    return float(np.linalg.norm(v @ u.T) ** 2 / k)


@pytest.mark.parametrize(("n", "m", "p"), [(50, 40, 8), (12, 30, 25), (12, 14, 60)])
@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_equals_scikit_learn(n: int, m: int, p: int, k: int) -> None:
    x, y = random(n, m, p)
    assert subspace_similarity(x, y, k) == pytest.approx(by_pca(x, y, k), rel=1e-9)
    tensors = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    assert subspace_similarity(*tensors, k) == subspace_similarity(x, y, k)


@pytest.mark.parametrize(("n", "p"), [(30, 6), (6, 30)])
def test_directions_are_the_eigenvectors_of_the_covariance(n: int, p: int) -> None:
    x, _ = random(n, n, p)
    found = principal_directions(x)
    assert found.rank == np.linalg.matrix_rank(x - x.mean(0)) == min(n - 1, p)
    vectors = found.vectors.numpy()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(found.rank), atol=1e-10)
    covariance = np.cov(x.T)
    ratio = (covariance @ vectors)[0] / vectors[0]
    np.testing.assert_allclose(covariance @ vectors, vectors * ratio, atol=1e-9)
    np.testing.assert_allclose(found.variances / found.variances[0], ratio / ratio[0], rtol=1e-8)
    assert (np.diff(found.variances) < 0).all()


def test_planes_at_known_angles() -> None:
    """cos^2 of 30 and 60 degrees, halved: 1/2 * (3/4 + 1/4)."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(100, 2)) * [3, 1]
    plane = np.eye(5)[:2]
    tilted = np.zeros((2, 5))
    tilted[0, 0], tilted[0, 2] = math.sqrt(3) / 2, 1 / 2
    tilted[1, 1], tilted[1, 3] = 1 / 2, math.sqrt(3) / 2
    x, y = weights @ plane, rng.normal(size=(70, 2)) @ tilted
    assert subspace_similarity(x, y, 2) == pytest.approx(0.5, rel=1e-12)
    assert subspace_similarity(x, rng.normal(size=(70, 2)) @ np.eye(5)[2:4], 2) < 1e-20
    assert subspace_similarity(x, y + np.arange(5), 2) == pytest.approx(0.5, rel=1e-12)


def test_chance_is_k_over_p() -> None:
    """The mean over random subspaces; the standard error of 300 draws is below 0.003."""
    rng = np.random.default_rng(0)
    for k, p in ((2, 20), (5, 12)):
        values = [subspace_similarity(*rng.normal(size=(2, 40, p)), k) for _ in range(300)]
        assert np.mean(values) == pytest.approx(k / p, abs=0.01)


@settings(deadline=None, max_examples=60)
@given(st.integers(8, 25), st.integers(8, 25), st.integers(2, 30), st.integers(0, 999), st.data())
def test_bounds_symmetry_and_invariances(
    n: int, m: int, p: int, seed: int, data: st.DataObject
) -> None:
    x, y = random(n, m, p, seed)
    k = data.draw(st.integers(1, min(6, p)))
    value = subspace_similarity(x, y, k)
    assert 0 <= value <= 1 + 1e-12
    assert max(0, 2 * k - p) / k - 1e-9 <= value
    same = pytest.approx(value, rel=1e-6, abs=1e-9)
    assert subspace_similarity(y, x, k) == same
    assert subspace_similarity(np.ldexp(x, 40) + 1, y, k) == same
    assert subspace_similarity(x[::-1].copy(), y, k) == same
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))[0]
    assert subspace_similarity(x @ turn, y @ turn, k) == same
    assert subspace_similarity(x, x, k) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_direction_beyond_the_rank(dtype: type) -> None:
    """Rank 3 after centring, in 10 features of which some are dead."""
    rng = np.random.default_rng(0)
    x = np.zeros((40, 10), dtype=dtype)
    x[:, :6] = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 6)) + 4
    x[:, 7] = 0.1
    y = rng.normal(size=(30, 10)).astype(dtype)
    assert principal_directions(x).rank == 3
    assert subspace_similarity(x, x, 3) == pytest.approx(1, rel=1e-9)
    assert 0 < subspace_similarity(x, y, 3) < 1
    for first, second in ((x, y), (y, x), (x, x)):
        assert math.isnan(subspace_similarity(first, second, 4))
    few = y[:5]
    assert principal_directions(few).rank == 4
    assert math.isnan(subspace_similarity(few, y, 5))


def test_rounding_of_single_precision_is_not_rank() -> None:
    """Rank 2 around a large mean: the last digits of float32 fill all other directions."""
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 8)) + 1000
    rounded = exact.astype(np.float32)
    assert principal_directions(rounded).rank == principal_directions(exact).rank == 2
    # Taken for exact, the same numbers do have more.
    assert principal_directions(rounded.astype(np.float64)).rank == 8
    assert principal_directions(torch.from_numpy(rounded)).rank == 2
    assert subspace_similarity(rounded, exact, 2) == pytest.approx(1, rel=1e-6)


def test_equal_variances_single_out_no_direction() -> None:
    x = np.vstack([np.eye(4), -np.eye(4)])
    x[:, 3] *= 2
    y = random(9, 9, 4)[1]
    assert 0 < subspace_similarity(x, y, 1) < 1
    assert math.isnan(subspace_similarity(x, y, 2))
    assert math.isnan(subspace_similarity(x, y, 3))
    assert subspace_similarity(x, y, 4) == pytest.approx(1, rel=1e-12)


def test_mistakes() -> None:
    x, y = random(10, 10, 4)
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"subspace of {k} dimensions"):
            subspace_similarity(x, y, k)
    with pytest.raises(ValueError, match=r"spaces of \[3, 4\]"):
        subspace_similarity(x, y[:, :3], 2)
    assert math.isnan(subspace_similarity(x, np.zeros((5, 4)), 1))
    x[3, 2] = np.inf
    assert math.isnan(subspace_similarity(x, y, 1))
    assert math.isnan(subspace_similarity(y, x, 1))


@pytest.mark.parametrize("post", ["task 1", "task 2"])
def test_three_conditions(shift: RunView, post: str) -> None:
    given = {"probe": {"images": 13}, "k": [2, 5], "post_task2_inputs": post}
    frame = subspace.measure(shift, subspace.Settings(**given))
    assert list(frame.columns) == list(subspace.COLUMNS)
    only = shift.other("task2_only")
    for index, seed in enumerate(SEEDS):
        inputs = {
            f"task {task}": shift.probe("test", 13, task=task, seed_index=index)[0]
            for task in (1, 2)
        }
        before, after = (shift.network(index, f"task-{task}") for task in (1, 2))
        alone = only.network(index, "task-2")
        expected = {
            "task1-task2": ((before, "task 1"), (alone, "task 2")),
            "task1-task1_post_task2": ((before, "task 1"), (after, "task 1")),
            "task2-task1_post_task2": ((alone, "task 2"), (after, post)),
        }
        for condition, pair in expected.items():
            rows = frame[(frame.seed == seed) & (frame.condition == condition)]
            found = [activation_matrices(net, inputs[task], layout="pooled") for net, task in pair]
            stages = zip(*found, strict=True)
            for depth, ((layer, _, x), (_, _, y)) in enumerate(stages, start=1):
                here = rows[rows.layer == layer].set_index(["statistic", "k"])
                assert set(here.depth) == {depth}
                p = x.shape[1]
                assert set(here.features) == {p}
                ladder = [k for k in (2, 5) if k <= p]
                assert [k for _, k in here.index] == [k for k in ladder for _ in range(2)]
                for k in ladder:
                    assert here.value["chance", k] == k / p
                    value = here.value["subspace_similarity", k]
                    if k <= here["rank"].iloc[0]:
                        assert value == pytest.approx(by_pca(x.numpy(), y.numpy(), k), rel=1e-7)
                    else:
                        assert math.isnan(value)
    assert set(frame.task) == {2}
    assert sorted(about["task"] for about in frame.attrs["probe"]) == [1, 2]


def test_beyond_the_rank_is_nan_and_beyond_the_features_left_out(shift: RunView) -> None:
    frame = subspace.measure(shift, subspace.Settings(probe={"images": 6}, k=[5, 9, 17]))
    features = frame[(frame.layer == "features") & (frame.statistic == "subspace_similarity")]
    assert set(features.k) == {5, 9}
    assert (features["rank"] <= 5).all()
    assert features.value[features.k == 9].isna().all()
    assert frame.value[frame.statistic == "chance"].notna().all()
    assert set(frame.layer[frame.k == 9]) == {"stage4", "features"}


def test_only_some_conditions_need_another_run(shift: RunView) -> None:
    alone = dataclasses.replace(shift, others={})
    with pytest.raises(UserError, match="task2_only"):
        subspace.measure(alone, subspace.Settings())
    given = subspace.Settings(conditions=["task1-task1_post_task2"])
    frame = subspace.measure(alone, given)
    whole = subspace.measure(shift, subspace.Settings())
    whole = whole[whole.condition == "task1-task1_post_task2"]
    assert frame.to_numpy().tolist() == whole.to_numpy().tolist()
    assert [about["task"] for about in frame.attrs["probe"]] == [1]


def test_a_seed_that_diverged_in_either_run_has_no_rows(shift: RunView) -> None:
    assert set(subspace.measure(diverged(shift, 4, 2), subspace.Settings()).seed) == {7}
    other = diverged(shift.other("task2_only"), 7, 2)
    run = dataclasses.replace(shift, others={"task2_only": other})
    assert set(subspace.measure(run, subspace.Settings()).seed) == {4}


def test_flattened_maps(shift: RunView) -> None:
    frame = subspace.measure(shift, subspace.Settings(layout="flattened", k=[2]))
    stem = frame[(frame.layer == "stem") & (frame.condition == "task1-task1_post_task2")]
    assert set(stem.features) == {128}
    images = shift.probe("test", 2000, task=1)[0]
    x, y = (
        shift.network(0, f"task-{task}").activations(images)["stem"].flatten(1).numpy()
        for task in (1, 2)
    )
    value = stem[(stem.seed == 4) & (stem.statistic == "subspace_similarity")].value.item()
    assert value == pytest.approx(by_pca(x, y, 2), rel=1e-8)
