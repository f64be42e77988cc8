"""Initial weights of published protocols: their spread, their shape, their generator."""

import math
import typing

import pytest
import torch
from scipy import stats
from torch import nn

from forgetting.architectures import _initial, convnet, mlp, resnet18, resnet18_mlp
from forgetting.stages import HEAD, Stages, construct

# Variance times fan for a convolution, a hidden linear layer and the head, by published protocol.
GAINS = {
    "kaiming_uniform": (2, 2, 2),
    "kaiming_uniform_linear_head": (2, 2, 1),
    "lecun_normal": (1, 1, 1),
    "lecun_uniform": (1, 1, 1),
    "kaiming_normal": (2, 1, 1),
    "kaiming_fan_out": (2, 1, 1),
    "torchvision": (2, None, None),
}


def network() -> Stages:
    generator = torch.Generator().manual_seed(0)

    def make() -> Stages:
        return Stages(
            {
                "conv": nn.Conv2d(20, 120, 3),
                "hidden": nn.Linear(100, 300),
                "norm": nn.BatchNorm2d(3),
                HEAD: nn.Linear(300, 100),
            }
        )

    return construct(make, generator)


@pytest.mark.parametrize("name", GAINS)
def test_schemes_have_the_published_distribution(name: str) -> None:
    net = _initial.redraw(network(), name, torch.Generator().manual_seed(1))
    layers = [net.stages[stage] for stage in ("conv", "hidden", HEAD)]
    outwards = name in ("kaiming_fan_out", "torchvision")
    fans = [1080, 300, 100] if outwards else [180, 100, 300]
    for layer, fan, gain in zip(layers, fans, GAINS[name], strict=True):
        if gain is None:
            continue
        std = math.sqrt(gain / fan)
        values = (layer.weight.detach() / std).flatten().double().numpy()
        # The distribution of variance 1 of which the weights should be a sample.
        if "uniform" in name:
            expected = stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))
        elif name in ("kaiming_normal", "torchvision"):
            expected = stats.norm()
        else:
            scale = 1 / stats.truncnorm(-2, 2).std()
            expected = stats.truncnorm(-2, 2, scale=scale)
        assert stats.kstest(values, expected.cdf).pvalue > 0.001
        assert values.std() == pytest.approx(1, abs=0.015)
        assert not layer.bias.any()
    assert torch.equal(net.stages["norm"].weight, torch.ones(3))
    before = network().state_dict()
    left = [n for n, tensor in net.state_dict().items() if torch.equal(tensor, before[n])]
    assert ("hidden.weight" in "".join(left)) == (GAINS[name][1] is None)


def test_the_default_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    net = _initial.redraw(network(), "default", generator)
    assert torch.equal(generator.get_state(), before)
    same = network().state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("architecture", [mlp, convnet, resnet18, resnet18_mlp])
def test_architectures_offer_schemes_that_there_are(architecture: typing.Any) -> None:
    offered = typing.get_args(architecture.Settings.model_fields["initialisation"].annotation)
    assert {*offered} <= {"default", *_initial.SCHEMES}
    assert {*_initial.SCHEMES} == {*GAINS}
    for name in offered[1:]:
        settings = architecture.Settings(initialisation=name)
        net = architecture.build((3, 32, 32), 4, settings, torch.Generator().manual_seed(0))
        assert net.stages[HEAD].bias.any() == (GAINS[name][2] is None)
