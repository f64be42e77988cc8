"""The mean loss of a staged network over a sample, and its derivatives.

The loss is the cross-entropy or, of agents, that of PPO at the weights that took the steps.

Over all parameters as one vector, in the order of ``named_parameters``, and in the outputs that
compete when the task is trained; without terms that a strategy adds and without weight decay.
Batches count by their size.

Hessian-vector products are gradients of (gradient . v), except those of a perceptron's
cross-entropy, which are written out (``measures._perceptron_curvature``). The graph of the gradient
can be kept from product to product. Milliseconds for a perceptron 784-100-100-100-10 and 2,000
images in float32, on one thread, by batch size 100 / 500 / 2,000, before they were written out:

    graph kept          30 / 22 / 22
    graph built anew    72 / 43 / 35
    jvp of grad        139 / 59 / 48
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from forgetting.measures import _perceptron_curvature
from forgetting.measures._moments import CROSS_ENTROPY, Sample
from forgetting.perceptron import layers_of
from forgetting.stages import Stages

Parameters = Sequence[Tensor]
BatchNorm = Literal["running", "batch"]


@dataclass(frozen=True)
class Objective:
    """The mean cross-entropy as a function of the parameters."""

    network: Stages
    """Its mode is set by ``objective``; neither its parameters nor its buffers change."""
    sample: Sample
    batch_size: int

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The network's parameters, detached."""
        return tuple(parameter.detach() for parameter in self.network.parameters())

    @property
    def dim(self) -> int:
        """Number of parameters P."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets."""
        inputs, targets, *_ = self.sample
        yield from zip(inputs.split(self.batch_size), targets.split(self.batch_size), strict=True)

    def logits(self, parameters: Parameters, inputs: Tensor) -> Tensor:
        """Return the logits (b, K') of the outputs that compete."""
        names = [name for name, _ in self.network.named_parameters()]
        # In training mode batch norm writes its statistics: into copies.
        buffers = {
            name: buffer.clone() if self.network.training else buffer
            for name, buffer in self.network.named_buffers()
        }
        tensors = {**dict(zip(names, parameters, strict=True)), **buffers}
        logits = functional_call(self.network, tensors, (inputs,))
        return logits if self.sample.outputs is None else logits[:, self.sample.outputs]

    def share(self, parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return a batch's part of the mean: the sum of its losses over the size of the sample."""
        logits = self.logits(parameters, inputs)
        return self.sample.loss(logits, targets) / len(self.sample.targets)

    def unflattened(self, vector: Tensor) -> tuple[Tensor, ...]:
        """Return a vector (P,) as tensors shaped like the parameters."""
        parameters = self.parameters
        parts = vector.split([parameter.numel() for parameter in parameters])
        return tuple(
            part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)
        )


def objective(
    network: Stages,
    sample: Sample,
    *,
    batch_size: int,
    batch_norm: BatchNorm = "running",
    precision: Literal["run", "float64"] = "run",
) -> Objective:
    """Return the mean cross-entropy of a network, whose mode and type are set here.

    Args:
        network: The network; it is the caller's to lose.
        sample: What it is evaluated on.
        batch_size: Images at once. Matters to the value only with ``batch_norm="batch"``.
        batch_norm: Whether batch norm uses its running statistics, or those of each batch.
        precision: That of the network, or float64.
    """
    network.train(batch_norm == "batch")
    if precision == "float64":
        network.double()
        targets = sample.targets
        sample = sample._replace(
            inputs=sample.inputs.double(),
            targets=targets.double() if targets.is_floating_point() else targets,
        )
    return Objective(network, sample, batch_size)


def flattened(tensors: Parameters) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def gradient(of: Objective) -> Tensor:
    """Return the gradient (P,) of the mean cross-entropy."""
    parameters = [parameter.requires_grad_() for parameter in of.parameters]
    total = torch.zeros_like(flattened(parameters), requires_grad=False)
    for inputs, targets in of.batches():
        total += _slope(of, parameters, inputs, targets, create_graph=False)
    return total


