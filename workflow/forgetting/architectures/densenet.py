"""DenseNet-BC for small images (Huang et al. 2017, arXiv 1608.06993) with the usual CIFAR stem.

Every layer of a block reads the maps of all layers before it, concatenated, and adds ``growth`` of
its own: batch norm, ReLU and a 1x1 convolution to 4 * growth channels (the bottleneck, B), then
batch norm, ReLU and a 3x3 convolution. A transition between blocks (batch norm, ReLU, 1x1
convolution, 2x2 average pool) halves the channels (the compression, C) and the image. The stem is
one 3x3 convolution of stride 1 to 2 * growth channels, without max-pooling.

The paper's networks for CIFAR have three blocks of equal length; four of 6, 12, 24 and 16 layers
are its DenseNet-121. No dropout.

Stages: ``stem``, ``block1`` ... ``block4`` (a block with the transition behind it, the last one
with batch norm and ReLU), ``features`` (global average pool, the last hidden layer), ``head``.
Initial values are PyTorch's default distributions, not the paper's.
"""

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from forgetting.architectures._layers import ChannelsLast, GlobalAverage, Pointwise
from forgetting.errors import UserError
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False


class Settings(BaseSettings):
    """Size of the network."""

    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (6, 12, 24, 16)
    """Layers of each block."""
    growth: PositiveInt = 12
    """Channels that a layer adds."""


class DenseLayer(nn.Module):
    """One layer of a block: its own maps appended to all that it has read."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = Pointwise(inputs, 4 * growth)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, inputs, H, W) to (N, inputs + growth, H, W)."""
        inner = self.conv1(functional.relu(self.norm1(maps), inplace=True))
        own = self.conv2(functional.relu(self.norm2(inner), inplace=True))
        return torch.cat([maps, own], 1)


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``.

    Raises:
        UserError: A transition would have nothing left to halve.
    """
    _, height, width = input_shape
    most = min(height, width).bit_length()
    if len(settings.blocks) > most:
        raise UserError(
            f"densenet: {len(settings.blocks)} blocks halve an image of {height}x{width} pixels "
            f"to nothing; give at most {most} blocks"
        )

    def make() -> Stages:
        channels = 2 * settings.growth
        stem: OrderedDict[str, nn.Module] = OrderedDict(
            layout=ChannelsLast(),
            conv=nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
        )
        stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
        for number, length in enumerate(settings.blocks, start=1):
            block: OrderedDict[str, nn.Module] = OrderedDict()
            for depth in range(1, length + 1):
                block[f"layer{depth}"] = DenseLayer(channels, settings.growth)
                channels += settings.growth
            block["norm"] = nn.BatchNorm2d(channels)
            block["relu"] = nn.ReLU(inplace=True)
            if number < len(settings.blocks):
                block["conv"] = Pointwise(channels, channels // 2)
                block["pool"] = nn.AvgPool2d(2)
                channels //= 2
            stages[f"block{number}"] = nn.Sequential(block)
        stages["features"] = GlobalAverage()
        stages["head"] = nn.Linear(channels, outputs)
        return Stages(stages)

    return construct(make, generator)
