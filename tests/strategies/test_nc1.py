"""NC1 of a minibatch and its gradient against the published definition; training with it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import toy
from forgetting.data_order import epoch_order
from forgetting.measures import neural_collapse
from forgetting.strategies import nc1 as component
from forgetting.strategies.nc1 import batch_nc1, pseudoinverse

STRENGTH = 0.05


def published(features: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Tr(Sigma_W Sigma_B^+) / C from d x d matrices; a class without samples has the mean zero."""
    overall, d = features.mean(0), features.shape[1]
    within, between = features.new_zeros(d, d), features.new_zeros(d, d)
    for c in range(classes):
        own = features[targets == c]
        mean = own.mean(0) if len(own) else torch.zeros_like(overall)
        within = within + (own - mean).mT @ (own - mean) / len(features)
        between = between + torch.outer(mean - overall, mean - overall) / classes
    return torch.trace(within @ torch.linalg.pinv(between)) / classes


def drawn(counts: list[int], d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features and targets, so many samples of each class."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    features = rng.normal(size=(len(targets), d)) + 2 * rng.normal(size=(len(counts), d))[targets]
    return torch.from_numpy(features + 0.5), torch.from_numpy(targets)


def everything(classes: int) -> Tensor:
    return torch.ones(classes, dtype=torch.bool)


def value_and_gradient(features: Tensor, targets: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    leaf = features.clone().requires_grad_()
    value = batch_nc1(leaf, targets, outputs)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


BATCHES = {
    "wide": ([4, 3, 5, 2], 7),
    "narrow": ([3, 4, 2, 5, 3, 3], 3),
    "just wide enough": ([3, 4, 5], 2),
    "a class missing": ([4, 0, 5, 3], 7),
    "two missing": ([4, 0, 5, 3, 0], 6),
    "missing and narrow": ([4, 3, 0, 4, 5], 2),
    "one sample of a class": ([1, 6, 5], 4),
    "one class": ([0, 6, 0], 4),
    "two classes": ([5, 4], 6),
}


@pytest.mark.parametrize("name", BATCHES)
def test_value_and_gradient(name: str) -> None:
    """Of the d x d definition, by central differences."""
    counts, d = BATCHES[name]
    features, targets = drawn(counts, d)
    value, gradient = value_and_gradient(features, targets, everything(len(counts)))
    assert float(value) == pytest.approx(float(published(features, targets, len(counts))), rel=1e-9)
    assert float(value) > 0.01
    numeric = torch.zeros_like(features)
    for index in np.ndindex(*features.shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = features.clone()
            moved[index] += step
            ends.append(float(published(moved, targets, len(counts))))
        numeric[index] = (ends[0] - ends[1]) / 2e-5
    scale = float(numeric.abs().max())
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-7 * scale)


def test_it_is_the_measure_where_no_class_is_missing() -> None:
    features, targets = drawn([5, 8, 7], 6)
    ours = float(batch_nc1(features, targets, everything(3)))
    assert ours == pytest.approx(neural_collapse.nc1(features, targets), rel=1e-10)


def test_classes_are_the_outputs_of_the_task_and_what_is_in_the_batch() -> None:
    features, targets = drawn([5, 0, 4, 0, 6], 7)
    outputs = torch.tensor([True, True, False, False, True])
    renamed = torch.tensor([0, 1, 2, -1, 3])[targets]
    ours = float(batch_nc1(features, targets, outputs))
    assert ours == pytest.approx(float(published(features, renamed, 4)), rel=1e-10)
    without = float(batch_nc1(features, targets, outputs & (torch.arange(5) != 1)))
    assert without == pytest.approx(neural_collapse.nc1(features, targets), rel=1e-10)


@pytest.mark.parametrize(
    "kind", ["collapsed", "dead", "constant", "dead units", "one direction", "equal means"]
)
@pytest.mark.parametrize("counts", [[5, 5, 5], [8, 0, 7]])
def test_degenerate_features_have_a_finite_gradient(kind: str, counts: list[int]) -> None:
    features, targets = drawn(counts, 6)
    if kind == "collapsed":
        features = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double()[targets]
    elif kind == "dead":
        features = torch.zeros_like(features)
    elif kind == "constant":
        features = torch.full_like(features, 0.1)
    elif kind == "dead units":
        features[:, [1, 4]] = 0
    elif kind == "one direction":
        features = features[:, :1] * torch.arange(1.0, 7.0)
    else:
        means = torch.stack([features[targets == c].mean(0) for c in targets])
        features = features - means
    value, gradient = value_and_gradient(features, targets, everything(3))
    assert value.isfinite()
    assert gradient.isfinite().all()
    if kind in ("collapsed", "dead", "constant"):
        assert float(value) == pytest.approx(0, abs=1e-20)
    if kind == "dead units":
        rest = value_and_gradient(features[:, [0, 2, 3, 5]], targets, everything(3))
        torch.testing.assert_close(value, rest[0])
        torch.testing.assert_close(gradient[:, [0, 2, 3, 5]], rest[1], rtol=1e-9, atol=1e-12)


def test_the_cutoff_is_that_of_the_features_precision() -> None:
    """A direction of 1e-6 of the variance of the means counts in float64 only."""
    features, targets = drawn([6, 6, 6], 20)
    means = torch.zeros(3, 20, dtype=torch.float64)
    means[:, 0] = torch.tensor([1.0, -1, 0])
    means[:, 1] = torch.tensor([1.0, 1, -2]) / math.sqrt(3) * 1e-3
    for c in range(3):
        features[targets == c] -= features[targets == c].mean(0) - means[c]
    double = float(batch_nc1(features, targets, everything(3)))
    single = batch_nc1(features.float(), targets, everything(3))
    variances = ((features - means[targets]) ** 2).mean(0)
    assert double == pytest.approx(float(variances[0] / 2 + variances[1] / 2e-6), rel=1e-6)
    assert float(single) == pytest.approx(float(variances[0] / 2), rel=1e-5)
    assert single.dtype == torch.float32


def test_pseudoinverse() -> None:
    matrix = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)).double()
    matrix[3] = -matrix[:3].sum(0)
    found = pseudoinverse(matrix, 1e-8)
    torch.testing.assert_close(found, torch.linalg.pinv(matrix))


