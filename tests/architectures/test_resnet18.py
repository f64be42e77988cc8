import pytest
import torch
from torch import nn
from torchvision.models import resnet18 as torchvision_resnet18

from forgetting.architectures import resnet18
from forgetting.weights import weight_matrices


def build(
    width: int, outputs: int = 100, shape: tuple[int, int, int] = (3, 32, 32), *, pool: bool = False
) -> nn.Module:
    settings = resnet18.Settings(width=width, pool=pool)
    return resnet18.build(shape, outputs, settings, torch.Generator().manual_seed(0))


def test_as_many_parameters_as_torchvisions_but_for_the_stem() -> None:
    """Theirs has a 7x7 stem; every other layer is the same at width 64."""
    theirs = sum(p.numel() for p in torchvision_resnet18(num_classes=100).parameters())
    ours = sum(p.numel() for p in build(64).parameters())
    assert ours == theirs - 64 * 3 * (7 * 7 - 3 * 3)
    assert ours == 11_220_132


@pytest.mark.parametrize("pool", [False, True])
def test_the_same_function_as_torchvisions_given_its_weights(pool: bool) -> None:
    theirs = torchvision_resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if not pool:
        theirs.maxpool = nn.Identity()
    ours = build(64, outputs=10, pool=pool)
    # Both list their tensors in the order of the layers, so names need not be translated.
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state)
    ours, theirs = ours.double(), theirs.double()
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("size", [8, 28, 32])
def test_maps_are_halved_three_times(size: int) -> None:
    outputs = build(4, shape=(1, size, size)).activations(torch.zeros(2, 1, size, size))
    sides = [size, size, -(-size // 2), -(-size // 4), -(-size // 8)]
    shapes = [tuple(output.shape) for output in outputs.values()]
    widths = [4, 4, 8, 16, 32]
    maps = [(2, width, side, side) for width, side in zip(widths, sides, strict=True)]
    assert shapes == [*maps, (2, 32), (2, 100)]


def test_weight_matrices_are_the_convolutions_and_the_head() -> None:
    matrices = {name: tuple(matrix.shape) for name, matrix in weight_matrices(build(4)).items()}
    assert len(matrices) == 1 + 4 * 4 + 3 + 1
    assert matrices["stem.conv"] == (4, 27)
    assert matrices["stage1.block1.conv1"] == (4, 36)
    assert matrices["stage2.block1.conv1"] == (8, 36)
    assert matrices["stage2.block1.shortcut.conv"] == (8, 4)
    assert matrices["stage4.block2.conv2"] == (32, 288)
    assert matrices["head"] == (100, 32)
