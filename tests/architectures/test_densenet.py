import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.models import DenseNet

from forgetting.architectures import densenet
from forgetting.errors import UserError
from forgetting.weights import weight_matrices


def build(*, outputs: int = 10, shape: tuple[int, int, int] = (3, 32, 32), **settings) -> nn.Module:
    settings = densenet.Settings(**settings)
    return densenet.build(shape, outputs, settings, torch.Generator().manual_seed(0))


def torchvisions(blocks: tuple[int, ...], growth: int) -> nn.Module:
    theirs = DenseNet(growth, blocks, num_init_features=2 * growth, num_classes=10)
    theirs.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    theirs.features.pool0 = nn.Identity()
    return theirs


def test_as_many_parameters_as_torchvisions_with_our_stem() -> None:
    with torch.device("meta"):
        theirs = torchvisions((6, 12, 24, 16), 12)
    ours = sum(p.numel() for p in build().parameters())
    assert ours == sum(p.numel() for p in theirs.parameters()) == 1_000_666


@pytest.mark.parametrize(("blocks", "growth"), [((6, 12, 24, 16), 12), ((2, 1, 3), 5)])
def test_the_same_function_as_torchvisions_given_its_weights(blocks: tuple, growth: int) -> None:
    theirs = torchvisions(blocks, growth).double()
    generator = torch.Generator().manual_seed(1)
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2, generator=generator)
            nn.init.uniform_(layer.bias, -1, 1, generator=generator)
            nn.init.uniform_(layer.running_var, 0.5, 2, generator=generator)
    ours = build(blocks=blocks, growth=growth).double()
    # Both list their tensors in the order of the layers, so names need not be translated.
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state)
    x = torch.randn(3, 3, 16, 16, generator=generator, dtype=torch.float64)
    for mode in (False, True):
        theirs.train(mode)
        ours.train(mode)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [8, 28, 32])
def test_maps_are_halved_and_channels_grow(size: int) -> None:
    net = build(blocks=(2, 1, 1, 3), growth=4, shape=(1, size, size))
    shapes = [
        tuple(output.shape) for output in net.activations(torch.rand(2, 1, size, size)).values()
    ]
    channels = [8, (8 + 2 * 4) // 2, (8 + 4) // 2, (6 + 4) // 2, 5 + 3 * 4]
    sides = [size, size // 2, size // 4, size // 8, size // 8]
    maps = [(2, width, side, side) for width, side in zip(channels, sides, strict=True)]
    assert shapes == [*maps, (2, 17), (2, 10)]


@torch.no_grad()
def test_a_layer_hands_on_what_it_has_read() -> None:
    net = build(blocks=(3,), growth=2)
    maps = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    for depth in (1, 2, 3):
        before, maps = maps.clone(), net.stages["block1"][depth - 1](maps)
        assert maps.shape[1] == 4 + 2 * depth
        assert torch.equal(maps[:, :-2], before)


def test_an_image_must_survive_the_transitions() -> None:
    with pytest.raises(UserError, match=r"4x4.*at most 3 blocks"):
        build(blocks=(1, 1, 1, 1), shape=(3, 4, 4))
    assert build(blocks=(1, 1, 1), shape=(3, 4, 4))(torch.rand(2, 3, 4, 4)).shape == (2, 10)


@pytest.mark.parametrize("settings", [{"blocks": []}, {"blocks": [2, 0]}, {"growth": 0}])
def test_sizes_must_be_positive(settings: dict) -> None:
    with pytest.raises(ValidationError):
        densenet.Settings(**settings)


def test_weight_matrices_are_the_convolutions_and_the_head() -> None:
    net = build(blocks=(2, 1), growth=4)
    matrices = {name: tuple(matrix.shape) for name, matrix in weight_matrices(net).items()}
    assert matrices == {
        "stem.conv": (8, 27),
        "block1.layer1.conv1": (16, 8),
        "block1.layer1.conv2": (4, 144),
        "block1.layer2.conv1": (16, 12),
        "block1.layer2.conv2": (4, 144),
        "block1.conv": (8, 16),
        "block2.layer1.conv1": (16, 8),
        "block2.layer1.conv2": (4, 144),
        "head": (10, 12),
    }
