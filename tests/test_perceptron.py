"""Minibatches of a perceptron are what the framework makes of them."""

import pytest
import torch

import toy
from forgetting import gradients, perceptron, steps
from forgetting.ensemble import Ensemble

STRATEGIES = {
    "sgd": {},
    "experience_replay": {"buffer": 20},
    "lwf": {"alpha": 3.0},
    "ewc": {"strength": 10.0},
    "si": {"strength": 1.0, "damping": 0.01},
    "nc1": {"strength": 0.5, "cap": 1.0},
    "spectral_norm": {"strength": 0.1},
    "freeze": {"stages": 1},
    "shrink_perturb": {"noise": 0.01},
    "continual_backprop": {"rate": 0.05, "maturity": 3},
}
SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "learning_rate": 0.001},
}


def both_ways(monkeypatch, name, seeds, dtype, **settings):
    parts = [{"component": name, "settings": STRATEGIES[name]}]
    settings = {"dtype": dtype, "learning_rate": 0.05, **settings}
    fast = toy.training(parts, seeds, **settings)

    def slowly(*args, written_out, **more):
        return gradients.by_framework(*args, **more)

    monkeypatch.setattr(steps, "gradients_for", slowly)
    slow = toy.training(parts, seeds, **settings)
    for run in (fast, slow):
        run.run()
    return fast, slow


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_network_is_trained_as_by_the_framework_to_the_last_bit(name, monkeypatch):
    fast, slow = both_ways(monkeypatch, name, (0,), "float32")
    for moment, tensors in slow.kept.items():
        for key, tensor in tensors.items():
            assert torch.equal(fast.kept[moment][key], tensor), (moment, key)
    assert fast.record.history == slow.record.history


@pytest.mark.parametrize("name", STRATEGIES)
def test_stacked_networks_are_trained_as_by_the_framework(name, monkeypatch):
    fast, slow = both_ways(monkeypatch, name, (0, 3), "float64", learning_rate=0.01, batch_size=10)
    for moment, tensors in slow.kept.items():
        for key, tensor in tensors.items():
            torch.testing.assert_close(fast.kept[moment][key], tensor, rtol=1e-10, atol=1e-10)
    assert fast.record.accuracy == slow.record.accuracy


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_optimiser_gets_the_same_gradients(settings, monkeypatch):
    fast, slow = both_ways(monkeypatch, "sgd", (0,), "float32", **SETTINGS[settings])
    for key, tensor in slow.kept["task-3"].items():
        assert torch.equal(fast.kept["task-3"][key], tensor), key


def test_which_networks_it_applies_to():
    of = toy.benchmark((0,))
    for architecture, applies in (("mlp", True), ("convgru", False), ("resnet18", False)):
        ensemble = Ensemble(toy.networks(of, [0], architecture))
        assert (perceptron.Perceptron.of(ensemble) is not None) == applies


def test_squares_of_single_gradients_need_no_single_gradient():
    network = Ensemble(toy.networks(toy.benchmark((0,)), [0])).network
    layers = perceptron.layers_of(network, {n: p.detach() for n, p in network.named_parameters()})
    inputs = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    units = perceptron.forward(layers, inputs.flatten(1))
    slope = torch.randn(units[-1].shape, generator=torch.Generator().manual_seed(1)).double()
    found = perceptron.squared_gradients(layers, inputs.flatten(1), units, slope)
    expected = [torch.zeros_like(p) for p in network.parameters()]
    for image, of_logits in zip(inputs, slope, strict=True):
        single = torch.autograd.grad(
            (network(image[None])[0] * of_logits).sum(), network.parameters()
        )
        expected = [total + g**2 for total, g in zip(expected, single, strict=True)]
    for square, wanted in zip([s for layer in found for s in layer], expected, strict=True):
        torch.testing.assert_close(square, wanted, rtol=1e-10, atol=1e-12)
