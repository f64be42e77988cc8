"""Products with the Hessian of a perceptron's cross-entropy, written out.

With h_l = max(0, h_l-1 W_l^T + b_l) and the slopes delta_l of the mean loss at the sums of layer l,
the derivative R of everything in a direction (V_l, c_l) of the parameters (Pearlmutter 1994, Neural
Computation 6, 147) is

    R h_l     = (h_l-1 V_l^T + c_l + R h_l-1 W_l^T) * [h_l > 0]
    R delta_K = (diag p - p p^T) R z / n                                  at the logits z
    R delta_l = (R delta_l+1 W_l+1 + delta_l+1 V_l+1) * [h_l > 0]
    (H v)_l   = R delta_l^T h_l-1 + delta_l^T R h_l-1,        sum of R delta_l over the samples

h and delta do not depend on the direction and are kept. That is two thirds of the operations of
differentiating the gradient's graph, in a third of its passes over memory.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from forgetting.perceptron import Layer, downwards, forward


class _Kept(NamedTuple):
    """What the samples of a batch are at the weights."""

    below: list[Tensor]
    """The inputs of every layer, (b, width)."""
    gates: list[Tensor]
    """1 where a unit is on, else 0, of every hidden layer."""
    slopes: list[Tensor]
    """Of the mean loss at the sums of every layer."""
    shares: Tensor
    """(b, K): the softmax, 0 at outputs that do not compete."""


def hessian_product(
    layers: list[Layer],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    samples: int,
    outputs: Tensor | None,
) -> Callable[[Tensor], Tensor]:
    """Return the function v (P,) -> Hv (P,) for the mean cross-entropy.

    Args:
        layers: The layers, detached; P is in the order of weights and biases, input side first.
        batches: Inputs and targets (positions among the outputs that compete).
        samples: How many there are, n.
        outputs: (K,) bool, the outputs that compete; None: all.
    """
    kept = [_kept(layers, x.flatten(1), y, samples, outputs) for x, y in batches]
    shapes = [tensor.shape for layer in layers for tensor in layer]

    def product(vector: Tensor) -> Tensor:
        like = layers[0][0]
        vector = vector.to(like.device, like.dtype)
        total = torch.zeros_like(vector)
        into, along = _layers(total, shapes), _layers(vector, shapes)
        for batch in kept:
            _add_product(layers, along, into, batch, samples)
        return total

    return product


def _kept(
    layers: list[Layer], vectors: Tensor, targets: Tensor, samples: int, outputs: Tensor | None
) -> _Kept:
    units = forward(layers, vectors)
    numbers = torch.arange(units[-1].shape[1], device=targets.device)
    logits = units[-1]
    if outputs is not None:
        numbers, logits = numbers[outputs], logits.masked_fill(~outputs, -torch.inf)
    shares = logits.softmax(1)
    slope = shares.scatter_add(1, numbers[targets][:, None], -torch.ones_like(shares[:, :1])).div_(
        samples
    )
    slopes = [delta for _, delta in downwards(layers, units, slope)][::-1]
    gates = [(unit > 0).to(unit.dtype) for unit in units[:-1]]
    return _Kept([vectors, *units[:-1]], gates, slopes, shares)


def _add_product(
    layers: list[Layer], along: list[Layer], into: list[Layer], batch: _Kept, samples: int
) -> None:
    moves: list[Tensor] = []
    for depth, ((weight, _), (direction, shift)) in enumerate(zip(layers, along, strict=True)):
        move = torch.addmm(shift, batch.below[depth], direction.mT)
        if depth:
            move.addmm_(moves[-1], weight.mT)
        if depth < len(layers) - 1:
            move.mul_(batch.gates[depth])
        moves.append(move)
    weighed = batch.shares * moves[-1]
    change = (weighed - batch.shares * weighed.sum(1, keepdim=True)).div_(samples)
    for depth in reversed(range(len(layers))):
        of_weight, of_bias = into[depth]
        of_weight.addmm_(change.mT, batch.below[depth])
        of_bias.add_(change.sum(0))
        if depth:
            of_weight.addmm_(batch.slopes[depth].mT, moves[depth - 1])
            change = torch.mm(change, layers[depth][0])
            change.addmm_(batch.slopes[depth], along[depth][0])
            change.mul_(batch.gates[depth - 1])


def _layers(vector: Tensor, shapes: list[torch.Size]) -> list[Layer]:
    parts = vector.split([shape.numel() for shape in shapes])
    views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return list(zip(views[::2], views[1::2], strict=True))
