"""ResNet-18 for small images (He et al. 2016, arXiv 1512.03385) with the usual CIFAR stem.

The stem is one 3x3 convolution of stride 1 without max-pooling; four stages of two basic blocks
follow, of widths w, 2w, 4w and 8w, the last three halving the image; a stage's first block has a
1x1 convolution with batch norm as its shortcut where the shape changes. ``width`` 64 is the
published size (11.2 million parameters); 16 is the same network at a sixteenth of the work.

Stages: ``stem``, ``stage1`` ... ``stage4``, ``features`` (global average pool, the last hidden
layer), ``head``. Initial values are PyTorch's default distributions, not torchvision's.
"""

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False


class Settings(BaseSettings):
    """Size of the network."""

    width: Annotated[int, Field(gt=0)] = 64
    """Channels of the stem and the first stage; the later stages have 2, 4 and 8 times as many."""


class ChannelsLast(nn.Module):
    """The same images with the channels innermost in memory, which the layers behind keep.

    On a CPU this makes training 1.3 times as fast (width 16, one thread). It is written as a
    permutation because vmap knows that one; the parameters keep their plain layout.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), unchanged but for their strides."""
        if images.device.type != "cpu":
            return images
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


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
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs)))

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        inner = functional.relu(self.norm1(self.conv1(maps)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(maps), inplace=True)


class GlobalAverage(nn.Module):
    """The mean over positions: (N, channels, H, W) to (N, channels)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average the positions away."""
        return maps.mean((2, 3))


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""

    def make() -> Stages:
        width = settings.width
        stem: OrderedDict[str, nn.Module] = OrderedDict(
            layout=ChannelsLast(),
            conv=nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(width),
            relu=nn.ReLU(inplace=True),
        )
        stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
        channels = width
        for number in range(1, 5):
            wider = width * 2 ** (number - 1)
            blocks: OrderedDict[str, nn.Module] = OrderedDict(
                block1=Block(channels, wider, 1 if number == 1 else 2),
                block2=Block(wider, wider, 1),
            )
            stages[f"stage{number}"] = nn.Sequential(blocks)
            channels = wider
        stages["features"] = GlobalAverage()
        stages["head"] = nn.Linear(channels, outputs)
        return Stages(stages)

    return construct(make, generator)
