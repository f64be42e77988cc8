"""Replacing hidden units: how many and which ones, and what all is overwritten.

Where fractions of a replacement add up, how many units of a layer are replaced in a step depends on
numbers alone, not on weights: units too young are never replaced, so it does not matter which of
the others were. ``due`` counts that ahead, on the host; the steps on which nothing is replaced,
nearly all of them at usual rates, cost no more than the units' utilities, and new weights are drawn
for the units to be replaced only. Where the number is left to chance it is a tensor, nothing may
branch on it, and as many units as it can be are candidates: what is not to be replaced is written
back as it was.
"""

import functools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.hidden_units import HiddenLayer
from forgetting.strategy import Array, Memory

Slots = Mapping[str, Mapping[str, Tensor]]
ADAM = ("exp_avg", "exp_avg_sq")


class Chosen(NamedTuple):
    """Units of a layer that are candidates, and which of them are replaced."""

    units: Tensor
    """(m,) indices, no two alike."""
    replaced: Tensor
    """(m,) bool."""


class _Schedule:
    """Counts the units due from step to step."""

    def __init__(self, units: int, rate: float, maturity: int, of_all: bool) -> None:
        self.rate, self.maturity, self.units, self.of_all = rate, maturity, units, of_all
        self.restart()

    def restart(self) -> None:
        self.step, self.now, self.left = 0, 0, 0.0
        self.mature, self.young = 0, deque([(0, self.units)])  # (since which step, how many)

    def at(self, step: int) -> int:
        if step < self.step:
            self.restart()
        while self.step < step:
            self.step += 1
            while self.young and self.step - self.young[0][0] > self.maturity:
                self.mature += self.young.popleft()[1]
            self.left += self.rate * (self.units if self.of_all and self.mature else self.mature)
            self.now = min(int(self.left), self.mature)
            self.left -= self.now
            if self.now:
                self.mature -= self.now
                self.young.append((self.step, self.now))
        return self.now


_schedule = functools.lru_cache(maxsize=64)(_Schedule)


def due(step: int, units: int, *, rate: float, maturity: int, of_all: bool = False) -> int:
    """How many units of a layer are replaced in a step of the training, counted from 1.

    All are of age 0 at its start. In every step rate times the units older than ``maturity`` (with
    ``of_all``: times all units, once any is) is added to what is left over from earlier ones; the
    whole part of that is replaced, as far as there are any so old, and of age 0 again.
    """
    return _schedule(units, rate, maturity, of_all).at(step)


def at_most(units: int, rate: float) -> int:
    """The units of a layer that can be due in a step where fractions are rounded at random."""
    return min(units, int(rate * units) + 1)


def lowest(scores: Tensor, eligible: Tensor, candidates: int, count: Tensor | int) -> Chosen:
    """Choose the ``count`` eligible units of the lowest scores; among equals the first."""
    ranked = torch.where(eligible, scores, torch.inf).argsort(stable=True)[:candidates]
    return Chosen(ranked, torch.arange(candidates, device=scores.device) < count)


def contribution(outgoing: Array, activity: Array) -> Array:
    """Mean |w_out| times |h| of a linear layer's units (units,), h their activity on one sample.

    Args:
        outgoing: (outputs, units) weights.
        activity: (units,).
    """
    mean = np.full(len(outgoing), 1 / len(outgoing), outgoing.dtype)  # numpy's own takes longer
    return mean.dot(np.abs(outgoing)) * np.abs(activity)


def approach(mean: Array, value: Array, share: float) -> None:
    """Move a running mean by a share of the way to a value, in place."""
    mean += share * (value - mean)


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


def memory_of(net: Net, layers: Sequence[HiddenLayer], *facts: str) -> Memory:
    """Return, by stage, the step since which every unit is there, and facts that begin at 0."""
    return {
        layer.stage: {
            "born": net.params[layer.weight].new_zeros(layer.units, dtype=torch.int64),
            **{name: net.params[layer.weight].new_zeros(layer.units) for name in facts},
        }
        for layer in layers
    }


def renewed(own: Mapping[str, Tensor], chosen: Chosen, **values: float) -> dict[str, Tensor]:
    """Return a copy of a layer's memory with these values for the units replaced."""
    copy = {name: fact.clone() if name in values else fact for name, fact in own.items()}
    for name, value in values.items():
        overwrite(copy[name], chosen, value)
    return copy


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
