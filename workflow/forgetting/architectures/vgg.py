"""VGG for small images (Simonyan & Zisserman 2015, arXiv 1409.1556).

Five stages of 3x3 convolutions of stride 1, each convolution followed by a ReLU and each stage by
2x2 max-pooling; table 1 of the paper gives the number of convolutions of a stage and its channels,
w, 2w, 4w, 8w and 8w. ``width`` 64 is the published size.

What is ours: batch norm before every ReLU (the paper predates it), and then no biases, which it
would cancel; the features are averaged over positions and one linear layer makes the logits, as is
usual for CIFAR, where the paper has three layers of 4,096 units and dropout; and pooling is left
out where the next stage would see a single position, in which eight of the nine weights of its
kernels meet padding only. A 32x32 image is halved after every stage; a 16x16 image not after the
fourth, so that the last stage sees 2x2 positions in either case.

Stages: ``stage1`` ... ``stage5``, ``features`` (global average pool, the last hidden layer),
``head``. Initial values are PyTorch's default distributions.
"""

from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from forgetting.architectures._layers import ChannelsLast, GlobalAverage
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False
# Configurations A, B, D and E of table 1: convolutions of each stage.
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (1, 2, 4, 8, 8)


class Settings(BaseSettings):
    """Size of the network."""

    layers: Literal[11, 13, 16, 19] = 16
    """Layers with weights of the published network, which has two more linear ones."""
    width: Annotated[int, Field(gt=0)] = 64
    """Channels of the first stage; the later stages have 2, 4, 8 and 8 times as many."""
    batch_norm: bool = True
    """Whether every convolution is followed by batch norm."""


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""

    def make() -> Stages:
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        channels, *sides = input_shape
        side = min(sides)
        for number, convolutions in enumerate(CONVOLUTIONS[settings.layers], start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if number == 1:
                layers["layout"] = ChannelsLast()
            width = settings.width * WIDTHS[number - 1]
            for depth in range(1, convolutions + 1):
                layers[f"conv{depth}"] = nn.Conv2d(
                    channels, width, 3, padding=1, bias=not settings.batch_norm
                )
                if settings.batch_norm:
                    layers[f"norm{depth}"] = nn.BatchNorm2d(width)
                layers[f"relu{depth}"] = nn.ReLU(inplace=True)
                channels = width
            if side // 2 >= (1 if number == 5 else 2):
                layers["pool"] = nn.MaxPool2d(2)
                side //= 2
            stages[f"stage{number}"] = nn.Sequential(layers)
        stages["features"] = GlobalAverage()
        stages["head"] = nn.Linear(channels, outputs)
        return Stages(stages)

    return construct(make, generator)
