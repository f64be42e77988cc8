"""L2, shrink and perturb, spectral norms, resets; and L2 together with all the others."""

import dataclasses
import itertools

import pytest
import torch

import toy
from forgetting.randomness import torch_generator
from forgetting.strategies import shrink_perturb, spectral_norm

SMALL = {"epochs": 1, "batch_size": 10, "learning_rate": 0.01}


def part(name, **settings):
    return {"component": name, "settings": settings}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_decay_is_added_to_the_gradient_before_momentum_and_adam(optimizer):
    """Recompute every step from the recorded gradients, in plain arithmetic."""
    run = toy.training([part("l2", strength=0.3)], optimizer=optimizer, momentum=0.9, **SMALL)
    steps = []
    original = run.steps.optimizer.step

    def recorded():
        steps.append({n: (p.detach().clone(), p.grad.clone()) for n, p in named.items()})
        original()

    named = run.ensemble.params
    run.steps.restart = lambda: None
    run.steps.optimizer.step = recorded
    run.run()
    first = steps[:5]  # the first task
    rate = SMALL["learning_rate"]
    for name in named:
        weight, m, v = first[0][name][0].clone(), 0.0, 0.0
        for count, step in enumerate(first, start=1):
            torch.testing.assert_close(step[name][0], weight, rtol=1e-10, atol=1e-12)
            gradient = step[name][1] + 0.3 * weight
            if optimizer == "sgd":
                m = 0.9 * m + gradient
                weight = weight - rate * m
            else:
                m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
                size = (v / (1 - 0.999**count)).sqrt() + 1e-8
                weight = weight - rate * (m / (1 - 0.9**count)) / size
        torch.testing.assert_close(run.kept["task-1"][name][0], weight, rtol=1e-10, atol=1e-12)


def test_decay_adds_to_that_of_the_training():
    both = toy.trained([part("l2", strength=0.2)], weight_decay=0.1, **SMALL)
    alone = toy.trained([part("sgd")], weight_decay=0.30000000000000004, **SMALL)
    for name, tensor in alone.kept["task-3"].items():
        assert torch.equal(tensor, both.kept["task-3"][name])


def test_noise_is_added_after_every_step():
    """One step at a learning rate of next to nothing: what moved is shrinking and noise."""
    run = toy.trained(
        [part("shrink_perturb", shrink=0.9, noise=0.01)],
        **{**SMALL, "learning_rate": 1e-300, "batch_size": 25, "momentum": 0.0},
    )
    generator = torch_generator("toy", 0, "0-shrink_perturb")
    weights = {n: t[0].clone() for n, t in run.kept["task-0"].items()}
    for _ in range(2):
        for name, tensor in weights.items():
            noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
            weights[name] = 0.9 * tensor + 0.01 * noise
    for name, tensor in weights.items():
        torch.testing.assert_close(run.kept["task-1"][name][0], tensor, rtol=1e-12, atol=1e-14)


def test_before_a_task_fresh_weights_are_added():
    run = toy.trained(
        [part("shrink_perturb", shrink=0.6, noise=0.1, when="task_start")],
        architecture="resnet18",
        **{**SMALL, "learning_rate": 1e-300},
    )
    for task in (1, 2):
        (fresh,) = toy.networks(run.benchmark, [0], "resnet18", ("fresh", task + 1))
        parameters = dict(fresh.named_parameters())
        for name, tensor in run.kept[f"task-{task}"].items():
            if name in parameters:
                expected = 0.6 * tensor[0] + 0.1 * parameters[name].detach()
                torch.testing.assert_close(run.kept[f"task-{task + 1}"][name][0], expected)
    for name in parameters:
        torch.testing.assert_close(run.kept["task-0"][name], run.kept["task-1"][name])


def test_before_a_task_gaussian_noise_is_added_on_request():
    """What moved is noise of the stated size, other noise for every task and seed."""
    settings = {"shrink": 1.0, "noise": 0.1, "when": "task_start", "perturbation": "gaussian"}
    run = toy.trained(
        [part("shrink_perturb", **settings)], (0, 1), **{**SMALL, "learning_rate": 1e-300}
    )
    moves = {}
    for task in (1, 2):
        before, after = run.kept[f"task-{task}"], run.kept[f"task-{task + 1}"]
        for seed in (0, 1):
            moved = [(after[n][seed] - before[n][seed]).flatten() for n in before]
            moves[task, seed] = torch.cat(moved)
            size, count = moves[task, seed].std().item(), moves[task, seed].numel()
            assert size == pytest.approx(0.1, rel=5 / (2 * count) ** 0.5)
    for one, other in itertools.combinations(moves.values(), 2):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 5 / len(one) ** 0.5
    for name in run.kept["task-0"]:
        torch.testing.assert_close(run.kept["task-0"][name], run.kept["task-1"][name])


def test_fresh_weights_after_every_step_are_refused():
    with pytest.raises(ValueError, match="after every step it is gaussian"):
        shrink_perturb.Settings(perturbation="fresh")


def test_noise_zero_draws_nothing():
    for settings in (shrink_perturb.Settings(noise=0), shrink_perturb.Settings(when="task_start")):
        assert shrink_perturb.draw(settings, params={"w": torch.ones(2)}, generator=None) == {}


