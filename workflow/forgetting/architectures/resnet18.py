"""ResNet-18 for small images (He et al. 2016, arXiv 1512.03385) with the usual CIFAR stem.

The stem is one 3x3 convolution of stride 1, usually without max-pooling; four stages of two basic
blocks follow, of widths w, 2w, 4w and 8w, the last three halving the image; a stage's first block
has a 1x1 convolution with batch norm as its shortcut where the shape changes. ``width`` 64 is the
published size (11.2 million parameters); 16 is the same network at a sixteenth of the work.

Stages: ``stem``, ``stage1`` ... ``stage4``, ``features`` (global average pool, the last hidden
layer), ``head``.
"""

from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from forgetting.architectures._initial import redraw
from forgetting.architectures._layers import ChannelsLast, GlobalAverage, Pointwise
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False


class Settings(BaseSettings):
    """Size of the network."""

    width: Annotated[int, Field(gt=0)] = 64
    """Channels of the stem and the first stage; the later stages have 2, 4 and 8 times as many."""
    pool: bool = False
    """Whether the stem ends with the 3x3 max-pooling of stride 2 of networks for large images."""
    initialisation: Literal["default", "torchvision"] = "default"
    """PyTorch's default distributions, or torchvision's: convolutions with He et al.'s normal one
    by fan-out, the head as by default."""


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm around an identity or projected shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = Pointwise(inputs, outputs, stride)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs)))

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        inner = functional.relu(self.norm1(self.conv1(maps)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(maps), inplace=True)


def residual_stages(channels: int, width: int) -> OrderedDict[str, nn.Module]:
    """The stem and the four stages of blocks, for images of so many channels; 8 * width leave."""
    stem: OrderedDict[str, nn.Module] = OrderedDict(
        layout=ChannelsLast(),
        conv=nn.Conv2d(channels, width, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
    narrow = width
    for number in range(1, 5):
        wide = width * 2 ** (number - 1)
        blocks: OrderedDict[str, nn.Module] = OrderedDict(
            block1=Block(narrow, wide, 1 if number == 1 else 2),
            block2=Block(wide, wide, 1),
        )
        stages[f"stage{number}"] = nn.Sequential(blocks)
        narrow = wide
    return stages


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""

    def make() -> Stages:
        stages = residual_stages(input_shape[0], settings.width)
        if settings.pool:
            stem = stages["stem"]
            assert isinstance(stem, nn.Sequential)
            stem.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
        stages["features"] = GlobalAverage()
        stages["head"] = nn.Linear(8 * settings.width, outputs)
        return Stages(stages)

    return redraw(construct(make, generator), settings.initialisation, generator)
