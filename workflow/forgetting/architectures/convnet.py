"""A small network of convolutions: the one of Continual ImageNet.

Convolutions of 32 channels (5x5), 64 and 128 (3x3), each followed by a ReLU and 2x2 max-pooling,
two fully connected layers of 128 ReLU units, and a linear head (Dohare et al. 2024, Nature 632,
768-774). On 32x32 images and with two outputs it has 177,218 parameters without padding, as
Dohare et al. have it, and 373,826 with maps padded to their size (``padding: same``), as Prakash
et al. (2025, arXiv 2509.22335) have it in their code. Both draw initial weights from their
library's default distribution: PyTorch's, and that of Flax (``initialisation: lecun_normal``).
With ``layer_norm`` every layer but the head is normalised before its ReLU, maps at each position
over their channels (Prakash et al.).

Stages: ``conv1``, ``conv2``, ``conv3``, ``hidden1`` ... ``hiddenN``, ``head``. A convolution's
stage puts out its maps after pooling.
"""

from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from forgetting.architectures._initial import redraw
from forgetting.architectures._layer_norm import LayerNorm
from forgetting.architectures._layers import ChannelsLast
from forgetting.errors import UserError
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False
KERNELS = (5, 3, 3)


class Settings(BaseSettings):
    """Size of the network and how it starts."""

    width: Annotated[int, Field(gt=0)] = 32
    """Channels of the first convolution; the others have 2 and 4 times as many."""
    hidden: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (128, 128)
    """Units of every fully connected hidden layer."""
    padding: Literal["none", "same"] = "none"
    """Convolve inside the maps only (Dohare et al.), or keep their size (Prakash et al.)."""
    layer_norm: bool = False
    """Whether every layer but the head is normalised before its ReLU."""
    initialisation: Literal[
        "default", "lecun_normal", "kaiming_uniform", "kaiming_uniform_linear_head"
    ] = "default"
    """PyTorch's default distribution, that of Flax, or He et al.'s uniform one (its head like the
    other layers, or without their factor of 2); but for the first, biases are zero."""


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""
    channels, *sides = input_shape
    for kernel in KERNELS:
        kept = kernel - 1 if settings.padding == "none" else 0
        sides = [(side - kept) // 2 for side in sides]
    if min(sides) < 1:
        raise UserError(
            f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for the three "
            f"convolutions and poolings of a convnet with padding: {settings.padding}; "
            + ("set padding: same" if settings.padding == "none" else "it needs 8x8")
        )

    def make() -> Stages:
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = channels
        for number, kernel in enumerate(KERNELS):
            width = settings.width * 2**number
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if number == 0:
                layers["layout"] = ChannelsLast()
            margin = kernel // 2 if settings.padding == "same" else 0
            layers["conv"] = nn.Conv2d(inputs, width, kernel, padding=margin)
            if settings.layer_norm:
                layers["norm"] = LayerNorm(width)
            layers["relu"] = nn.ReLU()
            layers["pool"] = nn.MaxPool2d(2)
            stages[f"conv{number + 1}"] = nn.Sequential(layers)
            inputs = width
        units = inputs * sides[0] * sides[1]
        for depth, width in enumerate(settings.hidden, start=1):
            layers = OrderedDict()
            if depth == 1:
                layers["flatten"] = nn.Flatten()
            layers["linear"] = nn.Linear(units, width)
            if settings.layer_norm:
                layers["norm"] = LayerNorm(width)
            layers["relu"] = nn.ReLU()
            stages[f"hidden{depth}"] = nn.Sequential(layers)
            units = width
        stages["head"] = nn.Linear(units, outputs)
        return Stages(stages)

    return redraw(construct(make, generator), settings.initialisation, generator)
