"""The loss of a minibatch and its gradient, for every seed of an ensemble.

The framework differentiates the whole, or, where the networks are written out
(``forgetting.perceptron``), the loss alone.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from forgetting.ensemble import Ensemble, Net, Tensors
from forgetting.perceptron import Perceptron
from forgetting.strategy import Context, Memory, Strategy
from forgetting.tasks import Batch

Terms = dict[str, Tensor]
Objective = Callable[[Tensor, Any, int], tuple[Terms, Terms]]
"""Loss: (outputs (B, K), batch, new) -> terms that add up, and other facts. Of one network, or of
stacked ones when everything has their axis in front."""
Gradients = Callable[[Any, int, Memory, Context], tuple[Terms, Terms, dict[str, Tensor]]]
"""Sets ``grad`` of an ensemble's parameters: (batch, new, memory, context) -> terms of the loss,
other facts, and where a strategy wants them the outputs of all stages, and the inputs of all
layers, detached."""


class WrittenOut(Protocol):
    """Networks whose outputs and gradients are written out, such as ``Perceptron``."""

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of every stage, the head's last."""

    def backward(
        self, inputs: Tensor, outputs: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
    ) -> None:
        """Set the gradients, from the loss's derivatives by the outputs of stages."""


def cross_entropy(logits: Tensor, batch: Batch, new: int) -> tuple[Terms, Terms]:
    """Return the cross-entropy of a batch and the accuracy on its first ``new`` samples."""
    competing = logits if batch.mask is None else logits.masked_fill(~batch.mask, -torch.inf)
    targets = batch.targets
    hits = competing.detach()[..., :new, :].argmax(dim=-1) == targets[..., :new]
    if logits.dim() == 2:
        loss = functional.cross_entropy(competing, targets)
    else:
        rows = competing.flatten(0, 1), targets.flatten()
        loss = functional.cross_entropy(*rows, reduction="none").view(targets.shape).mean(dim=-1)
    return {"loss": loss}, {"accuracy": hits.sum(dim=-1) / new}


def gradients_for(
    ensemble: Ensemble,
    strategy: Strategy,
    objective: Objective,
    *,
    bfloat16: bool = False,
    written_out: Callable[[Ensemble], WrittenOut | None] = Perceptron.of,
) -> Gradients:
    """Return what computes the gradients of an objective and the terms that a strategy adds.

    Args:
        ensemble: The networks.
        strategy: The strategy.
        objective: The loss.
        bfloat16: The networks' products are in that precision.
        written_out: Returns the networks written out, or None where they are something else.
    """
    plain = bfloat16 or "layer_inputs" in strategy.facts("after_step")
    networks = None if plain else written_out(ensemble)
    if networks is None:
        return by_framework(ensemble, strategy, objective, bfloat16=bfloat16)
    return by_hand(networks, ensemble, strategy, objective)


def by_framework(
    ensemble: Ensemble, strategy: Strategy, objective: Objective, *, bfloat16: bool = False
) -> Gradients:
    """Return the plain way: any network, any loss."""
    device = next(iter(ensemble.params.values())).device.type
    looked_into = "activations" in strategy.facts("after_step") | strategy.facts("loss")
    noted = "layer_inputs" in strategy.facts("after_step")

    def gradients(
        batch: Any, new: int, memory: Memory, context: Context
    ) -> tuple[Terms, Terms, dict[str, Tensor]]:
        def of_one(
            net: Net, batch: Any, memory: Memory, context: Context
        ) -> tuple[Terms, Terms, dict[str, Tensor]]:
            outputs: Any
            given: Any
            noting: AbstractContextManager[Any] = net.noting_inputs() if noted else nullcontext({})
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16), noting as given:
                outputs = net.activations(batch.inputs) if looked_into else net(batch.inputs)
            if bfloat16:
                outputs, given = tree_map(lambda output: output.float(), (outputs, given))
            activations = outputs if looked_into else {}
            logits = list(activations.values())[-1] if looked_into else outputs
            seen = {name: tensor.detach() for name, tensor in (given | activations).items()}
            terms, facts = objective(logits, batch, new)
            known = {"context": context, "activations": activations}
            terms |= strategy.loss(net, batch, logits, memory, known)
            return terms, facts, seen

        terms, facts, seen = ensemble.map(of_one, batch, memory, context)
        for parameter in ensemble.params.values():
            parameter.grad = None
        sum(terms.values()).sum().backward()
        return terms, facts, seen

    return gradients


def by_hand(
    networks: WrittenOut, ensemble: Ensemble, strategy: Strategy, objective: Objective
) -> Gradients:
    """Return the fast way: networks that are written out, any loss."""
    adds, looked_into = strategy.has("loss"), "activations" in strategy.facts("loss")

    def gradients(
        batch: Any, new: int, memory: Memory, context: Context
    ) -> tuple[Terms, Terms, dict[str, Tensor]]:
        outputs = networks.forward(batch.inputs)
        head = next(reversed(outputs))
        seen = outputs if looked_into else {head: outputs[head]}
        leaves = {name: output.detach().requires_grad_() for name, output in seen.items()}

        def of_one(
            net: Net, leaves: Tensors, batch: Any, memory: Memory, context: Context
        ) -> tuple[Terms, Terms]:
            terms, facts = objective(leaves[head], batch, new)
            known = {"context": context, "activations": leaves}
            terms |= strategy.loss(net, batch, leaves[head], memory, known)
            return terms, facts

        own: list[Tensor] = []
        terms: Any
        if adds:
            terms, facts = ensemble.map(of_one, leaves, batch, memory, context)
            own = [p for p in ensemble.params.values() if p.requires_grad]
        else:  # which takes stacked networks as they are, cheaper than mapped
            terms, facts = objective(leaves[head], batch, new)
        total = sum(terms.values()).sum()
        found = torch.autograd.grad(total, [*leaves.values(), *own], allow_unused=True)
        slopes = dict(zip(leaves, found[: len(leaves)], strict=True))
        networks.backward(batch.inputs, outputs, slopes)
        for parameter, gradient in zip(own, found[len(leaves) :], strict=True):
            if gradient is not None:
                assert parameter.grad is not None
                parameter.grad += gradient
        return terms, facts, outputs

    return gradients
