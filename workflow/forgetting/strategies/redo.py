"""ReDo: recycling dormant neurons (Sokar et al. 2023, arXiv 2302.12902).

Every so many steps the units of every hidden layer are scored by their mean activity on the step's
batch relative to their layer's,

    s_i = mean|h_i| / mean over the layer of mean|h|,

and those with s_i <= threshold (dormant) are replaced: incoming weights drawn anew, bias 0,
outgoing weights 0. The activations are those before the step. In a layer that is silent altogether
every unit is dormant.

Sokar et al. keep Adam's moments of replaced weights at 0; Dohare et al. (2024), whose settings are
the defaults here (their code for a stationary Ant), leave the optimiser alone. New weights are
drawn on the steps that may need them only.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import hidden_layers
from forgetting.settings import Settings as Base
from forgetting.stages import Stages
from forgetting.strategies import _unit_replacement as unit_replacement
from forgetting.strategies._unit_replacement import Chosen, Slots
from forgetting.strategy import Memory


class Settings(Base):
    """Which units are dormant, and what becomes of them."""

    threshold: Annotated[float, Field(ge=0)] | None = 0.1
    """Score up to which a unit is dormant; 0: silent on the whole batch; null: none is replaced."""
    every: Annotated[int, Field(gt=0)] = 100
    """Steps from one replacement to the next, counted through all tasks."""
    clear_slots: Literal["adam", "all", "none"] = "none"
    """What the optimiser keeps of replaced units' weights that is set to 0: Adam's moments, those
    and momentum, or nothing."""
    initialisation: Literal["kaiming", "lecun", "pytorch"] = "kaiming"
    """Bound of the uniform incoming weights: sqrt(6 / fan_in), sqrt(3 / fan_in), or sqrt(1 /
    fan_in)."""


def draw(
    settings: Settings, *, network: Stages, generator: torch.Generator, step: int
) -> dict[str, Tensor]:
    """Draw incoming weights for all units, by stage, on the steps that replace any."""
    if settings.threshold is None or step % settings.every:
        return {}
    drawn = {}
    for layer in hidden_layers(network):
        limit = unit_replacement.bound(settings.initialisation, layer.fan_in)
        weight = network.get_parameter(layer.weight)
        drawn[layer.stage] = unit_replacement.uniform(weight.shape, limit, weight, generator)
    return drawn


def after_step(
    net: Net,
    memory: Memory,
    settings: Settings,
    *,
    activations: dict[str, Tensor],
    slots: Slots,
    drawn: dict[str, Tensor],
    step: int,
) -> Memory:
    """Replace the dormant units of every layer, input side first, where it is time."""
    if settings.threshold is None or step % settings.every:
        return memory
    for layer in hidden_layers(net.training):
        activity = layer.activity(activations[layer.stage]).abs().mean((0, 2))
        dormant = activity <= settings.threshold * activity.mean()
        everyone = torch.arange(layer.units, device=dormant.device)
        unit_replacement.replace(
            net,
            slots,
            layer,
            Chosen(everyone, dormant),
            incoming=drawn[layer.stage],
            outgoing=0.0,
            clear=settings.clear_slots,
        )
    return memory
