"""The path integral recomputed from a recorded trajectory, and what it stands for."""

import pytest
import torch
from torch.nn import functional

import toy
from forgetting.data_order import epoch_order
from forgetting.ensemble import Net
from forgetting.strategies import si
from forgetting.strategy import Context
from forgetting.tasks import Batch

PLAIN = [{"component": "sgd", "settings": {}}]
SMALL = {"learning_rate": 0.01, "epochs": 2, "batch_size": 10}


def parts(**settings):
    return [{"component": "si", "settings": settings}]


def gradient_of(run, weights, task, indices, architecture):
    """The gradient of the cross-entropy of a batch, in plain PyTorch, and its value."""
    (network,) = toy.networks(run.benchmark, [0], architecture)
    network.load_state_dict({n: t[0] for n, t in weights.items()})
    network.train()
    inputs, targets = run.benchmark.fetch(torch.from_numpy(indices), task)
    outputs = run.benchmark.outputs_until(task)[0]
    logits = network(inputs).masked_fill(~outputs, -torch.inf)
    value = functional.cross_entropy(logits, targets)
    value.backward()
    return {n: p.grad for n, p in network.named_parameters()}, float(value.detach())


def recorded(run):
    """Run it; return (task, epoch, step, weights) at every step boundary."""
    trajectory = []

    def at_step():
        weights = {n: t.clone() for n, t in run.ensemble.state().items()}
        trajectory.append((run.phase + 1, run.epoch, run.step, weights))

    run.run(at_step)
    return trajectory


@pytest.mark.parametrize("gradient", ["task", "total"])
@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize(
    ("architecture", "optimizer"), [("mlp", "sgd"), ("mlp", "adam"), ("resnet18", "sgd")]
)
def test_importances_are_those_of_the_trajectory(architecture, optimizer, nonnegative, gradient):
    """With momentum and weight decay, over three tasks; the penalty's gradient in closed form."""
    strength, damping = 0.3, 0.02
    run = toy.training(
        parts(strength=strength, damping=damping, nonnegative=nonnegative, gradient=gradient),
        architecture=architecture,
        optimizer=optimizer,
        weight_decay=0.01,
        **{**SMALL, "learning_rate": 0.001 if optimizer == "adam" else 0.01},
    )
    trajectory = recorded(run)
    names = list(run.ensemble.params)
    importance = dict.fromkeys(names, 0.0)
    for task in (1, 2, 3):
        steps = [entry for entry in trajectory if entry[0] == task]
        start, end = ({n: t[0] for n, t in run.kept[f"task-{t}"].items()} for t in (task - 1, task))
        path = dict.fromkeys(names, 0.0)
        for position, (_, epoch, step, weights) in enumerate(steps):
            order, _ = epoch_order(
                run.benchmark, (task,), name="toy", seeds=[0], task=task, epoch=epoch
            )
            indices = order[0, step * 10 : (step + 1) * 10]
            gradients, _ = gradient_of(run, weights, task, indices, architecture)
            last = position + 1 == len(steps)
            after = end if last else {n: t[0] for n, t in steps[position + 1][3].items()}
            for n in names:
                g = gradients[n]
                if gradient == "total" and task > 1:
                    g = g + 2 * strength * importance[n] * (weights[n][0] - start[n])
                path[n] = path[n] - g * (after[n] - weights[n][0])
        for n in names:
            gained = path[n].clamp(min=0) if nonnegative else path[n]
            importance[n] = importance[n] + gained / ((end[n] - start[n]) ** 2 + damping)
    memory = run.memory["0-si"]
    for n in names:
        torch.testing.assert_close(
            memory["importance"][n], importance[n], rtol=1e-8, atol=1e-8 * importance[n].abs().max()
        )
        assert torch.equal(memory["anchor"][n], run.kept["task-3"][n][0])
        assert (memory["path"][n] == 0).all()
    lowest = min(float(i.min()) for i in importance.values())
    assert lowest >= 0 or not nonnegative


def test_a_parameter_that_raised_the_loss_may_count_as_zero():
    path = {"w": torch.tensor([-2.0, 3.0, -0.5])}
    memory = {"path": path, "importance": {"w": torch.ones(3)}, "anchor": {"w": torch.zeros(3)}}
    net = Net({"w": torch.tensor([1.0, 2.0, 0.0])}, {}, None, None, own=False)
    for nonnegative, expected in (
        (True, [1.0, 1 + 3 / 4.5, 1.0]),
        (False, [1 - 2 / 1.5, 1 + 3 / 4.5, 1 - 0.5 / 0.5]),
    ):
        settings = si.Settings(nonnegative=nonnegative, damping=0.5)
        after = si.after_task(net, memory, settings, task=2, context=None)
        torch.testing.assert_close(after["importance"]["w"], torch.tensor(expected))


