"""Effective rank against the full SVD, closed forms and its invariances; then the measure."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from forgetting import activations
from forgetting.activations import activation_matrices, arrange
from forgetting.architectures import convgru, mlp, resnet18
from forgetting.measures import erank
from forgetting.measures.erank import effective_rank
from forgetting.stages import Stages
from forgetting.weights import weight_matrices


def by_svd(matrix: np.ndarray) -> float:
    """The definition, from the singular values themselves."""
    sigma = np.linalg.svd(matrix, compute_uv=False)
    sigma = sigma[sigma > max(matrix.shape) * np.finfo(float).eps * sigma[0]]
    p = sigma / sigma.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def with_spectrum(sigma: np.ndarray, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left, right = orthogonal(rows, rng)[:, : len(sigma)], orthogonal(columns, rng)[:, : len(sigma)]
    return left * sigma @ right.T


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_identity_has_full_rank(n: int) -> None:
    assert effective_rank(np.eye(n)) == pytest.approx(n, rel=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 500), (400, 400)])
def test_an_outer_product_has_rank_one(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    matrix = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))
    assert effective_rank(matrix) == 1.0


def test_known_entropies() -> None:
    """Entropies of (1/2, 1/4, 1/4) and (0.9, 0.1), the singular values unsquared."""
    assert effective_rank(np.diag([2.0, 1.0, 1.0])) == pytest.approx(2**1.5, rel=1e-14)
    expected = math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert effective_rank(np.diag([9.0, -1.0, 0.0])) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (64, 64), (500, 32), (3, 200)])
@pytest.mark.parametrize("decades", [0, 2, 5])
def test_equals_the_svd(shape: tuple[int, int], decades: int) -> None:
    sigma = np.logspace(0, -decades, min(shape))
    matrix = with_spectrum(sigma, *shape)
    assert effective_rank(matrix) == pytest.approx(by_svd(matrix), rel=1e-8)
    assert effective_rank(torch.from_numpy(matrix)) == effective_rank(matrix)


def test_rounding_is_not_counted_as_rank() -> None:
    """Rank 20 in 400 x 2,000: without a floor, 380 roots of rounding would add up."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 2000))
    assert effective_rank(matrix) == pytest.approx(by_svd(matrix), rel=1e-10)
    assert effective_rank(matrix) <= 20


def test_what_the_gram_matrix_cannot_see_is_as_small_as_stated() -> None:
    """A hundred singular values just below the floor: 0.2 % of the result, not more."""
    floor = math.sqrt(2000 * np.finfo(float).eps)
    matrix = with_spectrum(np.array([1.0] * 2 + [0.9 * floor] * 100), 2000, 150)
    assert effective_rank(matrix) == pytest.approx(2.0, rel=1e-12)
    assert by_svd(matrix) == pytest.approx(2.0, rel=2e-3)
    assert by_svd(matrix) > 2.0005


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_zeros_nothing_and_what_is_not_finite(kind: type) -> None:
    assert effective_rank(kind(np.zeros((4, 3)))) == 0.0
    assert effective_rank(kind(np.zeros((0, 3)))) == 0.0
    for value in (np.nan, np.inf, -np.inf):
        broken = np.eye(3)
        broken[1, 2] = value
        assert math.isnan(effective_rank(kind(broken)))
    with pytest.raises(ValueError, match="two axes"):
        effective_rank(kind(np.ones(3)))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_a_batch_is_its_matrices(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(2, 3, *shape))
    batch[0, 1] = 0
    batch[1, 2, 0, 0] = np.nan
    batch[1, 0] = np.outer(np.ones(shape[0]), np.ones(shape[1]))
    ranks = effective_rank(batch)
    assert ranks.shape == (2, 3)
    assert ranks.dtype == np.float64
    expected = [[effective_rank(matrix) for matrix in row] for row in batch]
    np.testing.assert_array_equal(np.isnan(ranks), np.isnan(expected))
    np.testing.assert_allclose(ranks, expected, rtol=1e-13)
    assert effective_rank(np.zeros((0, 4, 4))).shape == (0,)


def test_single_precision_is_computed_in_double() -> None:
    matrix = with_spectrum(np.logspace(0, -5, 20), 50, 20).astype(np.float32)
    assert effective_rank(matrix) == pytest.approx(by_svd(matrix.astype(np.float64)), rel=1e-8)
    tensor = torch.from_numpy(matrix).requires_grad_()
    assert effective_rank(tensor) == effective_rank(matrix)
    assert effective_rank(np.array([[3, 0], [0, 3]])) == pytest.approx(2)


