"""The Fisher one sample at a time in plain autograd, and the penalty as the list of its tasks."""

import numpy as np
import pytest
import torch

import toy
from forgetting.ensemble import Ensemble
from forgetting.randomness import numpy_generator
from forgetting.strategies import ewc
from forgetting.strategy import Context
from forgetting.tasks import Batch

ESTIMATORS = ["exact", "sampled", "empirical"]
PLAIN = [{"component": "sgd", "settings": {}}]


def parts(**settings):
    return [{"component": "ewc", "settings": settings}]


class Reached(Exception):
    pass


def at_the_second_task(run):
    """Train up to the first step of task 2 and return the memory."""

    def stop():
        if run.phase == 1:
            raise Reached

    with pytest.raises(Reached):
        run.run(stop)
    return dict(run.memory["0-ewc"])


def dense(network, inputs, targets, outputs, draws, estimator):
    """The mean over samples of squared gradients, with a backward pass a sample and label."""
    network.eval()
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for image, target, competing, draw in zip(inputs, targets, outputs, draws, strict=True):
        classes = torch.nonzero(competing).flatten()
        p = network(image[None])[0, classes].detach().softmax(0)
        position = int(np.searchsorted(np.cumsum(p.numpy()), float(draw), side="right"))
        labels = {
            "exact": [(float(w), i) for i, w in enumerate(p)],
            "sampled": [(1.0, position)],
            "empirical": [(1.0, int(torch.nonzero(classes == target)))],
        }[estimator]
        for weight, label in labels:
            network.zero_grad()
            network(image[None])[0, classes].log_softmax(0)[label].backward()
            for name, parameter in network.named_parameters():
                total[name] += weight * parameter.grad**2 / len(inputs)
    return total


def close(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=tolerance, atol=1e-14)


