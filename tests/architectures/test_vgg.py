import pytest
import torch
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from forgetting.architectures import vgg
from forgetting.weights import weight_matrices


def build(*, outputs: int = 10, shape: tuple[int, int, int] = (3, 32, 32), **settings) -> nn.Module:
    return vgg.build(shape, outputs, vgg.Settings(**settings), torch.Generator().manual_seed(0))


def torchvisions(layers: int, *, batch_norm: bool = True) -> nn.Module:
    """What vgg11_bn() and its like call their features."""
    configuration = {11: "A", 13: "B", 16: "D", 19: "E"}[layers]
    return make_layers(cfgs[configuration], batch_norm=batch_norm)


def images(size: int, n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, size, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("layers", [11, 13, 16, 19])
def test_as_many_parameters_as_torchvisions_features(layers: int) -> None:
    """Theirs have biases in front of batch norm too."""
    with torch.device("meta"):
        theirs = torchvisions(layers)
        plain = torchvisions(layers, batch_norm=False)
    biases = sum(m.bias.numel() for m in theirs if isinstance(m, nn.Conv2d))
    head = 512 * 10 + 10
    count = sum(p.numel() for p in build(layers=layers).parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) - biases + head
    count = sum(p.numel() for p in build(layers=layers, batch_norm=False).parameters())
    assert count == sum(p.numel() for p in plain.parameters()) + head


def test_published_size_on_cifar() -> None:
    assert sum(p.numel() for p in build().parameters()) == 14_724_042


@pytest.mark.parametrize("layers", [11, 16])
def test_the_same_features_as_torchvisions_given_its_weights(layers: int) -> None:
    """Batch norm takes their biases away again: in the running mean when not training."""
    theirs = torchvisions(layers).double()
    generator = torch.Generator().manual_seed(1)
    values = []
    for layer in theirs:
        if isinstance(layer, nn.Conv2d):
            nn.init.uniform_(layer.bias, -1, 1, generator=generator)
            values.append(layer.weight)
            bias = layer.bias
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2, generator=generator)
            nn.init.uniform_(layer.bias, -1, 1, generator=generator)
            nn.init.uniform_(layer.running_var, 0.5, 2, generator=generator)
            state = layer.state_dict()
            state["running_mean"] = state["running_mean"] - bias
            values += state.values()
    ours = build(layers=layers).double()
    names = [name for name in ours.state_dict() if "head" not in name]
    ours.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    for mode in (False, True):
        theirs.train(mode)
        ours.train(mode)
        features = ours.activations(images(32))["features"]
        torch.testing.assert_close(features, theirs(images(32)).flatten(1), rtol=1e-10, atol=1e-10)


def test_without_batch_norm_the_same_features_as_torchvisions() -> None:
    theirs = torchvisions(11, batch_norm=False).double()
    ours = build(layers=11, batch_norm=False).double()
    names = [name for name in ours.state_dict() if "head" not in name]
    state = dict(zip(names, theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state, strict=False)
    features = ours.activations(images(32))["features"]
    assert features.abs().mean() > 1e-3
    torch.testing.assert_close(features, theirs(images(32)).flatten(1), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        (64, [32, 16, 8, 4, 2]),
        (32, [16, 8, 4, 2, 1]),
        (28, [14, 7, 3, 3, 1]),
        (16, [8, 4, 2, 2, 1]),
        (8, [4, 2, 2, 2, 1]),
    ],
)
def test_a_stage_sees_at_least_two_by_two_positions(size: int, sides: list[int]) -> None:
    net = build(width=2, layers=11, shape=(3, size, size)).double()
    shapes = [tuple(output.shape) for output in net.activations(images(size)).values()]
    maps = [(3, w, side, side) for w, side in zip([2, 4, 8, 16, 16], sides, strict=True)]
    assert shapes == [*maps, (3, 16), (3, 10)]


@pytest.mark.parametrize("size", [16, 32])
def test_every_weight_of_a_kernel_meets_the_image(size: int) -> None:
    net = build(width=2, layers=19, shape=(3, size, size)).double()
    net(images(size, n=40)).square().sum().backward()
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4:
            assert (parameter.grad.abs().sum((0, 1)) > 0).all(), name


def test_a_single_image_can_be_trained_on() -> None:
    """The last batch of an epoch may hold one: batch norm then needs more than one position."""
    assert build(width=2, shape=(3, 16, 16)).double()(images(16, n=1)).isfinite().all()


def test_weight_matrices_are_the_convolutions_and_the_head() -> None:
    matrices = {n: tuple(m.shape) for n, m in weight_matrices(build(layers=16, width=4)).items()}
    assert len(matrices) == 16 - 2  # one linear layer instead of three
    assert matrices["stage1.conv1"] == (4, 27)
    assert matrices["stage2.conv2"] == (8, 72)
    assert matrices["stage5.conv3"] == (32, 288)
    assert matrices["head"] == (10, 32)
