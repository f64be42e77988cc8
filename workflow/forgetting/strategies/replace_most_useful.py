"""Replacing the most useful units: what is called continual backpropagation in Prakash et al.

The authors' code (2025, arXiv 2509.22335) follows continual backpropagation (Dohare et al. 2024;
see ``continual_backprop``) but for the points below, the first of which turns it around; its
results are therefore another method's, and have a name of their own here.

* Of the eligible units those of the LARGEST utility are replaced.
* New outgoing weights are drawn as well, uniform in +-sqrt(6 / fan_in) of the next layer.
* u <- eta u + (1 - eta) |mean h| mean|w_out|, without correction for its start at 0.
* Nothing is transferred to biases. Adam's moments of replaced units are cleared, momentum is not.

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
from forgetting.strategy import Memory


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
    """Return age and utility of all hidden units, and what is due, by stage."""
    if settings.rate == 0:
        return {}
    return {
        layer.stage: {
            "age": net.params[layer.weight].new_zeros(layer.units, dtype=torch.int64),
            "utility": net.params[layer.weight].new_zeros(layer.units),
            "due": net.params[layer.weight].new_zeros(()),
        }
        for layer in hidden_layers(net.training)
    }


def draw(
    settings: Settings, *, network: Stages, generator: torch.Generator
) -> dict[str, dict[str, Tensor]]:
    """Draw weights into and out of as many units as can be due, by stage."""
    if settings.rate == 0:
        return {}
    drawn = {}
    for layer in hidden_layers(network):
        units = unit_replacement.most(layer.units, settings.rate)
        into, out = (network.get_parameter(name) for name in (layer.weight, layer.outgoing))
        drawn[layer.stage] = {
            name: unit_replacement.uniform(
                (units, *shape), limit(weight, settings), weight, generator
            )
            for name, shape, weight in (
                ("incoming", layer.shape, into),
                ("outgoing", layer.outgoing_shape, out),
            )
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
) -> Memory:
    """Test all hidden units and replace those that are due, input side first."""
    if settings.rate == 0:
        return memory
    tested = []
    for layer in hidden_layers(net.training):
        own, activity = memory[layer.stage], layer.activity(activations[layer.stage])
        outgoing = layer.columns(net.params[layer.outgoing]).abs().flatten(1).mean(1)
        useful = activity.mean((0, 2)).abs() * outgoing
        utility = own["utility"].lerp(useful, 1 - settings.decay)
        age = own["age"] + 1
        eligible = age > settings.maturity
        due = own["due"] + settings.rate * eligible.sum().to(utility.dtype)
        chosen = unit_replacement.lowest(
            -utility, eligible, due.floor(), unit_replacement.most(layer.units, settings.rate)
        )
        tested.append((layer, {"age": age, "utility": utility, "due": due - due.floor()}, chosen))
    memory = {}
    for layer, own, chosen in tested:
        unit_replacement.replace(net, slots, layer, chosen, **drawn[layer.stage], clear="adam")
        for name in ("age", "utility"):
            unit_replacement.overwrite(own[name], chosen, 0)
        memory[layer.stage] = own
    return memory
