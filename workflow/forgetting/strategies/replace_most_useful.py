"""Replacing the most useful units: what is called continual backpropagation in Prakash et al.

The authors' code (2025, arXiv 2509.22335) follows continual backpropagation (Dohare et al. 2024;
see ``continual_backprop``) but for the points below, the first of which turns it around; its
results are therefore another method's, and have a name of their own here.

* Of the eligible units those of the LARGEST utility are replaced.
* New outgoing weights are drawn as well, uniform in +-sqrt(6 / fan_in) of the next layer.
* u <- eta u + (1 - eta) |mean h| mean|w_out|, without correction for its start at 0.
* Nothing is transferred to biases. Adam's moments of replaced units are cleared, and the count of
  steps of each of their weights, which is not kept here (see ``continual_backprop``); momentum is
  not.
* For agents, activations are those of the step's own minibatch; in the code they are from when the
  agent acted.

For kernels the code takes their height for the fan-in (it reads the first axis of rows x columns x
inputs x outputs), so that a new channel of a 5x5 convolution gets weights in +-1.1;
``kernel_bound`` says whether that is kept. Between convolutions and linear layers the code has the
single position for the unit, and replaces outgoing weights only; here the channel is the unit.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import hidden_layers
from forgetting.settings import Settings as Base
from forgetting.stages import Stages
from forgetting.strategies import _unit_replacement as unit_replacement
from forgetting.strategies._unit_replacement import Slots
from forgetting.strategy import Arrays, Memory

# Utilities and ages of units are of the steps trained so far.
GATHERS_WHILE_TRAINING = True


class Settings(Base):
    """How many units are replaced, and by what."""

    rate: Annotated[float, Field(ge=0, le=1)] = 1e-6
    """Share of the eligible units of a layer replaced in a step, fractions adding up; 0: none."""
    maturity: Annotated[int, Field(ge=0)] = 100
    """Age in steps that a unit must have passed to be replaced."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay rate of the utility."""
    kernel_bound: Literal["height", "fan_in"] = "height"
    """What bounds the new weights of a convolution: sqrt(6 / height of the kernel) as in the code,
    or sqrt(6 / fan_in)."""


def start(net: Net, settings: Settings) -> Memory:
    """Return the utility of all hidden units and the step since which each is there, by stage."""
    if settings.rate == 0:
        return {}
    return unit_replacement.memory_of(net, hidden_layers(net.training), "utility")


def after_sample(
    params: Arrays,
    memory: Memory,
    settings: Settings,
    *,
    network: Stages,
    activations: Arrays,
    step: int,
) -> None:
    """Update the utilities of all hidden units."""
    if settings.rate == 0:
        return
    for layer in hidden_layers(network):
        useful = unit_replacement.contribution(params[layer.outgoing], activations[layer.stage])
        unit_replacement.approach(memory[layer.stage]["utility"], useful, 1 - settings.decay)


def draw(
    settings: Settings, *, network: Stages, generator: torch.Generator, step: int
) -> dict[str, dict[str, Tensor]]:
    """Draw weights into and out of the units that are due, by stage."""
    if settings.rate == 0:
        return {}
    drawn = {}
    for layer in hidden_layers(network):
        units = unit_replacement.due(
            step, layer.units, rate=settings.rate, maturity=settings.maturity
        )
        if not units:
            continue
        weights = {
            "incoming": (network.get_parameter(layer.weight), layer.shape),
            "outgoing": (network.get_parameter(layer.outgoing), layer.outgoing_shape),
        }
        drawn[layer.stage] = {
            name: unit_replacement.uniform(
                (units, *shape), limit(weight, settings), weight, generator
            )
            for name, (weight, shape) in weights.items()
        }
    return drawn


def limit(weight: Tensor, settings: Settings) -> float:
    """The bound of new entries of a weight."""
    kernel = weight.dim() == 4 and settings.kernel_bound == "height"
    return math.sqrt(6 / (weight.shape[2] if kernel else weight[0].numel()))


def after_step(
    net: Net,
    memory: Memory,
    settings: Settings,
    *,
    activations: dict[str, Tensor],
    slots: Slots,
    drawn: dict[str, dict[str, Tensor]],
    step: int,
) -> Memory:
    """Update the utilities of all hidden units and replace those due, input side first."""
    if settings.rate == 0:
        return memory
    memory = dict(memory)
    due = []
    for layer in hidden_layers(net.training):
        own, activity = memory[layer.stage], layer.activity(activations[layer.stage])
        outgoing = layer.columns(net.params[layer.outgoing]).abs().flatten(1).mean(1)
        useful = activity.mean((0, 2)).abs() * outgoing
        utility = own["utility"].lerp(useful, 1 - settings.decay)
        memory[layer.stage] = {"born": own["born"], "utility": utility}
        if layer.stage in drawn:
            eligible = step - own["born"] > settings.maturity
            units = len(drawn[layer.stage]["incoming"])
            due.append((layer, unit_replacement.lowest(-utility, eligible, units, units)))
    for layer, chosen in due:
        unit_replacement.replace(net, slots, layer, chosen, **drawn[layer.stage], clear="adam")
        own = memory[layer.stage]
        memory[layer.stage] = unit_replacement.renewed(own, chosen, born=step, utility=0)
    return memory