@pytest.mark.parametrize("mask", ["all", "one", "each"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("architecture", ["mlp", "resnet18", "convgru"])
def test_each_estimator_is_the_loop_over_samples(architecture, estimator, mask):
    """For one network and for a stack of two, whatever outputs compete."""
    run = toy.trained(PLAIN, (0, 1), architecture=architecture, epochs=1, learning_rate=0.05)
    rng = np.random.default_rng(0)
    indices = torch.from_numpy(run.benchmark.train_indices([1])[:, :12])
    inputs, targets = run.benchmark.fetch(indices, 1)
    draws = torch.from_numpy(rng.random(indices.shape))
    own = run.benchmark.outputs_of(1)
    masks = {
        "all": None,
        "one": own[:, None],
        "each": own[:, None] | torch.from_numpy(rng.random((2, 12, 6)) < 0.5),
    }[mask]
    context = Context(own, run.benchmark.old_groups(1))
    settings = ewc.Settings(fisher=estimator)

    def fisher(ensemble, batch, draws, context):
        def of_one(net, batch, draws, context):
            memory = ewc.start(net, settings)
            return ewc.visit(net, memory, settings, batch=batch, draws=draws, context=context)

        memory = ensemble.map(of_one, batch, draws, context)
        return {n: s / 12 for n, s in memory["squares"].items()}, memory["seen"]

    together, seen = fisher(run.ensemble, Batch(inputs, targets, masks), draws, context)
    assert seen.tolist() == [12.0, 12.0]
    for seed, network in enumerate(toy.networks(run.benchmark, [0, 1], architecture)):
        network.load_state_dict({n: t[seed] for n, t in run.kept["task-3"].items()})
        competing = torch.ones(1, 6).bool() if masks is None else masks[seed]
        expected = dense(
            network, inputs[seed], targets[seed], competing.expand(12, -1), draws[seed], estimator
        )
        assert sum(float(f.sum()) for f in expected.values()) > 1e-6
        close({n: f[seed] for n, f in together.items()}, expected)
        alone = Batch(inputs[seed], targets[seed], None if masks is None else masks[seed])
        single = Ensemble([network])
        before = {n: t.clone() for n, t in single.state().items()}
        around = Context(own[seed], context.old_groups[seed])
        close(fisher(single, alone, draws[seed], around)[0], expected)
        for name, tensor in single.state().items():  # running statistics among them
            assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_are_drawn_by_the_inverse_of_the_distribution_function(dtype):
    p = torch.tensor([0.0, 0.2, 0.0, 0.5, 0.3, 0.0], dtype=dtype)
    grid = (torch.arange(10000, dtype=dtype) + 0.5) / 10000
    labels = torch.vmap(ewc.inverse_cdf, in_dims=(None, 0))(p, grid)
    assert torch.bincount(labels, minlength=6).tolist() == [0, 2000, 0, 5000, 3000, 0]
    assert ewc.inverse_cdf(p, torch.zeros((), dtype=dtype)) == 1
    # A draw just below 1 in the generator's precision may be 1 in that of the network.
    assert ewc.inverse_cdf(p, torch.tensor(1 - 1e-17, dtype=torch.float64).to(dtype)) == 4


def test_a_sampled_fisher_is_the_exact_one_on_average():
    run = toy.trained(PLAIN, epochs=1)
    indices = torch.from_numpy(run.benchmark.train_indices([1])[:, :1]).expand(1, 4000)
    inputs, targets = run.benchmark.fetch(indices, 1)
    mask = torch.ones(4000, 6, dtype=torch.bool)
    batch = Batch(inputs[0], targets[0], mask)
    draws = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    exact, sampled = (
        ewc.squared_gradients(net, batch, draws, estimator) for estimator in ("exact", "sampled")
    )
    for name, tensor in exact.items():
        torch.testing.assert_close(sampled[name], tensor, rtol=5e-3, atol=5e-3 * tensor.max())


@pytest.mark.parametrize("batch", [7, 50, 64])
@pytest.mark.parametrize("images", [None, 20])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_after_a_task_it_is_the_mean_over_the_images_asked_for(estimator, images, batch):
    """Through the training loop: the images and draws of the seed tree, the task's outputs."""
    settings = {"strength": 0.1, "fisher": estimator, "images": images, "batch": batch}
    run = toy.training(parts(**settings), scenario="task_incremental", epochs=1)
    memory = at_the_second_task(run)
    (network,) = toy.networks(run.benchmark, [0])
    network.load_state_dict({n: t[0] for n, t in run.kept["task-1"].items()})
    generator = numpy_generator("toy", 0, "visits", 1, "0-ewc")
    (tasks,) = run.benchmark.sequences
    chosen = tasks[0].train[generator.permutation(len(tasks[0].train))[:images]]
    draws = generator.random(len(chosen))
    inputs, targets = run.benchmark.fetch(torch.from_numpy(chosen), 1)
    outputs = torch.from_numpy(tasks[0].outputs).expand(len(chosen), -1)
    close(memory["fisher"], dense(network, inputs, targets, outputs, draws, estimator))
    for name, tensor in memory["anchor"].items():
        assert torch.equal(tensor, run.kept["task-1"][name][0])
    assert memory["constant"] == 0
    assert memory["seen"] == 0
    # Outputs of other tasks have no say in the first.
    head = memory["fisher"]["stages.head.weight"]
    assert (head[~torch.from_numpy(tasks[0].outputs)] == 0).all()
    assert (head > 0).any()


@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_estimating_changes_neither_weights_nor_statistics(architecture):
    run, plain = (
        toy.trained(of, architecture=architecture, dtype="float32", epochs=1, learning_rate=0.01)
        for of in (parts(strength=1.0), PLAIN)
    )
    for name, tensor in plain.kept["task-1"].items():
        assert torch.equal(tensor, run.kept["task-1"][name])
    assert any(
        not torch.equal(tensor, run.kept["task-2"][name])
        for name, tensor in plain.kept["task-2"].items()
    )


def consolidated(settings, tasks=3):
    """The memory after tasks with random Fishers and weights, and the list of these."""
    generator = torch.Generator().manual_seed(1)
    run = toy.training(PLAIN)
    net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
    context = Context(run.benchmark.outputs_of(2)[0], run.benchmark.old_groups(2)[0])

    def random(tensor):
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)

    memory, naive = ewc.start(net, settings), []
    for task in range(1, tasks + 1):
        with torch.no_grad():
            for parameter in net.params.values():
                parameter.add_(random(parameter))
        # Zero for about half of the parameters: there is no weight to average with there.
        squares = {n: (5 * random(p).clamp(min=0) ** 2).detach() for n, p in net.params.items()}
        gathered = {**memory, "squares": squares, "seen": torch.tensor(5.0, dtype=torch.float64)}
        memory = ewc.after_task(net, gathered, settings, task=task, context=context)
        naive.append(
            (
                {n: s / 5 for n, s in squares.items()},
                {n: p.detach().clone() for n, p in net.params.items()},
            )
        )
    with torch.no_grad():
        for parameter in net.params.values():
            parameter.add_(random(parameter))
    return net, memory, naive, context


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize(("accumulate", "gamma"), [("separate", 1), ("online", 1), ("online", 0.7)])
def test_the_penalty_is_the_list_of_tasks(accumulate, gamma, half):
    settings = ewc.Settings(strength=3.0, half=half, accumulate=accumulate, gamma=gamma)
    net, memory, naive, context = consolidated(settings)
    no_batch = Batch(torch.zeros(0), torch.zeros(0), None)
    (value,) = ewc.loss(net, no_batch, torch.zeros(0), memory, settings, context=context).values()
    expected = torch.zeros((), dtype=torch.float64)
    for age, (fisher, weights) in enumerate(reversed(naive)):
        anchor = weights if accumulate == "separate" else naive[-1][1]
        factor = (1.5 if half else 3.0) * (1 if accumulate == "separate" else gamma**age)
        for name, parameter in net.params.items():
            expected = expected + factor * (fisher[name] * (parameter - anchor[name]) ** 2).sum()
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    found, wanted = (
        torch.autograd.grad(term, list(net.params.values())) for term in (value, expected)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_no_penalty_in_the_first_task_or_without_strength():
    settings = ewc.Settings(strength=3.0)
    net, memory, _, context = consolidated(settings, tasks=1)
    batch = Batch(torch.zeros(0), torch.zeros(0), None)
    first = context._replace(old_groups=context.old_groups[:0])
    assert ewc.loss(net, batch, torch.zeros(0), memory, settings, context=first) == {}
    assert ewc.loss(net, batch, torch.zeros(0), memory, settings, context=context)
    nothing = ewc.Settings(strength=0)
    assert ewc.start(net, nothing) == {}
    assert ewc.loss(net, batch, torch.zeros(0), {}, nothing, context=context) == {}
    assert ewc.visits(nothing).images == 0


def test_a_stronger_penalty_holds_what_the_first_task_needs():
    """The distance moved in task 2, weighed by the Fisher of task 1, falls with the strength."""
    distances = []
    for strength in (1e-12, 10.0, 100.0):
        run = toy.training(parts(strength=strength), learning_rate=0.02, epochs=1)
        memory = at_the_second_task(run)
        run.run()
        moved = {n: run.kept["task-2"][n][0] - t for n, t in memory["anchor"].items()}
        distances.append(sum(float((memory["fisher"][n] * m**2).sum()) for n, m in moved.items()))
    assert distances[0] > 1.5 * distances[1] > 15 * distances[2] > 0
