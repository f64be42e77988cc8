"""A step of a multilayer perceptron on a minibatch, without building the network's graph.

For linear layers with ReLU between them, h_l = max(0, h_l-1 W_l^T + b_l), the gradient is, from
the head down (the chain rule),

    delta_l = (delta_l+1 W_l+1 + dL/dh_l) * [h_l > 0],    dL/dW_l = delta_l^T h_l-1,

and dL/db_l the sum of delta_l over the batch. The loss itself is left to the framework: its slopes
dL/dh_l at the outputs of stages (in most strategies at the logits alone) and at the parameters
are what this starts from, so that any loss will do. The kernels below it are those that the
framework's engine would call, in its order: one network's gradients are the same to the last bit,
those of stacked networks up to rounding. What is saved is the graph, and fresh memory for every
gradient of every step: a quarter of the time of a network 784-400-400-10 at batch 64 on one thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from forgetting.ensemble import Ensemble
from forgetting.online import applies
from forgetting.stages import Stages

Layer = tuple[Tensor, Tensor]
"""Weights ([S,] outputs, inputs) and biases ([S,] outputs)."""

_linear_layers: WeakKeyDictionary[Stages, list[str] | None] = WeakKeyDictionary()
"""The names of the linear layers by network, None of what is no perceptron."""


def layers_of(network: Stages, tensors: Mapping[str, Tensor]) -> list[Layer] | None:
    """Return the layers of a perceptron, input side first; None if the network is something else.

    Args:
        network: The network that says which tensor is what.
        tensors: Values by state-dict name, with or without a seed axis in front.
    """
    if network not in _linear_layers:
        linear = [n for n, module in network.named_modules() if isinstance(module, nn.Linear)]
        _linear_layers[network] = linear if applies(network, on_cpu=False) else None
    names = _linear_layers[network]
    if names is None:
        return None
    return [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names]


def forward(layers: Sequence[Layer], vectors: Tensor) -> list[Tensor]:
    """Return the outputs of all layers, ([S,] B, width), of vectors ([S,] B, d); logits last."""
    outputs: list[Tensor] = []
    for weight, bias in layers:
        if weight.dim() == 3:
            sums = torch.baddbmm(bias[:, None], vectors, weight.mT)
        else:
            sums = torch.addmm(bias, vectors, weight.mT)
        vectors = sums.relu() if len(outputs) < len(layers) - 1 else sums
        outputs.append(vectors)
    return outputs


def downwards(
    layers: Sequence[Layer],
    units: Sequence[Tensor],
    slope: Tensor,
    more: Sequence[Tensor | None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (place of a layer, delta of its sums ([S,] B, width)), from the head down.

    Args:
        layers: The layers.
        units: What ``forward`` returned.
        slope: The derivative at the logits.
        more: What a loss adds at the output of each layer below the head, if it does.
    """
    for depth in reversed(range(len(layers))):
        yield depth, slope
        if depth:
            slope = torch.matmul(slope, layers[depth][0])
            if more is not None and (added := more[depth - 1]) is not None:
                slope = slope + added
            slope = torch.ops.aten.threshold_backward(slope, units[depth - 1], 0)


def squared_gradients(
    layers: Sequence[Layer], vectors: Tensor, units: Sequence[Tensor], slope: Tensor
) -> list[Layer]:
    """Return the sums over a batch of the squares of every sample's own gradient, by layer.

    A sample's gradient is an outer product, and so is its square: the sum is one product of
    matrices, (delta^2)^T h^2, and no gradient of a sample is ever formed.

    Args:
        layers: The layers.
        vectors: (B, d), the images.
        units: What ``forward`` returned.
        slope: (B, K), the derivatives of the samples' terms at their own logits.
    """
    below = [vectors, *units]
    found = [
        (squares.mT @ below[depth].square(), squares.sum(0))
        for depth, delta in downwards(layers, units, slope)
        for squares in [delta.square()]
    ]
    return found[::-1]


class Perceptron:
    """The networks of an ensemble; gradients are written into its parameters."""

    stages: Sequence[str]
    """The names of the stages."""

    def __init__(self, layers: Sequence[Layer], stages: Sequence[str]) -> None:
        """Take the leaves of an ensemble's networks, and the names of their stages."""
        self._layers, self.stages = layers, stages
        self._room = [(torch.empty_like(w), torch.empty_like(b)) for w, b in layers]

    @classmethod
    def of(cls, ensemble: Ensemble) -> "Perceptron | None":
        """Return it where the networks are perceptrons."""
        layers = layers_of(ensemble.network, ensemble.params)
        return None if layers is None else cls(layers, ensemble.network.stage_names)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of every stage for inputs ([S,] B, ...); the head's are the logits."""
        units = forward(self._layers, self._vectors(inputs))
        return dict(zip(self.stages, units, strict=True))

    @torch.no_grad()
    def backward(
        self, inputs: Tensor, outputs: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
    ) -> None:
        """Set ``grad`` of every parameter that trains, and None of the others.

        Args:
            inputs: As ``forward`` had them.
            outputs: What it returned.
            slopes: By stage, the derivatives of the sum of the losses by its output as the loss
                sees it; the head's is there.
        """
        below = [self._vectors(inputs), *outputs.values()]
        *more, head = [slopes.get(stage) for stage in self.stages]
        assert head is not None
        trains = [any(p.requires_grad for p in layer) for layer in self._layers]
        for layer, room in zip(self._layers, self._room, strict=True):
            for parameter, own in zip(layer, room, strict=True):
                parameter.grad = own if parameter.requires_grad else None
        for depth, delta in downwards(self._layers, below[1:], head, more):
            weight, bias = self._layers[depth]
            if weight.grad is not None:
                torch.matmul(delta.mT, below[depth], out=weight.grad)
            if bias.grad is not None:
                torch.sum(delta, dim=-2, out=bias.grad)
            if not any(trains[:depth]):
                break

    def _vectors(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(self._layers[0][0].dim() - 1)
