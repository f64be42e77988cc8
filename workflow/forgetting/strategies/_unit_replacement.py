"""Replacing hidden units: which ones, and what all is overwritten.

How many units are replaced is a tensor, so nothing here branches on it: of every layer the
``most`` candidates are taken, as many as can ever be due in one step, and what of them is not to
be replaced is written back as it was. New weights need drawing for these few units only.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import HiddenLayer

Slots = Mapping[str, Mapping[str, Tensor]]
ADAM = ("exp_avg", "exp_avg_sq")


class Chosen(NamedTuple):
    """Units of a layer that are candidates, and which of them are replaced."""

    units: Tensor
    """(m,) indices, no two alike."""
    replaced: Tensor
    """(m,) bool."""


def most(units: int, rate: float) -> int:
    """The units of a layer that can be due in one step: the whole part of rate * units, and one.

    What is left over from earlier steps is below 1.
    """
    return min(units, int(rate * units) + 1)


def lowest(scores: Tensor, eligible: Tensor, count: Tensor, candidates: int) -> Chosen:
    """Choose the ``count`` eligible units of the lowest scores; among equals the first."""
    ranked = torch.where(eligible, scores, torch.inf).argsort(stable=True)[:candidates]
    return Chosen(ranked, torch.arange(candidates, device=scores.device) < count)


def bound(initialisation: str, fan_in: int) -> float:
    """The bound of uniform initial weights: gain * sqrt(3 / fan_in), or PyTorch's default."""
    square = {"kaiming": 6.0, "lecun": 3.0, "pytorch": 1.0}[initialisation]
    return math.sqrt(square / fan_in)


def uniform(
    shape: tuple[int, ...], limit: float, weight: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw from +-limit, of the type and on the device of ``weight``."""
    return torch.empty(shape, dtype=weight.dtype, device=weight.device).uniform_(
        -limit, limit, generator=generator
    )


def overwrite(tensor: Tensor, chosen: Chosen, value: Tensor | float) -> None:
    """Put ``value`` (a number, or (m, ...)) in the rows of the units replaced, in place."""
    old = tensor[chosen.units]
    replaced = chosen.replaced.reshape(-1, *(1 for _ in old.shape[1:]))
    tensor[chosen.units] = torch.where(replaced, value, old)


def replace(
    net: Net,
    slots: Slots,
    layer: HiddenLayer,
    chosen: Chosen,
    *,
    incoming: Tensor,
    outgoing: Tensor | float,
    clear: str,
) -> None:
    """Give the chosen units new incoming and outgoing weights, bias 0 and untouched norms.

    Args:
        net: Parameters and buffers are changed in place.
        slots: What the optimiser keeps, by parameter and name; changed in place.
        layer: The units' layer.
        chosen: Units.
        incoming: (m, ...) incoming weights.
        outgoing: (m, outputs, ...) outgoing weights, or a number.
        clear: Slots of the units' weights that are set to zero: ``adam`` (its moments), ``all``
            (momentum as well) or ``none``.
    """
    tensors = {**net.params, **net.buffers}
    new: dict[str, Tensor | float] = {layer.weight: incoming}
    new |= dict.fromkeys(layer.zeros, 0.0) | dict.fromkeys(layer.ones, 1.0)
    for name, value in new.items():
        overwrite(tensors[name], chosen, value)
        for slot in _cleared(slots.get(name, {}), clear):
            overwrite(slot, chosen, 0.0)
    overwrite(layer.columns(tensors[layer.outgoing]), chosen, outgoing)
    for slot in _cleared(slots.get(layer.outgoing, {}), clear):
        overwrite(layer.columns(slot), chosen, 0.0)


def _cleared(slots: Mapping[str, Tensor], clear: str) -> list[Tensor]:
    if clear == "none":
        return []
    return [slot for name, slot in slots.items() if clear == "all" or name in ADAM]
