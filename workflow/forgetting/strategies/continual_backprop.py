"""Continual backpropagation (Dohare et al. 2024, Nature 632, 768; as in the authors' code).

After every step of the optimiser, in every hidden layer: the units' ages grow by 1, and with h the
units' activations on the step's batch, weights as they are after the step, and decay eta

    f <- eta f + (1 - eta) mean h                        f^ = f / (1 - eta^age)
    y = mean|w_out| mean|h|                              (contribution)
    y = mean|w_out| mean|h - f^| / mean|w_in|            (adaptable_contribution)
    u <- eta u + (1 - eta) y                             u^ = u / (1 - eta^age).

Units older than ``maturity`` are eligible; rate times their number is added to what is due, and the
whole part of that many eligible units of the smallest u^ are replaced: incoming weights drawn anew,
bias 0, outgoing weights 0, age, u and f 0. All layers are tested before any is changed; then they
are changed from the input on, so where units of two neighbouring layers are replaced together, the
weight between them is drawn.

A channel is the unit of a convolution: means are over positions too, and where a linear layer
follows, over the products of each position's mean activity with its own outgoing weights.

Paper and code differ in one point. In both a new unit's outgoing weights are 0, so that it does not
disturb the function, and what it contributed on average, w_out f^, is to be added to the next
layer's biases; but the code sets f to 0 first and adds nothing (its code for convolutions does not
mean to). ``transfer_bias`` is false, as published results came about; true is as the paper says.

The published code resets Adam's moments of replaced units (and a count of steps for every weight,
which torch's Adam does not keep: the first step of a new unit's weights is (1 - b1) / sqrt(1 - b2)
times as large here, 3 times with betas 0.9 and 0.999, a tenth with 0.99 and 0.99), never momentum.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import HiddenLayer, hidden_layers
from forgetting.settings import Settings as Base
from forgetting.stages import Stages
from forgetting.strategies import _unit_replacement as unit_replacement
from forgetting.strategies._unit_replacement import Chosen, Slots
from forgetting.strategy import Arrays, Memory

# Means, utilities and ages of units are of the steps trained so far.
GATHERS_WHILE_TRAINING = True


class Settings(Base):
    """How many units are replaced, which, and by what."""

    rate: Annotated[float, Field(ge=0, le=1)] = 1e-4
    """Share of the eligible units of a layer replaced in a step; 0: none."""
    maturity: Annotated[int, Field(ge=0)] = 100
    """Age in steps that a unit must have passed to be replaced."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay rate of the means of activation and utility."""
    utility: Literal["contribution", "adaptable_contribution"] = "contribution"
    """What makes a unit useful."""
    accumulate: bool = True
    """Whether fractions of a unit add up over steps; else each step rounds at random."""
    transfer_bias: bool = False
    """Whether a replaced unit's mean contribution goes to the next layer's biases."""
    clear_slots: Literal["adam", "all", "none"] = "adam"
    """What the optimiser keeps of replaced units' weights that is set to 0: Adam's moments, those
    and momentum, or nothing."""
    initialisation: Literal["kaiming", "lecun", "pytorch"] = "kaiming"
    """Bound of the uniform incoming weights: sqrt(6 / fan_in), sqrt(3 / fan_in), or sqrt(1 /
    fan_in)."""


def start(net: Net, settings: Settings) -> Memory:
    """Return means of all hidden units and the step since which each is there, by stage."""
    if settings.rate == 0:
        return {}
    return unit_replacement.memory_of(net, hidden_layers(net.training), "mean", "utility")


