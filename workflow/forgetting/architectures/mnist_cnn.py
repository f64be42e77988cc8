"""The small network of convolutions of "The Anatomy of Catastrophic Forgetting" (Sarkar 2026).

Convolutions of 32 and 64 channels (3x3, inside the maps only), each followed by a ReLU, 2x2
max-pooling after the second, one fully connected layer of 128 ReLU units, and a linear head;
neither dropout nor batch norm. On 28x28 grey images and with ten outputs it has 1,199,882
parameters, nearly all of them between the maps and the hidden layer. The post builds it from
PyTorch's layers and leaves their initial weights as they are: PyTorch's default distribution.

Stages: ``conv1``, ``conv2``, ``hidden1``, ``head``. The second convolution's stage puts out its
maps after pooling.
"""

from collections import OrderedDict
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from forgetting.architectures._layers import ChannelsLast
from forgetting.errors import UserError
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False
KERNEL = 3


class Settings(BaseSettings):
    """Size of the network."""

    width: Annotated[int, Field(gt=0)] = 32
    """Channels of the first convolution; the second has twice as many."""
    hidden: Annotated[int, Field(gt=0)] = 128
    """Units of the fully connected layer."""


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``.

    Raises:
        UserError: Nothing of the images is left after both convolutions and the pooling.
    """
    channels, *sides = input_shape
    sides = [(side - 2 * (KERNEL - 1)) // 2 for side in sides]
    if min(sides) < 1:
        raise UserError(
            f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for the two "
            "convolutions and the pooling of mnist_cnn; it needs 6x6"
        )
    narrow, wide = settings.width, 2 * settings.width

    def make() -> Stages:
        first: OrderedDict[str, nn.Module] = OrderedDict(layout=ChannelsLast())
        first["conv"] = nn.Conv2d(channels, narrow, KERNEL)
        first["relu"] = nn.ReLU()
        second: OrderedDict[str, nn.Module] = OrderedDict()
        second["conv"] = nn.Conv2d(narrow, wide, KERNEL)
        second["relu"] = nn.ReLU()
        second["pool"] = nn.MaxPool2d(2)
        hidden: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        hidden["linear"] = nn.Linear(wide * sides[0] * sides[1], settings.hidden)
        hidden["relu"] = nn.ReLU()
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        stages["conv1"] = nn.Sequential(first)
        stages["conv2"] = nn.Sequential(second)
        stages["hidden1"] = nn.Sequential(hidden)
        stages["head"] = nn.Linear(settings.hidden, outputs)
        return Stages(stages)

    return construct(make, generator)
