import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from forgetting.architectures import mnist_cnn
from forgetting.errors import UserError
from forgetting.stages import Stages
from forgetting.weights import weight_matrices

GREY = (1, 28, 28)


def build(shape: tuple[int, int, int] = GREY, outputs: int = 10, **settings) -> Stages:
    chosen = mnist_cnn.Settings(**settings)
    return mnist_cnn.build(shape, outputs, chosen, torch.Generator().manual_seed(0))


def test_as_many_parameters_as_counted_by_hand() -> None:
    convolutions = (1 * 9 + 1) * 32 + (32 * 9 + 1) * 64
    connected = (64 * 12 * 12 + 1) * 128 + (128 + 1) * 10
    count = sum(p.numel() for p in build().parameters())
    assert count == convolutions + connected == 1_199_882
    assert not list(build().buffers())  # no batch norm
    matrices = {name: tuple(matrix.shape) for name, matrix in weight_matrices(build()).items()}
    assert matrices == {
        "conv1.conv": (32, 9),
        "conv2.conv": (64, 288),
        "hidden1.linear": (128, 9216),
        "head": (10, 128),
    }


@pytest.mark.parametrize(("size", "sides"), [(28, (26, 12)), (8, (6, 2))])
@torch.no_grad()
def test_stages_are_two_convolutions_a_pooling_and_a_hidden_layer(
    size: int, sides: tuple[int, int]
) -> None:
    net = build((1, size, size), 3, width=4, hidden=7)
    x = torch.randn(5, 1, size, size, generator=torch.Generator().manual_seed(1))
    outputs = net.activations(x)
    assert list(outputs) == net.stage_names == ["conv1", "conv2", "hidden1", "head"]
    state = {n.removeprefix("stages."): t for n, t in net.state_dict().items()}
    for number, side in enumerate(sides, start=1):
        weight, bias = (state[f"conv{number}.conv.{part}"] for part in ("weight", "bias"))
        patches = x.unfold(2, 3, 1).unfold(3, 3, 1)
        x = torch.einsum("nchwij,kcij->nkhw", patches, weight) + bias[:, None, None]
        x = x.clamp(min=0)
        if number == 2:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2))
        assert x.shape == (5, 4 * number, side, side)
        torch.testing.assert_close(outputs[f"conv{number}"], x)
    weight, bias = (state[f"hidden1.linear.{part}"] for part in ("weight", "bias"))
    x = functional.relu(x.flatten(1) @ weight.T + bias)
    assert x.shape == (5, 7)
    torch.testing.assert_close(outputs["hidden1"], x)
    torch.testing.assert_close(outputs["head"], x @ state["head.weight"].T + state["head.bias"])


def test_initial_weights_are_pytorchs_default() -> None:
    """Drawn again by hand in the order of the layers."""
    state = build((1, 8, 8), 3, width=4, hidden=7).state_dict()
    generator = torch.Generator().manual_seed(0)
    expected = {}
    for name, shape in {
        "conv1.conv": (4, 1, 3, 3),
        "conv2.conv": (8, 4, 3, 3),
        "hidden1.linear": (7, 8 * 2 * 2),
        "head": (3, 7),
    }.items():
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        for part, size in (("weight", shape), ("bias", shape[:1])):
            drawn = torch.empty(size).uniform_(-bound, bound, generator=generator)
            expected[f"stages.{name}.{part}"] = drawn
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_too_small_images_and_widths_are_refused() -> None:
    assert build((1, 6, 7))(torch.zeros(2, 1, 6, 7)).shape == (2, 10)
    with pytest.raises(UserError, match=r"5x28 pixels are too small .* it needs 6x6"):
        build((1, 5, 28))
    for settings in ({"width": 0}, {"hidden": 0}):
        with pytest.raises(ValidationError):
            mnist_cnn.Settings(**settings)
