"""ConvGRU: a convolutional recurrent network that reads an image as a sequence.

Layers of the cell of Ballas et al. 2016 (arXiv 1511.06432), each reading the states of the one
below; the last layer's final state is pooled or flattened into the features of a linear head.
How the image becomes a sequence is not known from the paper that uses this network (Zhu & Jin
2026, arXiv 2603.04580); nor are depth, channels and kernel size. All are settings.

Stages: ``gru1`` ... ``gruN``, ``features``, ``head``. A layer below another puts out its states
at all steps, (N, channels, steps, rows, columns), the last one its final state.
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
    """Channels of the state."""
    layers: Annotated[int, Field(gt=0)] = 1
    """Recurrent layers on top of each other."""
    kernel: Annotated[int, Field(gt=0)] = 3
    """Side of the square kernels, of the inputs and of the state alike."""
    sequence: Literal["strips", "repeat"] = "strips"
    """Read horizontal strips from top to bottom, or the whole image at every step."""
    steps: Annotated[int, Field(gt=0)] = 4
    """Number of strips (they must divide the image's rows) or of repetitions."""
    readout: Literal["pool", "flatten"] = "pool"
    """Features of the head: the final state averaged over positions, or all of it."""


class Recurrent(nn.Module):
    """One recurrent stage: all states for a layer above, or the final one."""

    def __init__(self, cell: ConvGRU, *, read: nn.Module, final: bool) -> None:
        super().__init__()
        self.read, self.cell, self.final = read, cell, final

    def forward(self, inputs: Tensor) -> Tensor:
        """States (N, channels, steps, H, W), or the final state (N, channels, H, W)."""
        states = self.cell(self.read(inputs))
        return states[-1] if self.final else torch.stack(states, dim=2)


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
            cell = ConvGRU(inputs, settings.channels, kernel=settings.kernel, steps=settings.steps)
            read = ImageSequence(settings.sequence, settings.steps) if depth == 1 else nn.Identity()
            stages[f"gru{depth}"] = Recurrent(cell, read=read, final=depth == settings.layers)
            inputs = settings.channels
        stages["features"] = Readout(settings.readout)
        features = shape[0] if settings.readout == "pool" else math.prod(shape)
        stages["head"] = nn.Linear(features, outputs)
        return Stages(stages)

    return construct(make, generator)
