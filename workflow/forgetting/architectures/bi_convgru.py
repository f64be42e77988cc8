"""Bi-ConvGRU: two ConvGRUs read an image's strips, one downwards and one upwards.

Each layer has a forward and a backward cell (Ballas et al. 2016, arXiv 1511.06432) with weights
of their own; their states are concatenated and fused by a 1x1 convolution with bias. A layer
below another fuses the two states that belong to the same strip; the last layer fuses the two
final states, each of which has seen the whole image.

How an image becomes a sequence is not known from the paper that uses this network (Zhu & Jin
2026, arXiv 2603.04580). Reading in two directions means something only for strips: a repeated
image is the same from either end, so ``repeat`` is not offered here.

Stages: ``gru1`` ... ``gruN``, ``features``, ``head``. A layer below another puts out its states
at all steps, (N, channels, steps, rows, columns), the last one its fused final state.
"""

import math
from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from forgetting.architectures._convgru import ConvGRU, ImageSequence, Readout, state_shape
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = False


class Settings(BaseSettings):
    """Size of the network and how it reads an image."""

    channels: Annotated[int, Field(gt=0)] = 32
    """Channels of each direction's state and of the fused one."""
    layers: Annotated[int, Field(gt=0)] = 1
    """Recurrent layers on top of each other."""
    kernel: Annotated[int, Field(gt=0)] = 3
    """Side of the square kernels, of the inputs and of the state alike."""
    sequence: Literal["strips"] = "strips"
    """Read horizontal strips, from the top and from the bottom."""
    steps: Annotated[int, Field(gt=0)] = 4
    """Number of strips; they must divide the image's rows."""
    readout: Literal["pool", "flatten"] = "pool"
    """Features of the head: the final state averaged over positions, or all of it."""


class Bidirectional(nn.Module):
    """One bidirectional stage: the fused states of all strips for a layer above, or the final."""

    def __init__(
        self, forwards: ConvGRU, backwards: ConvGRU, *, read: nn.Module, final: bool
    ) -> None:
        super().__init__()
        self.read, self.forwards, self.backwards = read, forwards, backwards
        self.fusion = nn.Conv2d(forwards.hidden + backwards.hidden, forwards.hidden, 1)
        self.final = final

    def forward(self, inputs: Tensor) -> Tensor:
        """States (N, channels, steps, H, W), or the final state (N, channels, H, W)."""
        sequence = self.read(inputs)
        down = self.forwards(sequence)
        up = self.backwards(sequence, backwards=True)
        if self.final:
            return self.fusion(torch.cat([down[-1], up[-1]], dim=1))
        # One call for all strips; reading upwards ends at the first strip, hence the reversal.
        both = torch.cat([torch.stack(down), torch.stack(up[::-1])], dim=2)
        fused = self.fusion(both.flatten(0, 1)).unflatten(0, (len(down), -1))
        return fused.permute(1, 2, 0, 3, 4)


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""
    shape = state_shape(
        input_shape, settings.channels, sequence=settings.sequence, steps=settings.steps
    )

    def make() -> Stages:
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = input_shape[0]
        for depth in range(1, settings.layers + 1):
            forwards, backwards = (
                ConvGRU(inputs, settings.channels, kernel=settings.kernel, steps=settings.steps)
                for _ in range(2)
            )
            read = ImageSequence(settings.sequence, settings.steps) if depth == 1 else nn.Identity()
            final = depth == settings.layers
            stages[f"gru{depth}"] = Bidirectional(forwards, backwards, read=read, final=final)
            inputs = settings.channels
        stages["features"] = Readout(settings.readout)
        features = shape[0] if settings.readout == "pool" else math.prod(shape)
        stages["head"] = nn.Linear(features, outputs)
        return Stages(stages)

    return construct(make, generator)
