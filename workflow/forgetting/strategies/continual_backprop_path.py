"""Continual backpropagation in residual networks, as Dohare et al. have it in their code.

For the ResNet-18 of their incremental CIFAR-100 Dohare et al. (2024, Nature 632, 768) have another
version of continual backpropagation than for perceptrons (``continual_backprop``). It takes all
convolutions but those of shortcuts for one chain (``hidden_units.main_path``): a channel's
activation h is what the next layer is given (after batch norm, the sum with the shortcut, ReLU;
before the head after pooling), and its outgoing weights are the next layer's. After every step of
the optimiser, in every layer, with decay eta:

    M <- M + (1 - eta) mean|h|,      u = mean|w_out| M,

the mean over images and positions, M without decay and kept when the unit is replaced. Once a
channel of the layer is older than ``maturity``, rate times all its channels is added to what is
due; the whole part of that many channels older than ``maturity``, those of the smallest u, are
replaced: incoming weights ~ N(0, 2 / fan_in), bias 0, batch norm as in a new network, outgoing
weights 0, age 0. All layers are tested before any is changed. Momentum is left alone.

Not all that shows a unit is set to 0: where a block ends, the shortcut past the next block goes on
showing a replaced channel, and the function of the network changes.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import main_path
from forgetting.settings import Settings as Base
from forgetting.stages import Stages
from forgetting.strategies import _unit_replacement as unit_replacement
from forgetting.strategies._unit_replacement import Slots
from forgetting.strategy import Memory

# Magnitudes and ages of units are of the steps trained so far.
GATHERS_WHILE_TRAINING = True


class Settings(Base):
    """How many units are replaced, and which."""

    rate: Annotated[float, Field(ge=0, le=1)] = 1e-5
    """Share of a layer's units replaced in a step, fractions adding up; 0: none."""
    maturity: Annotated[int, Field(ge=0)] = 1000
    """Age in steps that a unit must have passed to be replaced."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """What a step's activations do not count in the sum of their magnitudes."""


def start(net: Net, settings: Settings) -> Memory:
    """Return magnitudes of all units and the step since which each is there, by next layer."""
    if settings.rate == 0:
        return {}
    return unit_replacement.memory_of(net, main_path(net.training), "magnitude")


def draw(
    settings: Settings, *, network: Stages, generator: torch.Generator, step: int
) -> dict[str, Tensor]:
    """Draw incoming weights for the units that are due, by next layer."""
    if settings.rate == 0:
        return {}
    drawn = {}
    for layer in main_path(network):
        units = unit_replacement.due(
            step, layer.units, rate=settings.rate, maturity=settings.maturity, of_all=True
        )
        if units:
            weight = network.get_parameter(layer.weight)
            drawn[layer.stage] = torch.empty(
                (units, *layer.shape), dtype=weight.dtype, device=weight.device
            ).normal_(std=math.sqrt(2 / layer.fan_in), generator=generator)
    return drawn


def after_step(
    net: Net,
    memory: Memory,
    settings: Settings,
    *,
    layer_inputs: dict[str, Tensor],
    slots: Slots,
    drawn: dict[str, Tensor],
    step: int,
) -> Memory:
    """Add up the magnitudes of all units and replace those that are due, input side first."""
    if settings.rate == 0:
        return memory
    memory, due = dict(memory), []
    for layer in main_path(net.training):
        own = memory[layer.stage]
        seen = layer.activity(layer_inputs[layer.stage]).abs().mean((0, 2))
        magnitude = own["magnitude"] + (1 - settings.decay) * seen
        memory[layer.stage] = {"born": own["born"], "magnitude": magnitude}
        if layer.stage in drawn:
            outgoing = layer.columns(net.params[layer.outgoing]).abs().flatten(1).mean(1)
            useful, units = outgoing * magnitude, len(drawn[layer.stage])
            eligible = step - own["born"] > settings.maturity
            due.append((layer, unit_replacement.lowest(useful, eligible, units, units)))
    for layer, chosen in due:
        unit_replacement.replace(
            net, slots, layer, chosen, incoming=drawn[layer.stage], outgoing=0.0, clear="none"
        )
        memory[layer.stage] = unit_replacement.renewed(memory[layer.stage], chosen, born=step)
    return memory
