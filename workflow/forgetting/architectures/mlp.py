"""Multilayer perceptron: the image as one vector, fully connected hidden stages, a linear head.

Stages: ``hidden1`` ... ``hiddenN``, ``head``. The collapse study trains an MLP on Split MNIST
without giving its widths in what is known of the paper (Zhu & Jin 2026, arXiv 2603.04580); two
hidden layers of 400 are those of van de Ven's continual-learning code for the same benchmark.
"""

import math
from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = True


class Settings(BaseSettings):
    """Widths and nonlinearity of the hidden stages."""

    hidden: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (400, 400)
    """Width of every hidden stage, input side first."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity after every hidden layer."""


def build(
    input_shape: tuple[int, int, int],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The network for images (C, H, W) and ``outputs`` classes, initialised from ``generator``."""

    def make() -> Stages:
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        width = math.prod(input_shape)
        for depth, units in enumerate(settings.hidden, start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if depth == 1:
                layers["flatten"] = nn.Flatten()
            layers["linear"] = nn.Linear(width, units)
            layers["activation"] = nn.ReLU() if settings.activation == "relu" else nn.Tanh()
            stages[f"hidden{depth}"] = nn.Sequential(layers)
            width = units
        stages["head"] = nn.Linear(width, outputs)
        return Stages(stages)

    return construct(make, generator)
