"""The gradient of the effective rank, and the steps taken along it."""

import math

import numpy as np
import pytest
import torch

import toy
from forgetting.benchmarks import incremental, permuted
from forgetting.data_order import epoch_order
from forgetting.errors import UserError
from forgetting.measures import erank
from forgetting.strategies.effective_rank import effective_rank, value_and_gradient

JOINT = {"component": "joint", "settings": {}}


def coded(features: np.ndarray, floor: float) -> float:
    """The definition, from singular values."""
    sigma = np.linalg.svd(features, compute_uv=False)
    p = sigma / max(sigma.sum(), 1e-8)
    return math.exp(-(p * np.log(p + floor)).sum())


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (6, 6)])
@pytest.mark.parametrize("floor", [0.0, 1e-8, 0.05])
def test_value_and_gradient(shape, floor):
    features = np.random.default_rng(0).normal(size=shape)
    value, gradient = value_and_gradient(torch.from_numpy(features), floor)
    assert float(value) == pytest.approx(coded(features, floor), rel=1e-12)
    numeric = np.zeros(shape)
    for index in np.ndindex(*shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = features.copy()
            moved[index] += step
            ends.append(coded(moved, floor))
        numeric[index] = (ends[0] - ends[1]) / 2e-5
    torch.testing.assert_close(gradient, torch.from_numpy(numeric), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_closed_form_at_full_rank(shape):
    features = np.random.default_rng(1).normal(size=shape)
    u, sigma, vt = np.linalg.svd(features, full_matrices=False)
    p = sigma / sigma.sum()
    entropy = -(p * np.log(p)).sum()
    closed = -math.exp(entropy) / sigma.sum() * (u * (np.log(p) + entropy)) @ vt
    value, gradient = value_and_gradient(torch.from_numpy(features), 0.0)
    np.testing.assert_allclose(gradient.numpy(), closed, rtol=1e-10, atol=1e-12)
    assert float(value) == pytest.approx(erank.effective_rank(features), rel=1e-12)


@pytest.mark.parametrize(
    "kind", ["dead columns", "one direction", "zero", "tiny", "huge", "identical rows"]
)
def test_collapsed_features_have_a_finite_gradient(kind):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(20, 6))
    if kind == "dead columns":
        features[:, [1, 4]] = 0
    elif kind == "one direction":
        features = np.outer(rng.normal(size=20), rng.normal(size=6))
    elif kind == "zero":
        features[:] = 0
    elif kind == "tiny":
        features *= 1e-200
    elif kind == "huge":
        features *= 1e200
    else:
        features[:] = features[0]
    value, gradient = value_and_gradient(torch.from_numpy(features), 1e-8)
    assert gradient.isfinite().all()
    rank = {"dead columns": 4, "one direction": 1, "identical rows": 1, "zero": 1}.get(kind, 6)
    assert 1 - 1e-6 <= float(value) <= rank + 1e-6
    if kind == "dead columns":
        assert gradient[:, [1, 4]].abs().max() < 1e-15 < gradient.abs().max()
        (alive,) = (gradient[:, [0, 2, 3, 5]],)
        rest = torch.from_numpy(features[:, [0, 2, 3, 5]])
        torch.testing.assert_close(alive, value_and_gradient(rest, 1e-8)[1])
    if rank == 1:
        # A single direction: its size does not matter.
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-7)


def test_a_seed_that_diverged_stops_no_other():
    features = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    features[1, 2, 1] = torch.nan
    ranks = torch.vmap(lambda f: effective_rank(f, 1e-8))(features)
    assert float(ranks[0]) == pytest.approx(coded(features[0].double().numpy(), 1e-8), rel=1e-6)


def float32_gradient(features):
    """The same gradient by way of a Gram matrix in float32."""
    gram = features.mT @ features
    eigenvalues, v = torch.linalg.eigh(gram)
    sigma = eigenvalues.clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    p = sigma / sigma.sum()
    shifted = p + 1e-8
    slope = shifted.log() + p / shifted
    rank = (-(p * shifted.log()).sum()).exp()
    slope = -rank / sigma.sum() * (slope - (p * slope).sum())
    return features @ (v * (slope / sigma)) @ v.mT