def hessian_product(of: Objective, *, keep_graph: bool = True) -> Callable[[Tensor], Tensor]:
    """Return the function v (P,) -> Hv (P,) for the Hessian of the mean cross-entropy.

    v may be of any real type and on any device; Hv is of the network's.

    Args:
        of: The mean cross-entropy.
        keep_graph: Where the product is not written out, keep the graphs of the gradient of all
            batches from product to product. Two to three times as fast; the memory is that of
            training on the whole sample at once, a few times over.
    """
    layers = layers_of(of.network, {n: p.detach() for n, p in of.network.named_parameters()})
    if layers is not None and of.sample.loss is CROSS_ENTROPY:
        return _perceptron_curvature.hessian_product(
            layers, of.batches(), samples=len(of.sample.targets), outputs=of.sample.outputs
        )
    return product_by_graph(of, keep_graph=keep_graph)


def product_by_graph(of: Objective, *, keep_graph: bool = True) -> Callable[[Tensor], Tensor]:
    """Return what ``hessian_product`` does, of any network and loss."""
    parameters = [parameter.requires_grad_() for parameter in of.parameters]

    def slopes() -> Iterator[Tensor]:
        for inputs, targets in of.batches():
            yield _slope(of, parameters, inputs, targets, create_graph=True)

    kept = list(slopes()) if keep_graph else None

    def product(vector: Tensor) -> Tensor:
        like = parameters[0]
        vector = vector.to(like.device, like.dtype)
        total = torch.zeros_like(vector)
        for slope in slopes() if kept is None else kept:
            total += flattened(
                torch.autograd.grad(
                    slope, parameters, vector, retain_graph=keep_graph, materialize_grads=True
                )
            )
        return total

    return product


def dense_hessian(of: Objective) -> Tensor:
    """Return the Hessian (P, P), column by column."""
    product = hessian_product(of)
    like = of.parameters[0]
    identity = torch.eye(of.dim, dtype=like.dtype, device=like.device)
    matrix = torch.stack([product(row) for row in identity])
    return (matrix + matrix.mT) / 2


def dense_gauss_newton(of: Objective) -> Tensor:
    """Return the generalised Gauss-Newton matrix (P, P), the Fisher matrix of the softmax model.

    The mean over samples of J^T (diag(p) - p p^T) J with J (K', P) the derivative of the logits
    and p their softmax. In eval mode only, where samples do not depend on one another.
    """
    parameters = of.parameters

    def of_one(image: Tensor) -> Tensor:
        def logits(*tensors: Tensor) -> Tensor:
            return of.logits(tensors, image[None])[0]

        parts = jacrev(logits, argnums=tuple(range(len(parameters))))(*parameters)
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    total = torch.zeros(of.dim, of.dim, dtype=parameters[0].dtype, device=parameters[0].device)
    for inputs, _ in of.batches():
        roots = softmax_roots(of.logits(parameters, inputs))
        rows = (roots.mT @ vmap(of_one)(inputs)).flatten(0, 1)
        total += rows.mT @ rows / len(of.sample.targets)
    return total


def softmax_roots(logits: Tensor) -> Tensor:
    """Return R (n, K, K) with R R^T = diag(p) - p p^T, the Hessian of the cross-entropy in logits.

    R = diag(sqrt p) - p sqrt(p)^T.
    """
    shares = logits.softmax(1)
    roots = shares.sqrt()
    return torch.diag_embed(roots) - shares[:, :, None] * roots[:, None, :]


def _slope(
    of: Objective,
    parameters: list[Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    create_graph: bool,
) -> Tensor:
    """A batch's part of the gradient (P,)."""
    return flattened(
        torch.autograd.grad(
            of.share(parameters, inputs, targets),
            parameters,
            create_graph=create_graph,
            materialize_grads=True,
        )
    )
