import pytest
import torch
from torch.nn import functional

from forgetting.architectures import convnet
from forgetting.errors import UserError
from forgetting.stages import Stages


def build(shape: tuple[int, int, int] = (3, 32, 32), **settings) -> Stages:
    chosen = convnet.Settings(**settings)
    return convnet.build(shape, 2, chosen, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("padding", "parameters"), [("none", 177_218), ("same", 373_826)])
def test_as_many_parameters_as_published(padding: str, parameters: int) -> None:
    assert sum(p.numel() for p in build(padding=padding).parameters()) == parameters


@pytest.mark.parametrize(("padding", "sides"), [("none", (14, 6, 2)), ("same", (16, 8, 4))])
def test_stages_are_convolution_relu_pooling(padding: str, sides: tuple[int, ...]) -> None:
    net = build(padding=padding, width=4, hidden=[7, 5])
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    outputs = net.activations(x)
    state = {n.removeprefix("stages."): t for n, t in net.state_dict().items()}
    margins = (0, 0, 0) if padding == "none" else (2, 1, 1)
    for number, (side, margin) in enumerate(zip(sides, margins, strict=True), start=1):
        weight, bias = (state[f"conv{number}.conv.{part}"] for part in ("weight", "bias"))
        maps = functional.relu(functional.conv2d(x, weight, bias, padding=margin))
        x = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2))
        assert x.shape == (3, 4 * 2 ** (number - 1), side, side)
        torch.testing.assert_close(outputs[f"conv{number}"], x)
    x = x.flatten(1)
    for stage in ("hidden1", "hidden2"):
        weight, bias = (state[f"{stage}.linear.{part}"] for part in ("weight", "bias"))
        x = functional.relu(x @ weight.T + bias)
        torch.testing.assert_close(outputs[stage], x)
    torch.testing.assert_close(outputs["head"], x @ state["head.weight"].T + state["head.bias"])


def test_layer_norm_of_maps_is_over_channels_at_each_position() -> None:
    net = build(layer_norm=True, width=4).double()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    stage = net.stages["conv1"]
    maps = functional.conv2d(x, stage.conv.weight, stage.conv.bias)
    centred = maps - maps.mean(dim=1, keepdim=True)
    normal = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    expected = functional.max_pool2d(normal.relu(), 2)
    torch.testing.assert_close(net.activations(x)["conv1"], expected)
    extra = 2 * (4 + 8 + 16 + 128 + 128)
    plain = build(width=4)
    assert sum(p.numel() for p in net.parameters()) == extra + sum(
        p.numel() for p in plain.parameters()
    )


def test_too_small_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"16x16 pixels are too small .* none; set padding: same"):
        build((3, 16, 16))
    assert build((1, 16, 16), padding="same")(torch.zeros(2, 1, 16, 16)).shape == (2, 2)
    with pytest.raises(UserError, match="23x24"):
        build((1, 23, 24))
    with pytest.raises(UserError, match="it needs 8x8"):
        build((3, 7, 8), padding="same")
    assert build((1, 24, 24))(torch.zeros(2, 1, 24, 24)).shape == (2, 2)