def test_single_precision_points_elsewhere():
    """Half the singular values at 1e-4 of the largest: in float32 their squares are rounding."""
    rng = np.random.default_rng(3)
    u, _ = np.linalg.qr(rng.normal(size=(64, 16)))
    v, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    sigma = np.r_[np.ones(8), np.full(8, 1e-4)] * np.linspace(1, 0.7, 16)
    features = torch.from_numpy((u * sigma) @ v.T).float()
    u, sigma, vt = torch.linalg.svd(features.double(), full_matrices=False)
    p = sigma / sigma.sum()
    g = (p + 1e-8).log() + p / (p + 1e-8)
    rank = (-(p * (p + 1e-8).log()).sum()).exp()
    reference = (u * (-(rank / sigma.sum()) * (g - (p * g).sum()))) @ vt

    def cosine(gradient):
        gradient = gradient.double().flatten()
        return float(gradient @ reference.flatten() / gradient.norm() / reference.norm())

    assert cosine(value_and_gradient(features, 1e-8)[1]) == pytest.approx(1, abs=1e-9)
    assert cosine(float32_gradient(features)) < 0.9


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_is_plain_ascent_on_the_minibatches_together(when):
    """Two of the five minibatches of an epoch at a time; the fifth takes no part."""
    rate, every = 0.1, 2
    own = {"rate": rate, "every": every, "when": when, "layers": 1}
    settings = {"epochs": 1, "batch_size": 10, "momentum": 0.9}
    run = toy.training([{"component": "effective_rank", "settings": own}], **settings)
    seen = []
    run.run(lambda: seen.append({n: t[0].clone() for n, t in run.ensemble.state().items()}))
    order, _ = epoch_order(run.benchmark, (1,), name="toy", seeds=[0], task=1, epoch=0)
    steps = math.ceil(order.shape[1] / 10)
    assert steps == 5
    # An ordinary training by hand.
    (network,) = toy.networks(run.benchmark, [0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    outputs = run.benchmark.outputs_until(1)[0]

    def ascend(first):
        inputs, _ = run.benchmark.fetch(
            torch.from_numpy(order[:, first * 10 : (first + 2) * 10]), 1
        )
        hidden = network.activations(inputs[0])["hidden2"]
        sigma = torch.linalg.svdvals(hidden)
        p = sigma[sigma > 1e-12] / sigma.sum()
        rank = (-(p * (p + 1e-8).log()).sum()).exp()
        parameters = list(network.parameters())
        found = torch.autograd.grad(rank, parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    parameter.add_(rate * gradient)

    for step in range(steps):
        if when == "before" and step in (0, 2):
            ascend(step)
        indices = torch.from_numpy(order[:, step * 10 : (step + 1) * 10])
        inputs, targets = run.benchmark.fetch(indices, 1)
        optimizer.zero_grad()
        logits = network(inputs[0]).masked_fill(~outputs, -torch.inf)
        torch.nn.functional.cross_entropy(logits, targets[0]).backward()
        optimizer.step()
        if when == "after" and step in (1, 3):
            ascend(step - 1)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(run.kept["task-1"][name][0], tensor, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["several tasks", "augmented"])
def test_a_step_is_taken_on_the_very_images_that_are_trained_on(kind, when):
    """Old tasks' images in their own permutations; each as it is flipped and shifted."""
    component, shown, others = {
        "several tasks": (permuted, {"tasks": 2, "held_out": 20, "images": 15}, [JOINT]),
        "augmented": (incremental, {"tasks": 2, "classes": 2, "padding": 2, "flip": 0.5}, []),
    }[kind]
    of = component.build(
        [toy.dataset()],
        component.Settings(**shown),
        name="toy",
        seeds=[0, 3],
        device=toy.CPU,
        dtype=torch.float64,
    )
    own = {"component": "effective_rank", "settings": {"rate": 0.01, "every": 2, "when": when}}
    run = toy.training([own, *others], (0, 3), of=of, epochs=2, batch_size=8)
    trained, looked_at = [], []
    step, own_step = run.steps.step, run.steps.own_step

    def noted_step(batch, *rest):
        trained.append((run.phase, run.epoch, run.step, batch.inputs))
        return step(batch, *rest)

    def noted_own_step(key, rate, batch, *rest):
        at = run.step if when == "before" else run.step - 2
        looked_at.append((run.phase, run.epoch, at, batch.inputs))
        return own_step(key, rate, batch, *rest)

    run.steps.step, run.steps.own_step = noted_step, noted_own_step
    run.run()
    expected = {(phase, epoch, at): inputs for phase, epoch, at, inputs in trained}
    assert len(looked_at) > 4
    for phase, epoch, at, inputs in looked_at:
        both = [expected[phase, epoch, at + later] for later in (0, 1)]
        assert torch.equal(inputs, torch.cat(both, dim=1))


def test_all_hidden_layers_by_default_and_the_last_ones_on_request():
    from forgetting.strategies import effective_rank as component
    from forgetting.tasks import Batch

    run = toy.training([{"component": "sgd", "settings": {}}])
    inputs = run.benchmark.fetch(torch.from_numpy(run.benchmark.train_indices([1])), 1)[0][0]
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    ranks = [
        erank.effective_rank(output.detach())
        for output in list(net.activations(inputs).values())[:-1]
    ]
    for layers, among in ((None, ranks), (1, ranks[1:]), (5, ranks)):
        found = component.own_loss(
            net, Batch(inputs, inputs, None), {}, component.Settings(layers=layers), context=None
        )
        assert float(found.detach()) == pytest.approx(-np.mean(among), rel=1e-6)


def test_a_step_that_would_never_come_is_refused():
    """Without this the strategy would silently be plain training."""
    with pytest.raises(UserError, match="every 1000 steps, but an epoch has"):
        toy.trained([{"component": "effective_rank", "settings": {"every": 1000}}])
