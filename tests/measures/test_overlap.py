"""Trace overlap against the published formula and its closed cases; then the measure."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetting.activations import activation_matrices
from forgetting.measures import overlap
from forgetting.measures.overlap import trace_overlap
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged


def published(x: np.ndarray, y: np.ndarray) -> float:
    """Traces of products of the Gram matrices, as in the paper."""
    own, other, cross = x @ x.T, y @ y.T, x @ y.T
    below = np.trace(own @ own.T) * np.trace(other @ other.T)
    return float(np.trace(cross @ cross.T) / math.sqrt(below))


def random(n: int, m: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, p)) + 2, rng.normal(size=(m, p)) * rng.uniform(0.1, 3, p)


SIZES = [(30, 20, 5), (5, 4, 60), (1, 1, 3), (12, 3, 12), (7, 7, 1)]


@pytest.mark.parametrize(("n", "m", "p"), SIZES)
def test_equals_the_published_formula(n: int, m: int, p: int) -> None:
    x, y = random(n, m, p)
    assert trace_overlap(x, y) == pytest.approx(published(x, y), rel=1e-12)
    tensors = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    assert trace_overlap(*tensors) == trace_overlap(x, y)


@pytest.mark.parametrize(("n", "m", "p"), [size for size in SIZES if size[0] > 1])
def test_centred_is_the_cosine_of_covariances(n: int, m: int, p: int) -> None:
    x, y = random(n, m, p)
    one, other = (np.atleast_2d(np.cov(z.T)) for z in (x, y))
    expected = (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)
    assert trace_overlap(x, y, centred=True) == pytest.approx(expected, rel=1e-10)


def test_orthogonal_features_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    x, y = np.zeros((20, 8)), np.zeros((15, 8))
    x[:, :3], y[:, 3:] = rng.normal(size=(20, 3)), rng.normal(size=(15, 5))
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert trace_overlap(x, y) == 0
    assert trace_overlap(x @ turn, y @ turn) == pytest.approx(0, abs=1e-15)


def test_isotropic_features_in_spaces_that_share_some_directions() -> None:
    """Second moments that are projectors of ranks 4 and 9 with 2 directions in common."""
    x, y = np.eye(11)[:4], np.eye(11)[2:]
    assert trace_overlap(x, y) == pytest.approx(2 / math.sqrt(4 * 9), rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(2, 15), st.integers(2, 15), st.integers(1, 20), st.integers(0, 999)),
    st.booleans(),
    st.floats(1e-3, 1e3),
)
def test_bounds_symmetry_and_invariances(
    case: tuple[int, int, int, int], centred: bool, scale: float
) -> None:
    x, y = random(*case)
    value = trace_overlap(x, y, centred=centred)
    assert -1e-12 <= value <= 1 + 1e-12
    same = pytest.approx(value, rel=1e-8, abs=1e-12)
    assert trace_overlap(y, x, centred=centred) == same
    assert trace_overlap(x * scale, y, centred=centred) == same
    assert trace_overlap(np.vstack([x, x]), y, centred=centred) == same
    turn = np.linalg.qr(np.random.default_rng(case[3]).normal(size=(case[2],) * 2))[0]
    assert trace_overlap(x @ turn, y @ turn, centred=centred) == same
    assert trace_overlap(x, scale * x, centred=centred) == pytest.approx(1, rel=1e-12)


def test_not_defined() -> None:
    x, y = random(6, 5, 3)
    assert math.isnan(trace_overlap(x, np.zeros((4, 3))))
    assert math.isnan(trace_overlap(np.full((4, 3), 0.1), y, centred=True))
    assert trace_overlap(np.full((4, 3), 0.1), y) > 0
    x[0, 0] = np.nan
    assert math.isnan(trace_overlap(x, y))
    with pytest.raises(ValueError, match="3 and 2 features"):
        trace_overlap(x, y[:, :2])


@pytest.mark.parametrize("name", ["shift", "growing"])
def test_every_stage_after_either_task(name: str, request: pytest.FixtureRequest) -> None:
    run: RunView = request.getfixturevalue(name)
    frame = overlap.measure(run, overlap.Settings(probe={"images": 9}))
    assert list(frame.columns) == list(overlap.COLUMNS)
    moments = frame[["seed", "task"]].drop_duplicates().to_numpy().tolist()
    assert moments == [[seed, task] for seed in SEEDS for task in (1, 2)]
    for index, seed in enumerate(SEEDS):
        images = [run.probe("test", 9, task=task, seed_index=index)[0] for task in (1, 2)]
        for task in (1, 2):
            net = run.network(index, f"task-{task}")
            rows = frame[(frame.seed == seed) & (frame.task == task)]
            assert list(rows.layer[::2]) == net.stage_names
            assert list(rows.depth[::2]) == list(range(1, len(net.stage_names) + 1))
            found = [activation_matrices(net, inputs, layout="pooled") for inputs in images]
            for (stage, _, x), (_, _, y) in zip(*found, strict=True):
                values = rows[rows.layer == stage].set_index("statistic").value
                x, y = x.numpy(), y.numpy()
                expected = pytest.approx(published(x, y), rel=1e-10)
                assert values["trace_overlap_uncentred"] == expected
                expected = pytest.approx(published(x - x.mean(0), y - y.mean(0)), rel=1e-7)
                assert values["trace_overlap_centred"] == expected
    assert [(about["task"], len(about["indices"])) for about in frame.attrs["probe"]][:2] == [
        (1, 9),
        (2, 9),
    ]


def test_a_seed_has_rows_until_it_diverged(shift: RunView) -> None:
    frame = overlap.measure(diverged(shift, 4, 2), overlap.Settings(layout="flattened"))
    moments = frame[["seed", "task"]].drop_duplicates().to_numpy().tolist()
    assert moments == [[4, 1], [7, 1], [7, 2]]
    assert frame.features.max() == 128