def test_seeds_map_and_one_that_diverged_stops_no_other() -> None:
    batches = [drawn([4, 0, 5, 3], 7, seed) for seed in range(3)]
    features, targets = (torch.stack(each) for each in zip(*batches, strict=True))
    features[1, 2, 3] = torch.nan
    leaf = features.clone().requires_grad_()
    values = torch.vmap(lambda f, t: batch_nc1(f, t, everything(4)))(leaf, targets)
    values.sum().backward()
    for seed in (0, 2):
        value, gradient = value_and_gradient(features[seed], targets[seed], everything(4))
        torch.testing.assert_close(values[seed].detach(), value)
        torch.testing.assert_close(leaf.grad[seed], gradient)
    assert values[1].isnan()


def term(features: Tensor, targets: Tensor, **settings: object) -> Tensor:
    """What the hook adds to the loss for these features."""
    from forgetting.strategy import Context
    from forgetting.tasks import Batch

    chosen = component.Settings(**settings)
    nothing = torch.zeros(0)
    found = component.loss(
        None,
        Batch(nothing, targets, None),
        nothing,
        {},
        chosen,
        activations={"maps": nothing, "features": features, "head": nothing},
        context=Context(everything(int(targets.max()) + 1), nothing),
    )
    return found["nc1"]


def test_above_the_cap_it_is_worth_nothing_more() -> None:
    features, targets = drawn([6, 5, 7], 8)
    value, gradient = value_and_gradient(features, targets, everything(3))
    for cap, below in ((1.01 * float(value), True), (0.99 * float(value), False)):
        leaf = features.clone().requires_grad_()
        found = term(leaf, targets, cap=cap)
        found.backward()
        assert float(found.detach()) == pytest.approx(-STRENGTH * min(float(value), cap))
        expected = -STRENGTH * gradient if below else torch.zeros_like(gradient)
        torch.testing.assert_close(leaf.grad, expected)


def test_maps_are_flattened() -> None:
    features, targets = drawn([6, 5, 7], 8)
    torch.testing.assert_close(
        term(features.view(-1, 2, 2, 2), targets, strength=1), term(features, targets, strength=1)
    )


def test_training_by_hand() -> None:
    """An ordinary loop in the class-incremental setting: two outputs of six in each task."""
    settings = {"epochs": 2, "batch_size": 10, "momentum": 0.9}
    run = toy.trained(
        [{"component": "nc1", "settings": {"strength": 2, "cap": 0.03, "tasks": [1]}}], **settings
    )
    (network,) = toy.networks(run.benchmark, [0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    outputs = run.benchmark.outputs_until(1)[0]
    numbers = outputs.cumsum(0) - 1
    seen = []
    for epoch in range(2):
        order, _ = epoch_order(run.benchmark, (1,), name="toy", seeds=[0], task=1, epoch=epoch)
        for indices in torch.from_numpy(order).split(10, dim=1):
            inputs, (targets,) = run.benchmark.fetch(indices, 1)
            *_, hidden, logits = network.activations(inputs[0]).values()
            reward = published(hidden, numbers[targets], int(outputs.sum()))
            seen.append(float(reward.detach()))
            optimizer.zero_grad()
            plain = torch.nn.functional.cross_entropy(
                logits.masked_fill(~outputs, -torch.inf), targets
            )
            (plain - 2 * reward.clamp(max=0.03)).backward()
            optimizer.step()
    assert min(seen) < 0.03 < max(seen)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(run.kept["task-1"][name][0], tensor, rtol=1e-7, atol=1e-9)


def test_tasks_in_which_it_acts() -> None:
    def trained(tasks: object) -> dict[str, dict[str, Tensor]]:
        part = {"component": "nc1", "settings": {"strength": 0.5, "tasks": tasks}}
        return toy.trained([part], (0, 1), epochs=1).kept

    def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return all(torch.equal(tensor, other[name]) for name, tensor in one.items())

    plain = toy.trained([{"component": "sgd", "settings": {}}], (0, 1), epochs=1).kept
    always, second, each = trained("all"), trained([2]), trained([1, 2, 3])
    assert all(equal(always[moment], each[moment]) for moment in always)
    assert equal(second["task-1"], plain["task-1"])
    assert not equal(second["task-2"], plain["task-2"])
    assert not equal(always["task-1"], plain["task-1"])
