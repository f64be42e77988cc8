"""The networks of a pack: one function of one network, applied to every seed at once.

Strategies and losses are written for *one* network and tensors without a seed axis. With several
seeds the ensemble maps them over stacked parameters by ``torch.func.vmap``; with one seed it
calls them as they are, so that a single run pays nothing for the mechanism. Because optimisers
of the SGD and Adam families act elementwise, ``torch.optim`` on the stacked leaves trains each
seed as if it were alone.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from forgetting.stages import HEAD, Stages, stage_of

Tensors = Mapping[str, Tensor]


class Frozen(NamedTuple):
    """Stages that do not move during a phase."""

    stages: tuple[str, ...] = ()
    """Stages whose parameters stay as they are."""
    statistics: bool = True
    """Whether their batch norm runs on its stored statistics, which then stay as well."""


@dataclass(frozen=True)
class Net:
    """One network as losses and strategies see it.

    Calling it runs the network in training mode (batch norm uses the batch's statistics and
    updates its running ones). ``params`` and ``buffers`` may be changed in place where a hook
    says so.
    """

    params: Tensors
    buffers: Tensors
    training: Stages
    """The module in training mode."""
    frozen: Stages
    """The same structure in eval mode; its own tensors are never used."""
    own: bool
    """Whether ``params`` are the module's own, so that it can be called directly."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the logits (B, K) in training mode."""
        if self.own:
            return self.training(inputs)
        return functional_call(self.training, (dict(self.params), dict(self.buffers)), (inputs,))

    def activations(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of every stage in training mode; the head's are the logits."""
        if self.own:
            return self.training.activations(inputs)
        tensors = {**self.params, **self.buffers}
        return functional_call(self.training, tensors, (inputs,), {"every_stage": True})

    @contextmanager
    def noting_inputs(self) -> Iterator[dict[str, Tensor]]:
        """Note, while the context lasts, what each linear layer and convolution is given, by name.

        The names are those of the layers in the state dict, without ``.weight``.
        """
        given: dict[str, Tensor] = {}

        def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            return lambda _, arguments: given.update({name: arguments[0]})

        hooks = [
            layer.register_forward_pre_hook(note(name))
            for name, layer in self.training.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d)
        ]
        try:
            yield given
        finally:
            for hook in hooks:
                hook.remove()

    def tensors(self) -> dict[str, Tensor]:
        """Return a detached copy of parameters and buffers, to be kept in a strategy's memory."""
        return {
            name: t.detach().clone() for name, t in (*self.params.items(), *self.buffers.items())
        }

    def using(self, tensors: Tensors) -> Callable[[Tensor], Tensor]:
        """Return the network in eval mode with these parameters and buffers in place of its own."""
        return lambda inputs: functional_call(self.frozen, dict(tensors), (inputs,))


class Ensemble:
    """The networks of the seeds of a pack, with their parameters stacked when there are several.

    ``params`` and ``buffers`` map state-dict names to tensors whose first axis is the seed when
    ``stacked``, and to the one network's own tensors otherwise.
    """

    def __init__(self, networks: Sequence[Stages]) -> None:
        self.size = len(networks)
        self.stacked = self.size > 1
        self._training = networks[0].train()
        if self.stacked:
            self.params = _stack([dict(network.named_parameters()) for network in networks])
            self.buffers = _stack([dict(network.named_buffers()) for network in networks])
            for tensor in self.params.values():
                tensor.requires_grad_(True)
        else:
            self.params = dict(self._training.named_parameters())
            self.buffers = dict(self._training.named_buffers())
        self._frozen = copy.deepcopy(networks[0]).eval()

    def net(self, params: Tensors, buffers: Tensors) -> Net:
        """Return one network with these tensors (without a seed axis)."""
        return Net(params, buffers, self._training, self._frozen, own=not self.stacked)

    def map(self, function: Callable[..., Any], *trees: Any) -> Any:
        """Apply ``function(net, *trees)`` of one network to every seed.

        The trees hold tensors with a leading seed axis when the ensemble is stacked; so does what
        comes back. Random calls inside are an error: randomness is an argument.
        """

        def of_one(params: Tensors, buffers: Tensors, *arguments: Any) -> Any:
            return function(self.net(params, buffers), *arguments)

        if not self.stacked:
            return of_one(self.params, self.buffers, *trees)
        trees = (self.params, self.buffers, *trees)
        axes = tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, trees)
        return torch.vmap(of_one, in_dims=axes, randomness="error")(*trees)

    @property
    def network(self) -> Stages:
        """The module that says how one network is built; its tensors may not be the present."""
        return self._training

    @property
    def trainable_stages(self) -> list[str]:
        """The names of the stages that have parameters, input first."""
        stages = self._training.stages.items()
        return [name for name, stage in stages if any(True for _ in stage.parameters())]

    def freeze(self, frozen: Iterable[Frozen]) -> None:
        """Hold stages fixed until the next call; everything else trains."""
        held, still = set[str](), set[str]()
        for part in frozen:
            held.update(part.stages)
            still.update(part.stages if part.statistics else ())
        for name, parameter in self.params.items():
            parameter.requires_grad_(stage_of(name) not in held)
        for name, stage in self._training.stages.items():
            stage.train(name not in still)

    @torch.no_grad()
    def clear_head(self) -> None:
        """Set the head's weights and biases to zero."""
        for name, parameter in self.params.items():
            if stage_of(name) == HEAD:
                parameter.zero_()

    @torch.no_grad()
    def predict(self, inputs: Tensor) -> Tensor:
        """Return the logits in eval mode; inputs (S, B, C, H, W), or (B, C, H, W) if one seed."""

        def logits(net: Net, x: Tensor) -> Tensor:
            return net.using({**net.params, **net.buffers})(x)

        return self.map(logits, inputs)

    def state(self) -> dict[str, Tensor]:
        """Return parameters and buffers, detached, with a leading seed axis in any case."""
        tensors = {**self.params, **self.buffers}
        return {n: t.detach() if self.stacked else t.detach()[None] for n, t in tensors.items()}

    @torch.no_grad()
    def load(self, state: Tensors) -> None:
        """Copy tensors as returned by ``state`` into the networks, in place."""
        for name, tensor in {**self.params, **self.buffers}.items():
            tensor.copy_(state[name] if self.stacked else state[name][0])

    def gather(self, values: Tensor) -> Tensor:
        """Drop the seed axis of a tensor (S, ...) if the ensemble keeps none."""
        return values if self.stacked else values[0]

    def spread(self, values: Tensor) -> Tensor:
        """Give a per-seed tensor its seed axis back: the inverse of ``gather``."""
        return values if self.stacked else values[None]


def _stack(states: Sequence[Tensors]) -> dict[str, Tensor]:
    return {name: torch.stack([s[name].detach() for s in states]) for name in states[0]}
