"""ResNet-18 with fully connected layers before its head: the network of incremental CIFAR-100.

The ResNet-18 of ``resnet18`` (3x3 stem, no max-pooling, four stages of two basic blocks), with
biases in its convolutions, then ``hidden`` ReLU layers and the head. Prakash et al. (2025, arXiv
2509.22335) have two hidden layers of 512 in their code, normalised before the ReLU in one variant
(``layer_norm``), and draw weights by the number of outputs (``initialisation:
kaiming_fan_out``). Dohare et al. (2024, Nature 632, 768-774) have none (``hidden: []``), and
``initialisation: kaiming_normal``. Batch norm follows every convolution, so a bias has no effect
but through weight decay and what is measured of it.

Stages: ``stem``, ``stage1`` ... ``stage4``, ``features`` (global average pool), ``hidden1`` ...
``hiddenN``, ``head``.
"""

from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from forgetting.architectures._initial import redraw
from forgetting.architectures._layer_norm import LayerNorm
from forgetting.architectures._layers import GlobalAverage
from forgetting.architectures.resnet18 import residual_stages
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False


class Settings(BaseSettings):
    """Size of the network and how it starts."""

    width: Annotated[int, Field(gt=0)] = 64
    """Channels of the stem and the first stage; the later stages have 2, 4 and 8 times as many."""
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = (512, 512)
    """Units of every fully connected hidden layer."""
    biases: bool = True
    """Whether convolutions have biases (both sources)."""
    layer_norm: bool = False
    """Whether the fully connected hidden layers are normalised before their ReLU."""
    initialisation: Literal["default", "kaiming_fan_out", "kaiming_normal"] = "default"
    """PyTorch's default distribution, or those of Prakash et al. and of Dohare et al., whose
    biases are zero."""


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""

    def make() -> Stages:
        stages = residual_stages(input_shape[0], settings.width)
        units = 8 * settings.width
        if settings.biases:
            for stage in stages.values():
                _add_biases(stage)
        stages["features"] = GlobalAverage()
        for depth, wider in enumerate(settings.hidden, start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(units, wider))
            if settings.layer_norm:
                layers["norm"] = LayerNorm(wider)
            layers["relu"] = nn.ReLU()
            stages[f"hidden{depth}"] = nn.Sequential(layers)
            units = wider
        stages["head"] = nn.Linear(units, outputs)
        return Stages(stages)

    return redraw(construct(make, generator), settings.initialisation, generator)


def _add_biases(stage: nn.Module) -> None:
    """Give every convolution a bias, to be initialised with the rest."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.empty(module.out_channels))
