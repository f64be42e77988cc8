"""Multilayer perceptron: the image as one vector, fully connected hidden stages, a linear head.

Stages: ``hidden1`` ... ``hiddenN``, ``head``. The collapse study trains an MLP on Split MNIST
without giving its widths in what is known of the paper (Zhu & Jin 2026, arXiv 2603.04580); two
hidden layers of 400 are those of van de Ven's continual-learning code for the same benchmark.

Permuted MNIST has three hidden layers: of 1,000 units, 2,797,010 parameters with ten outputs, in
the code of Prakash et al. (2025, arXiv 2509.22335), of 2,000 in that of Dohare et al. (2024,
Nature 632, 768-774); their initial weights are ``kaiming_uniform`` and
``kaiming_uniform_linear_head``.
"""

import math
from collections import OrderedDict
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from forgetting.architectures._initial import redraw
from forgetting.architectures._layer_norm import LayerNorm
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages, construct

VECTORISE = True


class Settings(BaseSettings):
    """Widths and nonlinearity of the hidden stages."""

    hidden: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (400, 400)
    """Width of every hidden stage, input side first."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity after every hidden layer."""
    layer_norm: bool = False
    """Whether every hidden layer is normalised before its nonlinearity."""
    initialisation: Literal["default", "kaiming_uniform", "kaiming_uniform_linear_head"] = "default"
    """PyTorch's default distribution, or He et al.'s uniform one with zero biases, its head like
    the other layers or without their factor of 2."""


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
            if settings.layer_norm:
                layers["norm"] = LayerNorm(units)
            layers["activation"] = nn.ReLU() if settings.activation == "relu" else nn.Tanh()
            stages[f"hidden{depth}"] = nn.Sequential(layers)
            width = units
        stages["head"] = nn.Linear(width, outputs)
        return Stages(stages)

    return redraw(construct(make, generator), settings.initialisation, generator)