MATRICES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


@settings(deadline=None, max_examples=150)
@given(MATRICES)
def test_between_one_and_the_rank(matrix: np.ndarray) -> None:
    value = effective_rank(matrix)
    if not matrix.any():
        assert value == 0.0
        return
    assert 1.0 <= value <= min(matrix.shape)
    assert value <= np.linalg.matrix_rank(matrix / np.abs(matrix).max()) + 1e-9


@settings(deadline=None, max_examples=100)
@given(MATRICES, st.integers(0, 2**32 - 1))
def test_orthogonal_maps_and_transposition_change_nothing(matrix: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turned = orthogonal(matrix.shape[0], rng) @ matrix @ orthogonal(matrix.shape[1], rng)
    # A singular value at the floor may fall to either side of it: 1e-5 of the largest carries
    # little mass, hence the tolerance.
    assert effective_rank(turned) == pytest.approx(effective_rank(matrix), rel=1e-5)
    assert effective_rank(matrix.T) == pytest.approx(effective_rank(matrix), rel=1e-5)


@settings(deadline=None, max_examples=100)
@given(MATRICES, st.integers(-900, 900), st.sampled_from([1, -1]))
def test_scale_changes_nothing(matrix: np.ndarray, exponent: int, sign: int) -> None:
    """Powers of two are exact, so even squares that would overflow must not matter."""
    entries = np.abs(matrix[matrix != 0])
    if len(entries) and entries.min() < 1e-20:
        return  # scaling down would itself round
    scaled = sign * np.ldexp(matrix, exponent)
    assert effective_rank(scaled) == pytest.approx(effective_rank(matrix), rel=1e-12)


def test_layouts_of_feature_maps() -> None:
    maps = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert torch.equal(arrange(maps, "pooled"), maps.mean((2, 3)))
    assert torch.equal(arrange(maps, "flattened"), maps.reshape(2, 60))
    positions = arrange(maps, "positions")
    assert positions.shape == (40, 3)
    assert torch.equal(positions[20 + 7], maps[1, :, 1, 2])
    sequence = maps[:, :, None].expand(2, 3, 6, 4, 5)
    assert torch.allclose(arrange(sequence, "pooled"), maps.mean((2, 3)))
    assert arrange(sequence, "positions").shape == (240, 3)
    units = torch.randn(2, 3)
    for layout in ("pooled", "flattened", "positions"):
        assert arrange(units, layout) is units


def resnet(seed: int = 0) -> Stages:
    generator = torch.Generator().manual_seed(seed)
    return resnet18.build((3, 8, 8), 4, resnet18.Settings(width=2), generator)


@pytest.mark.parametrize("layout", ["pooled", "flattened", "positions"])
def test_activations_in_batches_are_those_of_all_images(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = resnet().double()
    images = torch.randn(25, 3, 8, 8, dtype=torch.float64, generator=torch.Generator())
    monkeypatch.setattr(activations, "forward_batch", lambda device: 10)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = list(activation_matrices(net.train(), images, layout=layout))
    whole = net.eval().activations(images)
    assert [name for name, _, _ in found] == net.stage_names
    for name, named, matrix in found:
        assert named == (layout if whole[name].dim() > 2 else "units")
        torch.testing.assert_close(matrix, arrange(whole[name], layout), rtol=1e-12, atol=1e-12)
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@dataclasses.dataclass
class Moment:
    name: str
    task: int
    epoch: int


class Run:
    """A run of two seeds over two tasks; the second seed diverged in task 2."""

    seeds = (3, 8)
    checkpoints = (Moment("a", 0, 0), Moment("b", 1, 2), Moment("c", 1, 0), Moment("d", 2, 0))

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []

    def alive(self, seed: int, task: int) -> bool:
        return seed == 3 or task < 2

    def network(self, seed_index: int, checkpoint: str) -> Stages:
        self.asked.append((seed_index, checkpoint))
        return resnet(10 * seed_index + ord(checkpoint)).eval()

    def probe(self, split: str, images: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(len(split))
        inputs = torch.randn(images, 3, 8, 8, generator=generator)
        return inputs, torch.zeros(images), torch.arange(images) + 5


def measured(**given: object) -> tuple[pd.DataFrame, Run]:
    run = Run()
    return erank.measure(run, erank.Settings(**given)), run  # type: ignore[arg-type]


def test_every_layer_and_stage_of_every_task_end() -> None:
    frame, run = measured(probe={"images": 40})
    assert list(frame.columns) == list(erank.COLUMNS)
    assert run.asked == [(0, "a"), (1, "a"), (0, "c"), (1, "c"), (0, "d")]
    moments = frame[["seed", "task"]].drop_duplicates().to_numpy().tolist()
    assert moments == [[3, 0], [3, 1], [3, 2], [8, 0], [8, 1]]
    one = frame[(frame.seed == 3) & (frame.task == 1)]
    weights, activations = one[one.matrix == "weight"], one[one.matrix == "activation"]
    net = run.network(0, "c")
    assert list(weights.layer) == list(weight_matrices(net))
    assert list(activations.layer) == net.stage_names
    assert list(weights.depth) == list(range(1, 22))
    assert list(activations.depth) == list(range(1, 8))
    for row in weights.itertuples():
        matrix = weight_matrices(net)[row.layer].detach().numpy()
        assert (row.rows, row.columns) == matrix.shape
        assert row.value == pytest.approx(by_svd(matrix.astype(np.float64)), rel=1e-6)
    outputs = net.activations(run.probe("test", 40)[0])
    for row in activations.itertuples():
        matrix = arrange(outputs[row.layer], "pooled").detach().numpy()
        assert (row.rows, row.columns) == matrix.shape
        assert row.value == pytest.approx(by_svd(matrix.astype(np.float64)), rel=1e-4)
    assert set(frame.statistic) == {"erank_sigma_uncentred"}
    assert set(weights.layout) == {"outputs_inputs"}
    assert list(activations.layout) == ["pooled"] * 5 + ["units"] * 2


def test_the_probe_is_recorded() -> None:
    frame, _ = measured(probe={"split": "train", "images": 7})
    probe = frame.attrs["probe"]
    assert (probe["split"], probe["images"]) == ("train", 7)
    assert probe["indices"] == [5, 6, 7, 8, 9, 10, 11]
    other = measured(probe={"split": "test", "images": 7})[0].attrs["probe"]
    assert probe["sha256"] != other["sha256"]
    assert measured(probe={"split": "train", "images": 7})[0].attrs["probe"] == probe


def test_centring_is_named_and_leaves_weights_alone() -> None:
    plain, run = measured(probe={"images": 30})
    centred, _ = measured(probe={"images": 30}, centred=True)
    of = centred.matrix == "activation"
    assert set(centred[of].statistic) == {"erank_sigma_centred"}
    pd.testing.assert_frame_equal(plain[~of], centred[~of])
    row = centred[of & (centred.layer == "features") & (centred.seed == 3) & (centred.task == 0)]
    features = run.network(0, "a").activations(run.probe("test", 30)[0])["features"]
    features = features.detach().double().numpy()
    expected = by_svd(features - features.mean(0))
    assert row.value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["weight", "activation"])
def test_one_kind_alone(kind: str) -> None:
    frame, _ = measured(matrices=[kind], probe={"images": 10})
    assert set(frame.matrix) == {kind}
    assert ("probe" in frame.attrs) == (kind == "activation")


def test_a_sequence_of_states_has_time_among_its_positions() -> None:
    given = convgru.Settings(channels=3, steps=4, layers=2)
    net = convgru.build((1, 8, 8), 5, given, torch.Generator().manual_seed(0))
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator())
    found = {n: m for n, _, m in activation_matrices(net, images, layout="positions")}
    assert found["gru1"].shape == (12 * 4 * 2 * 8, 3)
    assert found["gru2"].shape == (12 * 2 * 8, 3)


def test_a_network_with_infinite_weights_gives_nan_not_an_error() -> None:
    net = mlp.build((1, 4, 4), 3, mlp.Settings(hidden=(5,)), torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.get_parameter("stages.hidden1.linear.weight")[0, 0] = math.inf
    ranks = {name: effective_rank(matrix) for name, matrix in weight_matrices(net).items()}
    assert math.isnan(ranks["hidden1.linear"])
    assert 1 < ranks["head"] <= 3
