"""Hidden units of a staged network: the weights that lead into each, and those that lead out of it.

Methods that replace units need, for every unit, its incoming weights, its outgoing ones and its
activation. A hidden layer here is the last linear layer or convolution of a stage, whose units
are the stage's outputs (channels of a convolution), where the next layer with weights, in a later
stage, is linear or a convolution and nothing else sees the units. Norms behind the layer and
pooling belong to the unit. Between a convolution and a linear layer the maps are flattened or
averaged: a channel then has as many columns of the next weight as it has positions, side by side.

Left out: layers whose units lead into a residual or dense connection, where one unit is added to,
or seen by, many others; and inner layers of stages, whose activations are no stage's output. Of a
ResNet-18 with fully connected layers behind it these are the fully connected ones.

``main_path`` is the other way to count: every layer but those of shortcuts, each leading into the
next, as if a residual network were a plain one. What else sees a unit (the sum at a block's end,
and the shortcut past the next block) is left aside, and a unit's activation is what the next layer
is given.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from forgetting.errors import UserError
from forgetting.stages import Stages

Named = tuple[str, Any]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
SHORTCUT = "shortcut"
"""What a residual block calls the way around it."""


@dataclass(frozen=True)
class HiddenLayer:
    """One layer of hidden units; tensors are named as in the state dict."""

    stage: str
    """The stage whose output is the units' activation; on the main path the next layer's name,
    whose input it is."""
    units: int
    weight: str
    """Incoming weights, a row (or kernel of a convolution) for every unit."""
    shape: tuple[int, ...]
    """Shape of one unit's incoming weights."""
    outgoing: str
    """The next layer's weight; see ``columns``."""
    outgoing_shape: tuple[int, ...]
    """Shape of one unit's outgoing weights."""
    outgoing_bias: str | None
    """The next layer's bias, if it has one."""
    zeros: tuple[str, ...]
    """Tensors with an entry for every unit that is 0 in a new one: bias, shift and running mean of
    norms."""
    ones: tuple[str, ...]
    """The same for 1: scale and running variance of norms."""

    @property
    def fan_in(self) -> int:
        """The number of incoming weights of a unit."""
        return math.prod(self.shape)

    def activity(self, output: Tensor) -> Tensor:
        """The activation (B, units, ...) as (B, units, positions)."""
        return output.reshape(len(output), self.units, -1)

    def columns(self, outgoing: Tensor) -> Tensor:
        """A view of the next layer's weight whose first axis is the unit, (units, outputs, ...)."""
        return outgoing.unflatten(1, (self.units, -1)).transpose(0, 1)

    def outgoing_magnitude(self, outgoing: Tensor, positions: int) -> Tensor:
        """Mean size of the outgoing weights: (units, positions) where every position of a unit has
        its own, else (units, 1).
        """
        by_unit = outgoing.abs().mean(0).reshape(self.units, -1)
        # The places of a kernel are not positions of the image.
        own = outgoing.dim() == 2 and by_unit.shape[1] == positions
        return by_unit if own else by_unit.mean(1, keepdim=True)


@functools.lru_cache(maxsize=8)
def hidden_layers(network: Stages) -> tuple[HiddenLayer, ...]:
    """Return the layers of a network whose units can be replaced, input first.

    Raises:
        UserError: There is none.
    """
    found = [layer for chain in network.chains for layer in _of_chain(chain)]
    if not found:
        raise UserError(
            "found no hidden layer whose units can be replaced in an architecture with the stages "
            f"{', '.join(network.stage_names)}; take one with fully connected layers or plain "
            "convolutions, such as mlp"
        )
    return tuple(found)


@functools.lru_cache(maxsize=8)
def main_path(network: Stages) -> tuple[HiddenLayer, ...]:
    """Return all layers of a network but its head and those of shortcuts, input first.

    Raises:
        UserError: They are of other kinds than linear layers and convolutions, or do not lead into
            each other.
    """
    path: list[tuple[Named, list[Named]]] = []  # a layer, and the norms behind it
    for name, module in network.named_modules():
        if SHORTCUT in name.split(".") or not list(module.parameters(recurse=False)):
            continue
        if _weighs(module):
            path.append(((name, module), []))
        elif isinstance(module, NORMS) and path:
            path[-1][1].append((name, module))
        else:
            raise _no_path(network, name)
    found = []
    for (own, norms), (following, _) in itertools.pairwise(path):
        name, layer = following
        whole = isinstance(own[1], nn.Conv2d) and isinstance(layer, nn.Linear)
        units, inputs = len(own[1].weight), layer.weight.shape[1]
        if inputs % units if whole else inputs != units:
            raise _no_path(network, name)
        found.append(_described(name, own, norms, following))
    if not found:
        raise _no_path(network, network.stage_names[0])
    return tuple(found)


def _no_path(network: Stages, name: str) -> UserError:
    return UserError(
        f"the layers of an architecture with the stages {', '.join(network.stage_names)} do not "
        f"lead into each other one by one ({name}), so that there is no main path of units; take "
        "one of linear layers and convolutions, residual or plain, such as resnet18_mlp"
    )


def _of_chain(chain: Sequence[tuple[str, str, nn.Module]]) -> Iterator[HiddenLayer]:
    """Yield the layers of stages that feed each other, one after the other."""
    layers = [
        (stage, name, layer) for stage, at, module in chain for name, layer in _chain(at, module)
    ]
    for position, (stage, name, layer) in enumerate(layers):
        norms = []
        for later, next_name, following in layers[position + 1 :]:
            if later == stage and isinstance(following, NORMS):
                norms.append((next_name, following))
                continue
            if later != stage and _weighs(layer) and _weighs(following):
                yield _described(stage, (name, layer), norms, (next_name, following))
            break


def _described(stage: str, own: Named, norms: Sequence[Named], following: Named) -> HiddenLayer:
    (name, layer), (next_name, next_layer) = own, following
    units, inputs = len(layer.weight), next_layer.weight.shape[1]
    zeros = [f"{name}.bias"] if layer.bias is not None else []
    ones = []
    for norm_name, norm in norms:
        tensors = {n for n, _ in (*norm.named_parameters(), *norm.named_buffers())}
        zeros += [f"{norm_name}.{n}" for n in ("bias", "running_mean") if n in tensors]
        ones += [f"{norm_name}.{n}" for n in ("weight", "running_var") if n in tensors]
    return HiddenLayer(
        stage=stage,
        units=units,
        weight=f"{name}.weight",
        shape=tuple(layer.weight.shape[1:]),
        outgoing=f"{next_name}.weight",
        outgoing_shape=(len(next_layer.weight), inputs // units, *next_layer.weight.shape[2:]),
        outgoing_bias=f"{next_name}.bias" if next_layer.bias is not None else None,
        zeros=tuple(zeros),
        ones=tuple(ones),
    )


def _chain(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield what has parameters in a chain of modules; a block of another kind as a whole."""
    if isinstance(module, nn.Sequential):
        for key, child in module.named_children():
            yield from _chain(f"{name}.{key}", child)
    elif any(True for _ in module.parameters()):
        yield name, module


def _weighs(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