def test_largest_singular_value_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    for shape in ((7, 4), (4, 7)):
        matrix = torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        start = torch.randn(shape[0], dtype=torch.float64, generator=generator)
        found = spectral_norm.largest_singular_value(matrix, start, 300)
        (gradient,) = torch.autograd.grad(found, matrix)
        u, sigma, vt = torch.linalg.svd(matrix.detach(), full_matrices=False)
        torch.testing.assert_close(found.detach(), sigma[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, torch.outer(u[:, 0], vt[0]), rtol=1e-6, atol=1e-8)
        few = spectral_norm.largest_singular_value(matrix, start, 10)
        assert 0.9 * sigma[0] < few <= sigma[0]
    zero = torch.zeros(3, 2, requires_grad=True)
    value = spectral_norm.largest_singular_value(zero, torch.ones(3), 10)
    assert value == 0
    assert torch.autograd.grad(value, zero)[0].isfinite().all()


@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_the_term_is_that_of_the_docstring(architecture):
    run = toy.training([part("spectral_norm")], architecture=architecture)
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    with torch.no_grad():
        for parameter in net.params.values():
            parameter.add_(0.3)
    settings = spectral_norm.Settings(strength=0.7, iterations=500)
    memory = spectral_norm.start(net, settings)
    found = spectral_norm.loss(net, None, None, memory, settings, context=None)["spectral_norm"]
    expected = 0.0
    for name, parameter in net.params.items():
        value = parameter.detach()
        if value.dim() > 1:
            expected += (float(torch.linalg.matrix_norm(value.flatten(1), 2)) ** 2 - 2) ** 2
        elif "norm" in name.split(".")[-2] and name.endswith("weight"):
            expected += float(((value - 1) ** 2).sum())
        else:
            assert name.endswith("bias")
            expected += float((value**2).sum())
    assert float(found.detach()) == pytest.approx(0.7 * expected, rel=1e-6)


def test_exponent_and_target_are_settings():
    parts = [part("spectral_norm", strength=1.0, exponent=1.0, target=1.0, iterations=500)]
    run = toy.training(parts)
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    (settings,) = (p.settings for p in run.strategy.parts)
    found = spectral_norm.loss(
        net, None, None, spectral_norm.start(net, settings), settings, context=None
    )
    expected = 0.0
    for parameter in net.params.values():
        value = parameter.detach()
        expected += float(
            (torch.linalg.matrix_norm(value, 2) - 1) ** 2 if value.dim() == 2 else (value**2).sum()
        )
    assert float(found["spectral_norm"]) == pytest.approx(expected, rel=1e-6)


def test_weights_are_held_at_the_target():
    """A strong term alone moves sigma^2 of every matrix to 2."""
    run = toy.trained(
        [part("spectral_norm", strength=10.0, iterations=20)],
        **{**SMALL, "epochs": 10, "learning_rate": 0.002, "momentum": 0.0},
    )
    for name, tensor in run.kept["task-3"].items():
        if name.endswith("weight"):
            sigma = float(torch.linalg.matrix_norm(tensor[0], 2))
            assert sigma**2 == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("weights", ["new", "same"])
def test_every_task_starts_anew(weights):
    run = toy.training([part("reset", weights=weights)], architecture="resnet18", **SMALL)
    starts = {}

    def at_step():
        starts.setdefault(run.phase + 1, {n: t.clone() for n, t in run.ensemble.state().items()})
        if run.step == 0:
            assert not run.steps.optimizer.state

    run.run(at_step)
    for task in (1, 2, 3):
        role = ("fresh", task) if weights == "new" and task > 1 else ("initialisation",)
        (network,) = toy.networks(run.benchmark, [0], "resnet18", role)
        tensors = network.state_dict()
        assert tensors.keys() == starts[task].keys()
        for name, tensor in tensors.items():
            assert torch.equal(starts[task][name][0], tensor), name


@pytest.mark.parametrize(
    "given",
    [part("reset"), part("shrink_perturb", when="task_start", shrink=0.5, noise=0.1)],
    ids=lambda given: given["component"],
)
def test_a_head_that_the_benchmark_clears_is_clear_whatever_is_done_to_the_weights(given):
    of = dataclasses.replace(toy.benchmark([0, 1]), reset_head=True)
    run = toy.training([given], (0, 1), of=of, **SMALL)
    starts = {}

    def at_step():
        starts.setdefault(run.phase + 1, {n: t.clone() for n, t in run.ensemble.state().items()})

    run.run(at_step)
    assert list(starts) == [1, 2, 3]
    for weights in starts.values():
        for name, tensor in weights.items():
            if name.endswith("weight"):
                assert bool(tensor.any()) == (not name.startswith("stages.head")), name


OTHERS = [
    part("effective_rank", rate=0.01, every=2),
    part("continual_backprop", rate=0.05, maturity=3),
    part("replace_most_useful", rate=0.05, maturity=3),
    part("shrink_perturb", noise=0.01),
    part("redo", threshold=0.5, every=3),
    part("spectral_norm", strength=0.01),
    part("reset"),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other["component"])
def test_with_l2_both_act_and_order_does_not_matter(other):
    l2 = part("l2", strength=0.1)
    both, swapped, first, second, idle = (
        toy.trained(parts, **SMALL)
        for parts in ([l2, other], [other, l2], [l2], [other], [part("l2", strength=0.0), other])
    )
    name = "stages.hidden1.linear.weight"
    weights = [run.kept["task-3"][name] for run in (both, first, second)]
    for one, another in ((0, 1), (0, 2)):
        assert not torch.equal(weights[one], weights[another])
    # Draws belong to a part by its place, so only those without compare exactly.
    if other["component"] in ("effective_rank", "spectral_norm", "reset"):
        assert torch.equal(both.kept["task-3"][name], swapped.kept["task-3"][name])
        assert torch.equal(idle.kept["task-3"][name], second.kept["task-3"][name])
