"""Kronecker factors against sums over samples; where they are exact, and how far off they are."""

import numpy as np
import pytest
import torch
from curvature_cases import dense, perceptron, sample
from torch import Tensor, nn

from forgetting.errors import UserError
from forgetting.measures import kfac
from forgetting.measures._curvature import Objective, dense_gauss_newton, objective
from forgetting.measures.kfac import errors, kronecker_factors
from forgetting.runs import RunView
from forgetting.stages import Stages
from two_task_runs import SEEDS, diverged


def linear(inputs: int = 6, outputs: int = 4, *, bias: bool = True) -> Stages:
    """A network of one layer."""
    network = Stages({"flatten": nn.Flatten(), "head": nn.Linear(inputs, outputs, bias=bias)})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    return network.double().eval()


def by_hand(network: Stages, of: Objective, layer: str, kind: str) -> tuple[Tensor, Tensor]:
    """A and G of a layer, a sample, an output at a time, by derivatives of the bias."""
    stage = layer.split(".")[0]
    first, second = [], []
    bias = network.get_parameter(f"stages.{layer}.bias").requires_grad_(True)
    for image, target in zip(of.sample.inputs, of.sample.targets, strict=True):
        below = image[None]
        for name, module in network.stages.items():
            if name == stage:
                break
            below = module(below)
        a = torch.cat([below.flatten().detach(), torch.ones(1, dtype=torch.float64)])
        first.append(torch.outer(a, a))
        logits = network(image[None])[0]
        if of.sample.outputs is not None:
            logits = logits[of.sample.outputs]
        if kind == "ggn":
            p = logits.softmax(0).detach()
            rows = [torch.autograd.grad(z, bias, retain_graph=True)[0] for z in logits]
            jacobian = torch.stack(rows)
            second.append(jacobian.mT @ (p.diag() - torch.outer(p, p)) @ jacobian)
        else:
            loss = logits.logsumexp(0) - logits[target]
            (g,) = torch.autograd.grad(loss, bias)
            second.append(torch.outer(g, g))
    return torch.stack(first).mean(0), torch.stack(second).mean(0)