def draw(
    settings: Settings, *, network: Stages, generator: torch.Generator, step: int
) -> dict[str, dict[str, Tensor]]:
    """Draw incoming weights for the units that are or can be due, and a chance, by stage."""
    if settings.rate == 0:
        return {}
    drawn: dict[str, dict[str, Tensor]] = {}
    for layer in hidden_layers(network):
        candidates = unit_replacement.at_most(layer.units, settings.rate)
        if settings.accumulate:
            candidates = unit_replacement.due(
                step, layer.units, rate=settings.rate, maturity=settings.maturity
            )
        if not candidates:
            continue
        weight = network.get_parameter(layer.weight)
        limit = unit_replacement.bound(settings.initialisation, layer.fan_in)
        shape = (candidates, *layer.shape)
        drawn[layer.stage] = {
            "incoming": unit_replacement.uniform(shape, limit, weight, generator),
        }
        if not settings.accumulate:
            drawn[layer.stage]["chance"] = torch.rand(
                (), dtype=weight.dtype, device=weight.device, generator=generator
            )
    return drawn


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
    """Update the utilities of all hidden units and replace those that are due."""
    if settings.rate == 0:
        return memory
    layers = hidden_layers(net.training)
    memory = {
        layer.stage: _updated(net, memory[layer.stage], settings, layer, activations, step)
        for layer in layers
    }
    due = [layer for layer in layers if layer.stage in drawn]
    chosen = [_chosen(memory[at.stage], settings, drawn[at.stage], step) for at in due]
    for layer, units in zip(due, chosen, strict=True):
        own = memory[layer.stage]
        if settings.transfer_bias and layer.outgoing_bias is not None:
            _transfer(net, layer, units, own["mean"] / _unbias(own, settings, step))
        unit_replacement.replace(
            net,
            slots,
            layer,
            units,
            incoming=drawn[layer.stage]["incoming"],
            outgoing=0.0,
            clear=settings.clear_slots,
        )
        memory[layer.stage] = unit_replacement.renewed(own, units, born=step, mean=0, utility=0)
    return memory


def after_sample(
    params: Arrays,
    memory: Memory,
    settings: Settings,
    *,
    network: Stages,
    activations: Arrays,
    step: int,
) -> None:
    """Update the means and utilities of all hidden units as ``_updated`` does."""
    if settings.rate == 0:
        return
    adaptable = settings.utility == "adaptable_contribution"
    for layer in hidden_layers(network):
        own, activity = memory[layer.stage], activations[layer.stage]
        if adaptable or settings.transfer_bias:
            unit_replacement.approach(own["mean"], activity, 1 - settings.decay)
        if adaptable:
            activity = activity - own["mean"] / (1 - settings.decay ** (step - own["born"]))
        useful = unit_replacement.contribution(params[layer.outgoing], activity)
        if adaptable:
            useful /= np.abs(params[layer.weight]).mean(1)
        unit_replacement.approach(own["utility"], useful, 1 - settings.decay)


def _updated(
    net: Net,
    own: dict[str, Tensor],
    settings: Settings,
    layer: HiddenLayer,
    activations: dict[str, Tensor],
    step: int,
) -> dict[str, Tensor]:
    """Return a layer's memory with this step's activations and weights."""
    activity, mean = layer.activity(activations[layer.stage]), own["mean"]
    adaptable = settings.utility == "adaptable_contribution"
    if adaptable or settings.transfer_bias:
        mean = mean.lerp(activity.mean((0, 2)), 1 - settings.decay)
    if adaptable:
        activity = activity - (mean / _unbias(own, settings, step))[:, None]
    outgoing = layer.outgoing_magnitude(net.params[layer.outgoing], activity.shape[2])
    contribution = (outgoing * activity.abs().mean(0)).mean(1)
    if adaptable:
        contribution = contribution / net.params[layer.weight].abs().flatten(1).mean(1)
    utility = own["utility"].lerp(contribution, 1 - settings.decay)
    return {"born": own["born"], "mean": mean, "utility": utility}


def _unbias(own: dict[str, Tensor], settings: Settings, step: int) -> Tensor:
    return 1 - settings.decay ** (step - own["born"]).to(own["mean"].dtype)


def _chosen(
    own: dict[str, Tensor], settings: Settings, drawn: dict[str, Tensor], step: int
) -> Chosen:
    """Return the units of a layer to be replaced."""
    eligible, candidates = step - own["born"] > settings.maturity, len(drawn["incoming"])
    count: Tensor | int = candidates
    if not settings.accumulate:
        fraction = settings.rate * eligible.sum().to(own["utility"].dtype)
        count = (fraction + drawn["chance"]).floor()
    scores = own["utility"] / _unbias(own, settings, step)
    return unit_replacement.lowest(scores, eligible, candidates, count)


def _transfer(net: Net, layer: HiddenLayer, chosen: Chosen, mean: Tensor) -> None:
    """Add the mean contribution of the units replaced to the next layer's bias."""
    assert layer.outgoing_bias is not None
    columns = layer.columns(net.params[layer.outgoing])[chosen.units].flatten(2).sum(2)
    kept = torch.where(chosen.replaced, mean[chosen.units], 0.0)
    net.params[layer.outgoing_bias].add_(kept @ columns)
