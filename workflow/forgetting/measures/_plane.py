"""Planes through the weights of a network: the loss on them, and where other weights lie.

A plane has an origin, which is a network's weights, and one direction or two, which need not be
orthogonal and whose length is the unit of their coordinate.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from forgetting.measures._curvature import Objective, Parameters, flattened

PARALLEL = 1e-9
"""Directions that differ by a smaller share of their length count as one."""


@torch.no_grad()
def evaluate(of: Objective, parameters: Parameters) -> tuple[float, float]:
    """Return the loss and the accuracy with these parameters."""
    loss = torch.zeros((), dtype=torch.float64, device=parameters[0].device)
    hits = torch.zeros((), dtype=torch.int64, device=parameters[0].device)
    for inputs, targets in of.batches():
        logits = of.logits(parameters, inputs)
        loss += torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum")
        hits += (logits.argmax(1) == targets).sum()
    count = len(of.sample.targets)
    return loss.item() / count, hits.item() / count


@torch.no_grad()
def plane(
    of: Objective, directions: Sequence[Tensor], coordinates: Tensor
) -> list[tuple[tuple[float, ...], float, float]]:
    """Return (coordinates, loss, accuracy) at each point of a grid, the last direction fastest.

    Args:
        of: The loss; its parameters are the origin.
        directions: Vectors (P,).
        coordinates: (points,), along every direction.
    """
    origin = flattened(of.parameters)
    found = []
    for place in torch.cartesian_prod(*[coordinates] * len(directions)).view(-1, len(directions)):
        steps = place.tolist()
        vector = origin.clone()
        for step, direction in zip(steps, directions, strict=True):
            vector += step * direction
        found.append((tuple(steps), *evaluate(of, of.unflattened(vector))))
    return found


@torch.no_grad()
def projector(
    origin: Tensor, directions: Sequence[Tensor]
) -> Callable[[Tensor], tuple[tuple[float, ...], float]]:
    """Return the function weights (P,) -> their coordinates and how far off the plane they are.

    The coordinates are those of least squares, of parallel directions the shortest; the distance
    from the plane is a share of that from the origin, 0 at the origin itself. In float64.

    Args:
        origin: (P,).
        directions: Vectors (P,).
    """
    start = origin.double()
    axes = torch.stack(list(directions), dim=1).double()
    basis, upper = torch.linalg.qr(axes)
    inverse = torch.linalg.pinv(upper, rtol=PARALLEL)

    def project(weights: Tensor) -> tuple[tuple[float, ...], float]:
        way = weights.double() - start
        steps = inverse @ (basis.mT @ way)
        length = torch.linalg.vector_norm(way).item()
        off = torch.linalg.vector_norm(way - axes @ steps).item()
        return tuple(steps.tolist()), off / length if length else 0.0

    return project