@pytest.mark.parametrize("kind", ["ggn", "empirical"])
@pytest.mark.parametrize("competing", [None, [True, False, True, True]])
def test_the_factors_are_means_over_samples(kind: str, competing: list[bool] | None) -> None:
    network, given = perceptron(), sample(competing=competing)
    of = objective(network, given, batch_size=5)
    factors = kronecker_factors(of, gradients=kind)
    assert list(factors) == ["hidden1.linear", "hidden2.linear", "head"]
    for layer, (inputs, gradients, bias) in factors.items():
        first, second = by_hand(network, of, layer, kind)
        assert bias
        torch.testing.assert_close(inputs, first, atol=1e-12, rtol=1e-10)
        torch.testing.assert_close(gradients, second, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
def test_exact_for_one_layer_with_the_same_softmax_everywhere(bias: bool) -> None:
    network, given = linear(bias=bias), sample()
    with torch.no_grad():
        network.get_parameter("stages.head.weight").zero_()
    of = objective(network, given, batch_size=9)
    factors = kronecker_factors(of)
    exact = dense(network, given)
    torch.testing.assert_close(factors["head"].block(), exact, atol=1e-13, rtol=1e-10)
    assert errors(of, factors, exact)["head"] < 1e-12
    assert errors(of, factors, exact)["all"] < 1e-7


@pytest.mark.parametrize("kind", ["ggn", "empirical"])
def test_exact_for_one_sample_in_every_layer(kind: str) -> None:
    """Of the block of the GGN; of the empirical Fisher matrix g g^T."""
    network, given = perceptron(), sample(1)
    of = objective(network, given, batch_size=9)
    factors = kronecker_factors(of, gradients=kind)
    exact = dense_gauss_newton(of)
    if kind == "empirical":
        parameters = [parameter.requires_grad_() for parameter in of.parameters]
        loss = of.share(parameters, given.inputs, given.targets)
        slopes = torch.autograd.grad(loss, parameters)
        slope = torch.cat([each.flatten() for each in slopes])
        exact = torch.outer(slope, slope)
    found = errors(of, factors, exact)
    assert all(found[layer] < 1e-10 for layer in factors)
    assert found["all"] > 0.01  # blocks beside the diagonal


def test_the_dense_gauss_newton_matrix() -> None:
    """With one layer it is the Hessian; with more its difference is what bends in the network."""
    network, given = linear(), sample(competing=[True, True, False, True])
    of = objective(network, given, batch_size=5)
    torch.testing.assert_close(
        dense_gauss_newton(of), dense(network, given), atol=1e-13, rtol=1e-10
    )
    assert errors(of, kronecker_factors(of), dense(network, given))["head"] > 1e-3
    deep = perceptron()
    of = objective(deep, sample(), batch_size=5)
    matrix = dense_gauss_newton(of)
    assert torch.linalg.eigvalsh(matrix)[0] > -1e-12
    head = slice(of.dim - 4 * 8, of.dim)  # the head's block has no second derivative
    exact = dense(deep, sample())
    torch.testing.assert_close(matrix[head, head], exact[head, head], atol=1e-13, rtol=1e-9)
    assert (matrix - exact).norm() > 1e-3 * exact.norm()


def test_an_input_changed_in_place_is_not_what_is_kept() -> None:
    """A ReLU in place behind the layer must not stand in for the layer's own output."""
    plain = perceptron()
    changed = perceptron()
    for stage in ("hidden1", "hidden2"):
        changed.stages[stage].activation = nn.ReLU(inplace=True)
    found, other = (
        kronecker_factors(objective(each, sample(), batch_size=9)) for each in (plain, changed)
    )
    for layer, factors in found.items():
        assert torch.equal(factors.gradients, other[layer].gradients)


def test_a_layer_that_sees_an_image_more_than_once_is_refused() -> None:
    network = Stages({"twice": nn.Linear(6, 6), "flatten": nn.Flatten(), "head": nn.Linear(6, 4)})
    with pytest.raises(UserError, match="more than once"):
        kronecker_factors(objective(network.double(), sample(), batch_size=9))


def test_every_moment_of_a_run(growing: RunView) -> None:
    given = kfac.Settings(
        images=12, eps=(0.01, 0.3), max_parameters=1100, tasks=(2,), moments=("init",)
    )
    frame = kfac.measure(growing, given)
    assert list(frame.columns) == list(kfac.COLUMNS)
    assert set(frame.seed) == set(SEEDS)
    own = frame[frame.seed == SEEDS[1]]
    network = growing.network(1, "task-1")
    inputs, targets, _ = growing.probe("train", 12, task=2, seed_index=1)
    assert growing.benchmark.outputs_until(2).all()
    of = objective(
        network, sample()._replace(inputs=inputs, targets=targets, outputs=None), batch_size=12
    )
    exact = dense(network, of.sample)
    factors = kronecker_factors(of)

    def value(statistic: str, layer: str, eps: float | None = None) -> float:
        rows = own[(own.statistic == statistic) & (own.layer == layer)]
        rows = rows[rows.eps.isna()] if eps is None else rows[rows.eps == eps]
        return rows.value.item()

    for layer, (a, g, _) in factors.items():
        along_a, along_g = (np.linalg.eigvalsh(matrix.numpy()).clip(0) for matrix in (a, g))
        for kind, values in (("inputs", along_a), ("gradients", along_g)):
            shares = values[values > 1e-13 * values[-1]] / values.sum()
            entropy = -(shares * np.log(shares)).sum()
            assert value(f"effective_rank_{kind}", layer) == pytest.approx(
                np.exp(entropy), rel=1e-6
            )
            for eps in (0.01, 0.3):
                count = int((values > eps * values.max()).sum())
                assert value(f"epsilon_rank_{kind}", layer, eps) == count
        product = np.linalg.eigvalsh(factors[layer].block().numpy())
        for eps in (0.01, 0.3):
            assert value("epsilon_rank_product", layer, eps) == (product > eps).sum()
        assert value("error_hessian", layer) == pytest.approx(
            errors(of, factors, exact)[layer], rel=1e-8
        )
    # The whole: zeros beside the diagonal.
    blocks = torch.block_diag(*[each.block() for each in factors.values()])
    whole = float((blocks - exact).norm() / exact.norm())
    assert value("error_hessian", "all") == pytest.approx(whole, rel=1e-6)
    newton = dense_gauss_newton(of)
    whole = float((blocks - newton).norm() / newton.norm())
    assert value("error_ggn", "all") == pytest.approx(whole, rel=1e-6)


def test_large_networks_and_diverged_seeds(growing: RunView) -> None:
    given = kfac.Settings(images=6, max_parameters=900, moments=("end",))
    frame = kfac.measure(diverged(growing, SEEDS[0], 1), given)
    assert set(frame.seed) == {SEEDS[1]}
    assert not frame.statistic.str.startswith("error").any()
    assert {each["task"] for each in frame.attrs["probe"]} == {1, 2}