def test_the_choice_of_gradient_matters_from_the_second_task_on():
    runs = [
        toy.trained(parts(strength=3.0, damping=0.01, gradient=g), **SMALL)
        for g in ("task", "total")
    ]
    for name, tensor in runs[0].kept["task-2"].items():
        assert torch.equal(tensor, runs[1].kept["task-2"][name])
    name = "stages.head.weight"
    assert not torch.equal(runs[0].kept["task-3"][name], runs[1].kept["task-3"][name])


def path_integral(rate, steps, momentum):
    """Train steps over one batch; return the sum of omega and the decrease of the loss."""
    run = toy.training(
        parts(), learning_rate=rate, epochs=steps + 1, batch_size=50, momentum=momentum
    )

    class Reached(Exception):
        pass

    def stop():
        if run.epoch == steps:
            raise Reached

    with pytest.raises(Reached):
        run.run(stop)
    images = run.benchmark.train_indices([1])[0]
    before, after = (
        gradient_of(run, weights, 1, images, "mlp")[1]
        for weights in (run.kept["task-0"], run.ensemble.state())
    )
    path = run.memory["0-si"]["path"].values()
    return sum(float(contributions.sum()) for contributions in path), before - after


def test_the_path_integral_is_the_decrease_of_the_loss():
    """The sum of omega over all parameters tends to -delta L, as a Riemann sum with its step."""
    errors = []
    for rate, steps in ((0.04, 40), (0.02, 80), (0.01, 160)):
        collected, decrease = path_integral(rate, steps, momentum=0.0)
        assert decrease > 0.4
        errors.append(abs(collected / decrease - 1))
    assert errors[2] < 2e-3
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.05)
    assert errors[2] / errors[1] == pytest.approx(0.5, abs=0.05)


def test_the_path_integral_takes_the_displacement_that_momentum_made():
    collected, decrease = path_integral(0.001, 160, momentum=0.9)
    assert decrease > 0.4
    assert collected == pytest.approx(decrease, rel=2e-3)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_the_first_task_is_plain_training_bit_for_bit(architecture, seeds):
    run, plain = (
        toy.trained(of, seeds, architecture=architecture, dtype="float32", **SMALL)
        for of in (parts(strength=1.0), PLAIN)
    )
    for name, tensor in plain.kept["task-1"].items():
        assert torch.equal(tensor, run.kept["task-1"][name])
    assert any(
        not torch.equal(tensor, run.kept["task-2"][name])
        for name, tensor in plain.kept["task-2"].items()
    )
    statistics = {row[4] for row in run.record.history if row[1] == 1}
    assert statistics == {"loss", "accuracy"}


@pytest.mark.parametrize("half", [True, False])
def test_the_penalty_is_the_weighted_distance(half):
    run = toy.trained(parts(), **SMALL)
    memory, context = (
        run.memory["0-si"],
        Context(run.benchmark.outputs_of(2)[0], run.benchmark.old_groups(2)[0]),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in run.ensemble.params.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    settings = si.Settings(strength=3.0, half=half)
    batch = Batch(torch.zeros(0), torch.zeros(0), None)
    terms = si.loss(net, batch, torch.zeros(0), memory, settings, context=context)
    expected = sum(
        float((memory["importance"][n] * (p.detach() - run.kept["task-3"][n][0]) ** 2).sum())
        for n, p in run.ensemble.params.items()
    )
    assert terms["si"].item() == pytest.approx((1.5 if half else 3.0) * expected, rel=1e-12)
    assert expected > 0
    first = context._replace(old_groups=context.old_groups[:0])
    assert si.loss(net, batch, torch.zeros(0), memory, settings, context=first) == {}


def test_with_frozen_stages_only_what_moved_gains_importance():
    freeze = {"component": "freeze", "settings": {"stages": 2}}
    run = toy.trained([*parts(), freeze], **SMALL)
    alone = toy.trained(parts(), **SMALL)
    (name, *_), *_ = (run.ensemble.params,)
    assert name.startswith("stages.hidden1")
    frozen_gain = run.memory["0-si"]["importance"][name]
    assert (frozen_gain > 0).any()  # from the first task, where nothing was frozen
    assert (alone.memory["0-si"]["importance"][name] >= frozen_gain).all()
    assert (alone.memory["0-si"]["importance"][name] > frozen_gain).any()
