import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from forgetting.architectures import mlp
from forgetting.weights import weight_matrices


def test_the_default_is_two_layers_of_400() -> None:
    net = mlp.build((1, 28, 28), 10, mlp.Settings(), torch.Generator().manual_seed(0))
    shapes = {name: tuple(matrix.shape) for name, matrix in weight_matrices(net).items()}
    assert shapes == {
        "hidden1.linear": (400, 784),
        "hidden2.linear": (400, 400),
        "head": (10, 400),
    }


@pytest.mark.parametrize(("activation", "low"), [("relu", 0.0), ("tanh", -1.0)])
@torch.no_grad()
def test_outputs_of_hidden_stages_are_after_the_nonlinearity(activation: str, low: float) -> None:
    settings = mlp.Settings(hidden=[20], activation=activation)
    net = mlp.build((1, 4, 4), 3, settings, torch.Generator().manual_seed(0))
    x = 50 * torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert net.activations(x)["hidden1"].min().item() == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("hidden", [[], [0], [10, -1]])
def test_widths_must_be_positive(hidden: list[int]) -> None:
    with pytest.raises(ValidationError):
        mlp.Settings(hidden=hidden)


def test_options_leave_what_earlier_settings_give_as_it_is() -> None:
    """Names and values of every tensor, drawn again by hand in the order of the layers."""
    settings = mlp.Settings(hidden=[20, 15], activation="tanh")
    state = mlp.build((1, 4, 4), 3, settings, torch.Generator().manual_seed(7)).state_dict()
    generator = torch.Generator().manual_seed(7)
    expected = {}
    for name, inputs, outputs in (
        ("hidden1.linear", 16, 20),
        ("hidden2.linear", 20, 15),
        ("head", 15, 3),
    ):
        bound = 1 / math.sqrt(inputs)
        for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            expected[f"stages.{name}.{part}"] = drawn
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_network_of_permuted_mnist_has_as_many_parameters_as_published() -> None:
    settings = mlp.Settings(hidden=[1000] * 3, initialisation="kaiming_uniform")
    net = mlp.build((1, 28, 28), 10, settings, torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in net.parameters()) == 2_797_010


@torch.no_grad()
def test_layer_norm_is_between_the_linear_map_and_the_nonlinearity() -> None:
    settings = mlp.Settings(hidden=[20], layer_norm=True)
    net = mlp.build((1, 4, 4), 3, settings, torch.Generator().manual_seed(0)).double()
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    hidden = net.stages["hidden1"]
    before = functional.linear(x.flatten(1), hidden.linear.weight, hidden.linear.bias)
    centred = before - before.mean(dim=1, keepdim=True)
    normal = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(net.activations(x)["hidden1"], normal.relu())
    hidden.norm.weight[:], hidden.norm.bias[:] = 2.0, 0.5
    torch.testing.assert_close(net.activations(x)["hidden1"], (2 * normal + 0.5).relu())
