"""The Hessian's products, spectrum and rank against dense Hessians and another library's."""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from curvature_cases import dense, loss_of, parameters_of, perceptron, sample
from torch import nn

import toy
from forgetting.architectures import resnet18
from forgetting.benchmarks import incremental
from forgetting.errors import UserError
from forgetting.measures import hessian
from forgetting.measures._curvature import (
    dense_gauss_newton,
    dense_hessian,
    flattened,
    gradient,
    hessian_product,
    objective,
)
from forgetting.measures._moments import Sample, Samples, moments
from forgetting.measures.hessian import (
    epsilon_rank,
    epsilon_rank_published,
    lanczos,
    ritz,
    smoothed_density,
)
from forgetting.randomness import torch_generator
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged

COMPETING = [True, False, True, True]
LOOKED_AT = ((0, 1, "init", "task-0"), (1, 2, "init", "task-1"), (0, 2, "end", "task-2"))


@pytest.mark.parametrize("competing", [None, COMPETING])
@pytest.mark.parametrize("batch_size", [5, 100])
@pytest.mark.parametrize("keep_graph", [True, False])
def test_products_are_those_of_the_dense_hessian(
    competing: list[bool] | None, batch_size: int, keep_graph: bool
) -> None:
    """Batches of 5, 5, 5, 5 and 3 of 23 images count by their size."""
    network, given = perceptron(), sample(competing=competing)
    of = objective(copy.deepcopy(network), given, batch_size=batch_size)
    matrix = dense(network, given)
    assert matrix.shape == (of.dim, of.dim)
    product = hessian_product(of, keep_graph=keep_graph)
    vectors = torch.randn(3, of.dim, dtype=torch.float64, generator=torch.Generator())
    for vector in (*vectors, vectors[0]):
        torch.testing.assert_close(product(vector), matrix @ vector, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(dense_hessian(of), matrix, atol=1e-12, rtol=1e-10)
    if competing:
        head = matrix[-4 * 8 :].reshape(-1, of.dim)
        assert (head[7:14] == 0).all()  # the weights of the output that does not compete
        assert (product(vectors[0])[-3] == 0).all()


def test_the_gradient_is_that_of_the_loss() -> None:
    network, given = perceptron(), sample(competing=COMPETING)
    parameters = {n: p.requires_grad_() for n, p in parameters_of(network).items()}
    expected = torch.autograd.grad(loss_of(network, parameters, given), [*parameters.values()])
    of = objective(network, given, batch_size=5)
    torch.testing.assert_close(gradient(of), flattened(expected), atol=1e-14, rtol=1e-12)
    assert not any(parameter.requires_grad for parameter in of.parameters)


def test_products_are_those_of_curvlinops() -> None:
    curvlinops = pytest.importorskip("curvlinops")
    network, given = perceptron((9, 5)), sample()
    parameters = [parameter.requires_grad_() for parameter in network.parameters()]
    data = list(zip(given.inputs.split(10), given.targets.split(10), strict=True))
    loss = nn.CrossEntropyLoss()
    vector = torch.randn(
        sum(p.numel() for p in parameters), dtype=torch.float64, generator=torch.Generator()
    )
    theirs = curvlinops.HessianLinearOperator(network, loss, parameters, data) @ vector
    newton = curvlinops.GGNLinearOperator(network, loss, parameters, data) @ vector
    of = objective(copy.deepcopy(network), given, batch_size=7)
    torch.testing.assert_close(hessian_product(of)(vector), theirs, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(dense_gauss_newton(of) @ vector, newton, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_batch_norm_on_running_or_batch_statistics(batch_norm: str) -> None:
    """Against differences of gradients of the module itself; its buffers stay as they are."""
    network = resnet18.build(
        (1, 4, 4), 3, resnet18.Settings(width=1), torch.Generator().manual_seed(0)
    ).double()
    with torch.no_grad():  # away from zero, where statistics of few values are
        for name, buffer in network.named_buffers():
            if buffer.is_floating_point():
                buffer.add_(0.3 * ("var" in name) + 0.1)
    given = sample(30, 3, shape=(1, 4, 4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    of = objective(network, given, batch_size=15, batch_norm=batch_norm)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    vector = torch.randn(of.dim, dtype=torch.float64, generator=generator)
    found = hessian_product(of, keep_graph=False)(vector)
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())

    def slope(step: float) -> torch.Tensor:
        moved = copy.deepcopy(network).train(batch_norm == "batch").requires_grad_(True)
        parts = of.unflattened(flattened(of.parameters) + step * vector)
        with torch.no_grad():
            for parameter, part in zip(moved.parameters(), parts, strict=True):
                parameter.copy_(part)
        halves = zip(given.inputs.split(15), given.targets.split(15), strict=True)
        losses = [nn.functional.cross_entropy(moved(x), y) for x, y in halves]
        return flattened(torch.autograd.grad(sum(losses) / 2, [*moved.parameters()]))

    expected = (slope(1e-6) - slope(-1e-6)) / 2e-6
    assert (found - expected).norm() < 1e-4 * expected.norm()
    other = "batch" if batch_norm == "running" else "running"
    of = objective(network, given, batch_size=15, batch_norm=other)  # type: ignore[arg-type]
    assert (hessian_product(of)(vector) - found).norm() > 0.01 * found.norm()


def test_double_precision_on_request() -> None:
    network, given = perceptron(), sample()
    single = given._replace(inputs=given.inputs.float())
    vector = torch.ones(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    of = objective(copy.deepcopy(network).float(), single, batch_size=9)
    assert hessian_product(of)(vector).dtype == torch.float32
    of = objective(copy.deepcopy(network).float(), single, batch_size=9, precision="float64")
    found = hessian_product(of)(vector)
    assert found.dtype == torch.float64
    rounded = copy.deepcopy(network).float().double()
    exact = dense(rounded, single._replace(inputs=single.inputs.double())) @ vector
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=1e-10)


def test_the_spectrum_is_that_of_the_dense_hessian() -> None:
    """With steps enough: Ritz values, density, epsilon-rank; and the rank in the mean."""
    network, given = perceptron((9, 7), seed=2), sample(60)
    matrix = dense(network, given)
    exact, vectors = torch.linalg.eigh(matrix)
    dim = len(exact)
    product = hessian_product(objective(network, given, batch_size=60))
    ladder = (1e-5, 1e-3, 1e-2, 1e-1)
    counts: dict[float, list[float]] = {eps: [] for eps in ladder}
    for seed in range(6):
        start = torch.randn(dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        shares = (vectors.mT @ (start / start.norm())) ** 2
        values, weights = ritz(*lanczos(product, dim, dim, torch.Generator().manual_seed(seed)))
        assert values[-1] == pytest.approx(float(exact[-1]), rel=1e-9)
        assert values[0] == pytest.approx(float(exact[0]), rel=1e-7)
        # Every eigenvalue that the start vector has a share in, and nothing else that weighs.
        distance = np.abs(values[:, None] - exact.numpy()).min(1)
        assert distance[weights > 1e-9].max() < 1e-8
        for eps in ladder:
            count = epsilon_rank(values, weights, dim, eps)
            assert count == pytest.approx(float(dim * shares[exact.abs() > eps].sum()), abs=1e-4)
            counts[eps].append(count)
        grid, density = smoothed_density(values, weights)
        expected = smoothed_density(exact, shares)
        np.testing.assert_allclose(grid, expected.grid, atol=1e-8)
        np.testing.assert_allclose(density, expected.values, atol=1e-4 * density.max())
    for eps in ladder:
        truth = int((exact.abs() > eps).sum())
        error = np.std(counts[eps], ddof=1) / math.sqrt(6)
        assert abs(np.mean(counts[eps]) - truth) < 4 * error
        assert error < 0.06 * dim


def rows(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def shares_of_start(vectors: torch.Tensor, seed: int, probe: int) -> np.ndarray:
    """What the start vector of a seed of the runs named growing has of each eigenvector."""
    generator = torch_generator("growing", seed, "hessian", probe)
    start = torch.randn(len(vectors), dtype=torch.float64, generator=generator)
    return ((vectors.mT @ (start / start.norm())) ** 2).numpy()


def slack(values: np.ndarray, weights: np.ndarray, eps: float) -> float:
    """How far Gauss quadrature of a step at +-eps can be off (Chebyshev, Markov, Stieltjes)."""
    places = [np.searchsorted(values, edge) for edge in (-eps, eps)]
    return sum(float(weights[max(place - 1, 0) : place + 1].max()) for place in places)


def test_every_moment_of_a_run(growing: RunView) -> None:
    """Against dense Hessians of networks and samples put together by hand."""
    given = hessian.Settings(
        images=40, probes=2, steps=(30, 60), eps=(0.01, 0.1), batch_size=30, splits=("train",)
    )
    frame = hessian.measure(growing, given)
    assert list(frame.columns) == list(hessian.COLUMNS)
    found = frame[["seed", "task", "moment", "split"]].drop_duplicates()
    assert len(found) == len(SEEDS) * 2 * 2
    for index, task, moment, name in LOOKED_AT:
        seed = SEEDS[index]
        network = growing.network(index, name)
        inputs, targets, _ = growing.probe("train", 40, task=task, seed_index=index)
        outputs = growing.benchmark.outputs_until(task)[index]
        names = outputs.nonzero()[:, 0].tolist()
        targets = torch.tensor([names.index(target) for target in targets.tolist()])
        assert task == 2 or not outputs.all()
        matrix = dense(network, Sample(inputs, targets, outputs))
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        exact = eigenvalues.numpy()
        shares = [shares_of_start(vectors, seed, probe) for probe in (0, 1)]
        own = rows(frame, seed=seed, task=task, moment=moment, split="train", steps=60)
        assert set(own.dim) == {len(exact)}
        assert set(own.samples) == {40}
        top = rows(own, statistic="lambda_max").value.item()
        assert top == pytest.approx(exact[-1], rel=1e-6)
        low = rows(own, statistic="lambda_min").value.item()
        assert low == pytest.approx(exact[0], rel=1e-2)
        trace = rows(own, statistic="trace_estimate").value.item()
        assert trace == pytest.approx(len(exact) * np.mean([share @ exact for share in shares]))
        spectra = []
        for probe in (0, 1):
            one = rows(own, probe=probe)
            values = rows(one, statistic="ritz_value").value.to_numpy()
            weights = rows(one, statistic="ritz_weight").value.to_numpy()
            assert list(rows(one, statistic="ritz_value")["index"]) == list(range(len(values)))
            assert weights.sum() == pytest.approx(1)
            assert (np.diff(values) >= 0).all()
            spectra.append((values, weights))
        for eps in (0.01, 0.1):
            fractions = [epsilon_rank(*each, 1, eps) for each in spectra]
            mean = rows(own, statistic="epsilon_rank", eps=eps).value.item()
            assert mean == pytest.approx(np.mean(fractions))
            for spectrum, share, fraction in zip(spectra, shares, fractions, strict=True):
                own_truth = share[np.abs(exact) > eps].sum()
                off = slack(*spectrum, eps)
                assert abs(fraction - own_truth) <= off
                assert off < 0.05 or eps < 0.1  # 0.01 lies in the bulk: little is promised
            spread = rows(own, statistic="epsilon_rank_sd", eps=eps).value.item()
            assert spread == pytest.approx(abs(fractions[0] - fractions[1]) / math.sqrt(2))
            published = rows(own, statistic="epsilon_rank_published", eps=eps).value.item()
            assert published == pytest.approx(
                np.mean([epsilon_rank_published(*each, eps) for each in spectra])
            )
    about = frame.attrs["probe"]
    assert {(each["task"], each["split"]) for each in about} == {(1, "train"), (2, "train")}
    assert all("indices" not in each for each in about)


def test_fewer_steps_are_read_off_the_longer_run(growing: RunView) -> None:
    given = {"images": 20, "probes": 1, "seeds": 1, "tasks": (2,), "splits": ("train",)}
    both = hessian.measure(growing, hessian.Settings(steps=(8, 16), **given))
    alone = hessian.measure(growing, hessian.Settings(steps=(8,), **given))
    pd.testing.assert_frame_equal(rows(both, steps=8).reset_index(drop=True), alone)
    assert rows(both, steps=16, statistic="ritz_value", moment="init").index.size == 16
    spread = rows(both, steps=16, statistic="trace_estimate_sd")
    assert spread.value.isna().all()
    assert set(both.seed) == {SEEDS[0]}


def test_the_exact_spectrum_of_a_small_network(growing: RunView) -> None:
    settings = hessian.Settings(
        images=15, tasks=(2,), moments=("end",), splits=("train",), steps=(5,), eps=(0.001, 0.1)
    )
    without = hessian.measure(growing, settings)
    size = int(without["dim"].iloc[0])
    too_small = settings.model_copy(update={"exact": size - 1})
    pd.testing.assert_frame_equal(hessian.measure(growing, too_small), without)
    frame = hessian.measure(growing, settings.model_copy(update={"exact": size}))
    added = frame[frame["steps"] == 0]
    assert len(frame) == len(without) + len(added)
    samples = Samples(growing, 15)
    for index, seed in enumerate(SEEDS):
        network = growing.network(index, "task-2")
        given = samples.draw(index, 2, "train", network)
        matrix = dense(network, given).detach().double().numpy()
        expected = np.linalg.eigvalsh(matrix)
        own = added[added["seed"] == seed]
        found = own[own["statistic"] == "eigenvalue"].sort_values("index")["value"].to_numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
        ranks = own[own["statistic"] == "epsilon_rank_exact"].set_index("eps")["value"]
        for eps in (0.001, 0.1):
            assert ranks[eps] == pytest.approx((np.abs(expected) > eps).mean(), abs=2 / size)


def test_the_same_whatever_else_is_measured(growing: RunView) -> None:
    """Start vectors belong to a seed: not to its place, its task or the other seeds."""
    one = hessian.measure(
        growing, hessian.Settings(images=20, probes=1, steps=(5,), tasks=(2,), moments=("end",))
    )
    every = hessian.measure(growing, hessian.Settings(images=20, probes=1, steps=(5,)))
    same = rows(every, task=2, moment="end").reset_index(drop=True)
    pd.testing.assert_frame_equal(same, one)
    ends = rows(one, statistic="lambda_max", split="train").value
    assert ends.nunique() == len(SEEDS)


def test_a_head_that_the_benchmark_clears_is_clear_at_init(growing: RunView) -> None:
    clears = dataclasses.replace(
        growing, benchmark=dataclasses.replace(growing.benchmark, reset_head=True)
    )
    given = hessian.Settings(images=20, probes=1, steps=(5,), seeds=1, tasks=(2,))
    plain, cleared = hessian.measure(growing, given), hessian.measure(clears, given)
    same = rows(plain, moment="end").reset_index(drop=True)
    pd.testing.assert_frame_equal(rows(cleared, moment="end").reset_index(drop=True), same)
    # All logits are zero, so nothing depends on the hidden stages: the Hessian is the head's.
    network = growing.network(0, "task-1")
    with torch.no_grad():
        for parameter in network.stages["head"].parameters():
            parameter.zero_()
    inputs, targets, _ = growing.probe("train", 20, task=2)
    assert growing.benchmark.outputs_until(2).all()
    exact = dense(network, sample()._replace(inputs=inputs, targets=targets, outputs=None))
    longer = hessian.measure(clears, given.model_copy(update={"steps": (60,)}))
    top = rows(longer, moment="init", split="train", statistic="lambda_max").value.item()
    assert top == pytest.approx(float(torch.linalg.eigvalsh(exact)[-1]), rel=1e-6)


def test_moments_without_weights_are_left_out_or_asked_for(growing: RunView) -> None:
    kept = {n: at for n, at in growing.record["checkpoint_tasks"].items() if n != "task-1"}
    sparse = dataclasses.replace(growing, record={**growing.record, "checkpoint_tasks": kept})
    found = moments(sparse, "kept", ("init", "end"))
    assert [(each.task, each.moment) for each in found] == [(1, "init"), (2, "end")]
    with pytest.raises(UserError, match=r"put 1 into training\.checkpoints"):
        moments(sparse, (2,), ("init",))
    with pytest.raises(UserError, match="are 1 to 2"):
        moments(sparse, (3,), ("end",))
    every = moments(growing, "kept", ("end", "init"))
    assert [(m.task, m.moment, m.trained, m.checkpoint) for m in every] == [
        (1, "init", 0, "task-0"),
        (1, "end", 1, "task-1"),
        (2, "init", 1, "task-1"),
        (2, "end", 2, "task-2"),
    ]


def test_a_diverged_seed_has_no_rows_from_then_on(growing: RunView) -> None:
    given = hessian.Settings(images=10, probes=1, steps=(3,), splits=("train",))
    frame = hessian.measure(diverged(growing, SEEDS[1], 2), given)
    found = set(map(tuple, frame[["seed", "task", "moment"]].to_numpy()))
    assert (SEEDS[1], 2, "init") in found
    assert (SEEDS[1], 2, "end") not in found
    assert (SEEDS[0], 2, "end") in found


def test_images_of_added_classes(growing: RunView) -> None:
    """Of both classes that task 2 adds, as the third and fourth of those that compete."""
    benchmark = incremental.build(
        [toy.dataset()],
        incremental.Settings(tasks=3, classes=2),
        name="grows",
        seeds=[4, 7],
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    run = RunView({"seeds": [4, 7]}, {}, Path(), benchmark, torch.device("cpu"))
    any_network = growing.network(0, "task-0")  # images do not depend on it
    for index in (0, 1):
        new = benchmark.added(2, "train")[index]  # type: ignore[attr-defined]
        inputs, targets, outputs, _ = Samples(run, 1000, added=True).draw(
            index, 2, "train", any_network
        )
        assert torch.equal(inputs, benchmark.pool.inputs(torch.from_numpy(new)))
        assert outputs is not None
        names = outputs.nonzero()[:, 0]
        assert torch.equal(names[targets], benchmark.pool.labels[torch.from_numpy(new)])
        assert len(names) == 4
        few = Samples(run, 7, added=True)
        assert len(few.draw(index, 2, "held_out", any_network).targets) == 7
        (about,) = few.about()
        assert (about["split"], about["images"], about["seeds"]) == ("held_out", 7, [[4, 7][index]])
        every = Samples(run, 1000).draw(index, 2, "train", any_network)
        assert len(every.targets) == 2 * len(targets)


def test_images_of_added_classes_need_tasks_that_grow(growing: RunView) -> None:
    with pytest.raises(UserError, match="do not grow"):
        Samples(growing, 10, added=True).draw(0, 1, "train", growing.network(0, "task-0"))
