"""Online learning written out, against the framework's own loop step by step."""

import math

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from forgetting import online
from forgetting.architectures import convgru, mlp, resnet18
from forgetting.building import vectorises
from forgetting.ensemble import Ensemble
from forgetting.randomness import torch_generator
from forgetting.steps import Steps
from forgetting.strategy import Context, Strategy
from forgetting.tasks import Batch
from forgetting.training import Settings

SHAPE, OUTPUTS = (1, 4, 5), 3


def network(seed=0, hidden=(7, 6, 5), **settings):
    chosen = mlp.Settings(hidden=hidden, **settings)
    made = mlp.build(SHAPE, OUTPUTS, chosen, torch_generator("online", seed))
    return made.to(torch.float64)


def stream(seeds, steps):
    generator = torch_generator("stream")
    inputs = torch.randn(seeds, steps, *SHAPE, dtype=torch.float64, generator=generator)
    return inputs, torch.randint(OUTPUTS, (seeds, steps), generator=generator)


def by_framework(net, inputs, targets, *, rate, decay):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, weight_decay=decay)
    losses, hits = [], []
    for image, target in zip(inputs, targets, strict=True):
        logits = net(image[None])
        loss = torch.nn.functional.cross_entropy(logits, target[None])
        losses.append(loss.item())
        hits.append(float(logits.argmax() == target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(hits, dtype=torch.float64)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden", [(7, 6, 5), (4,)])
@pytest.mark.parametrize("large", [0, online.LARGE])
def test_it_is_stochastic_gradient_descent(monkeypatch, large, seeds, hidden, layer_norm, decay):
    monkeypatch.setattr(online, "LARGE", large)  # 0: every matrix is updated as large ones are
    inputs, targets = stream(seeds, 40)
    ensemble = Ensemble([network(seed, hidden, layer_norm=layer_norm) for seed in range(seeds)])
    steps = online.Online(ensemble)
    # In two stretches, as an interrupted training takes them.
    parts = [
        steps.run(inputs[:, part], targets[:, part], rate=0.1, decay=decay)
        for part in (slice(0, 25), slice(25, None))
    ]
    for seed in range(seeds):
        alone = network(seed, hidden, layer_norm=layer_norm)
        losses, hits = by_framework(alone, inputs[seed], targets[seed], rate=0.1, decay=decay)
        found = torch.cat([part["loss"][:, seed] for part in parts])
        torch.testing.assert_close(found, losses, rtol=1e-10, atol=1e-12)
        right = torch.cat([part["accuracy"][:, seed] for part in parts])
        assert torch.equal(right.double(), hits)
        for name, parameter in alone.named_parameters():
            mine = ensemble.spread(ensemble.params[name])[seed]
            torch.testing.assert_close(mine, parameter, rtol=1e-10, atol=1e-12)


def test_in_single_precision_it_is_the_same_up_to_rounding():
    inputs, targets = stream(1, 200)
    ensemble, alone = Ensemble([network().float()]), network().float()
    online.Online(ensemble).run(inputs.float(), targets, rate=0.05, decay=0.01)
    by_framework(alone, inputs[0].float(), targets[0], rate=0.05, decay=0.01)
    for name, parameter in alone.named_parameters():
        assert ensemble.params[name].dtype == torch.float32
        torch.testing.assert_close(ensemble.params[name], parameter, rtol=1e-3, atol=1e-5)


def test_all_seeds_at_once_are_the_seeds_in_turn():
    inputs, targets = stream(2, 30)
    wanted = torch.nn.functional.one_hot(targets, OUTPUTS).double()
    turn = Ensemble([network(0), network(1)])
    online.Online(turn).run(inputs, targets, rate=0.1, decay=0.02)
    together = Ensemble([network(0), network(1)])
    names = [n for n, module in network().named_modules() if isinstance(module, torch.nn.Linear)]
    layers = [(together.params[f"{n}.weight"], together.params[f"{n}.bias"]) for n in names]
    with torch.no_grad():
        online.all_networks(layers, inputs.flatten(2), wanted, rate=0.1, decay=0.02)
    for name, parameter in turn.params.items():
        torch.testing.assert_close(parameter, together.params[name], rtol=1e-10, atol=1e-12)


def test_which_networks_it_applies_to():
    assert online.applies(network())
    assert online.applies(network(layer_norm=True))
    assert not online.applies(network(layer_norm=True), on_cpu=False)
    assert not online.applies(network(activation="tanh"))
    generator = torch_generator("other")
    assert not online.applies(resnet18.build((3, 8, 8), 3, resnet18.Settings(width=2), generator))
    assert not online.applies(convgru.build((3, 8, 8), 3, convgru.Settings(channels=2), generator))


def test_on_a_cpu_steps_of_one_sample_are_taken_seed_by_seed():
    spec = {"architecture": {"component": "mlp"}, "training": {"batch_size": 1}}
    assert not vectorises(spec, torch.device("cpu"))
    assert vectorises(spec, torch.device("cuda"))
    assert vectorises({**spec, "training": {"batch_size": 2}}, torch.device("cpu"))


SPECTRAL = [
    {"component": "spectral_norm", "settings": {"strength": 0.1, "iterations": 12}},
    {"component": "l2", "settings": {"strength": 0.01}},
]
REPLACING = {"rate": 0.02, "maturity": 5}
ADAPTABLE = {"utility": "adaptable_contribution", "transfer_bias": True}


@pytest.mark.parametrize(
    ("seeds", "parts"),
    [
        (1, SPECTRAL),
        (2, SPECTRAL),
        (1, [{"component": "continual_backprop", "settings": REPLACING}]),
        (1, [{"component": "continual_backprop", "settings": {**REPLACING, **ADAPTABLE}}]),
        (1, [{"component": "replace_most_useful", "settings": REPLACING}, *SPECTRAL]),
        (1, [{"component": "redo", "settings": {"threshold": 0.3, "every": 7}}]),
    ],
)
def test_steps_written_out_are_those_of_the_loop(seeds, parts):
    strategy = Strategy.from_entry({"parts": parts})
    settings = Settings(batch_size=1, learning_rate=0.1, dtype="float64")
    inputs, targets = stream(seeds, 60)
    written, looped = (Ensemble([network(s) for s in range(seeds)]) for _ in range(2))
    fast, slow = Steps(written, strategy, settings), Steps(looped, strategy, settings)
    assert fast.online is not None
    generators = {}

    def draws(ensemble):
        def generator(position, role):
            key = (id(ensemble), position, role)
            return generators.setdefault(key, torch_generator("online", position, role))

        def drawn(step):
            return strategy.draw(ensemble, generator, step)

        return drawn

    own, found = strategy.start(written), []
    for part, first in ((slice(0, 25), 1), (slice(25, None), 26)):
        own, facts = fast.steps_of_one(
            inputs[:, part], targets[:, part], own, draws(written), first
        )
        found.append(facts)
    found = {name: torch.cat([facts[name] for facts in found]) for name in found[0]}
    memory, drawn = strategy.start(looped), draws(looped)
    everything = Context(torch.ones(OUTPUTS, dtype=bool), torch.ones(0, OUTPUTS, dtype=bool))
    context = everything if seeds == 1 else Context(*(torch.stack([x] * seeds) for x in everything))
    gather = looped.gather
    for step in range(inputs.shape[1]):
        batch = Batch(gather(inputs[:, step, None]), gather(targets[:, step, None]), None)
        memory, facts = slow.step(batch, 1, memory, context, drawn(step + 1), step + 1)
        assert set(facts) == set(found)
        for name, value in facts.items():
            torch.testing.assert_close(found[name][step], value.to(found[name]), rtol=1e-9, atol=0)
    for name, parameter in written.params.items():
        torch.testing.assert_close(parameter, looped.params[name], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(own, memory, rtol=1e-9, atol=1e-12)
    if "spectral_norm" in found:
        assert found["spectral_norm"].min() > 0
    if any("born" in fact for layers in memory.values() for fact in layers.values() if layers):
        born = [layer["born"] for layer in memory[next(iter(memory))].values()]
        assert torch.cat(born).any()  # units were replaced


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cleared_head_has_a_spectral_norm_and_no_slope(dtype):
    ensemble = Ensemble([network().to(dtype)])
    ensemble.clear_head()
    strategy = Strategy.from_entry({"parts": SPECTRAL[:1]})
    memory = tree_map(torch.Tensor.numpy, strategy.start(ensemble))
    params = {name: p.detach().numpy() for name, p in ensemble.params.items()}
    terms, (gradients,) = strategy.loss_gradients(params, memory)
    assert math.isfinite(terms["spectral_norm"])
    assert all(np.isfinite(part).all() for found in gradients.values() for part in found)
    slope, _ = gradients["stages.head.weight"]
    assert not slope.any()


def test_a_strategy_that_looks_into_the_step_is_not_written_out():
    settings = Settings(batch_size=1)
    for component, seeds, written in (
        ("spectral_norm", 2, True),
        ("l2", 2, True),
        ("continual_backprop", 1, True),
        ("continual_backprop", 2, False),
        ("si", 1, False),
        ("ewc", 1, False),
    ):
        strategy = Strategy.from_entry({"parts": [{"component": component, "settings": {}}]})
        steps = Steps(Ensemble([network(s) for s in range(seeds)]), strategy, settings)
        assert (steps.online is not None) == written
