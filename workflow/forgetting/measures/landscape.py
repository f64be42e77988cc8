"""Slices of the loss along one or two directions through the weights of a run.

L(x, y) = loss(theta + x d1 + y d2), with accuracy, on a fixed sample. Directions:

* ``random``: Gaussian, each filter (row of a weight matrix, kernel of a convolution) scaled to the
  length of the weights' own; zero for biases and norms' scales (Li et al. 2018, arXiv
  1712.09913). At 1 the weights have gone as far as they are long.
* ``eigenvector``: of the Hessian's largest eigenvalue; a second one is of the second largest.
  Of unit length, by Lanczos' method.
* ``gradient``: of the loss, of unit length, uphill.
* ``checkpoint``: from these weights to those of another moment of the run, which lie at 1: what
  the loss does between two moments.

Prakash et al. (2025, arXiv 2509.22335) show such slices at the start of a task, where gradient
descent zig-zags in a valley or runs down a bowl; their directions are not known to us.
Directions are not made orthogonal to one another.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from forgetting.errors import UserError
from forgetting.lanczos import krylov, top_eigenvectors
from forgetting.measures._curvature import Objective, flattened, gradient, hessian_product
from forgetting.measures._curvature import objective as cross_entropy
from forgetting.measures._moments import Moment, Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.randomness import torch_generator

if TYPE_CHECKING:
    from forgetting.runs import RunView

NEEDS = "checkpoints"
COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "moment": "str",
    "split": "str",
    "of_task": "int64",
    "direction_x": "str",
    "direction_y": "str",
    "x": "float64",
    "y": "float64",
    "samples": "int64",
}


class Settings(Moments):
    """From which weights, in which directions, on which images."""

    moments: Annotated[tuple[Literal["init", "end"], ...], Field(min_length=1)] = ("init",)
    """init: the task's images, the weights of the task before; end: after training on it."""
    split: Literal["train", "held_out"] = "train"
    """Images trained on, or test images."""
    of_tasks: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Tasks whose loss is taken, each in the outputs that compete when it is trained; none named:
    the task of the moment."""
    directions: Annotated[
        tuple[Literal["random", "eigenvector", "gradient", "checkpoint"], ...],
        Field(min_length=1, max_length=2),
    ] = ("random", "random")
    """One direction or two (see the module)."""
    towards: tuple[str, ...] = ()
    """The checkpoint, such as task-2, of each direction ``checkpoint``."""
    low: float = -1.0
    """Smallest coordinate along either direction."""
    high: float = 1.0
    """Largest coordinate."""
    points: Annotated[int, Field(ge=2)] = 21
    """Coordinates along either direction, evenly spaced."""
    steps: Annotated[int, Field(ge=2)] = 50
    """Steps of Lanczos' method for eigenvectors."""
    keep_graph: bool = True
    """For eigenvectors: as for measure hessian."""
    batch_norm: Literal["running", "batch"] = "running"
    """Whether batch norm uses its running statistics, which belong to the weights in the middle,
    or those of each batch."""
    batch_size: Annotated[int, Field(gt=0)] = 500
    """Images at once; part of the definition with batch statistics."""


def filter_normalised(of: Objective, generator: torch.Generator) -> Tensor:
    """Return a random direction (P,) whose filters are as long as those of the parameters."""
    parts = []
    for parameter in of.parameters:
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        drawn = drawn.to(parameter.device, parameter.dtype)
        if parameter.dim() < 2:
            parts.append(torch.zeros_like(parameter))
            continue
        rows = drawn.flatten(1)
        own, drawn_length = (
            torch.linalg.vector_norm(each.flatten(1), dim=1, keepdim=True)
            for each in (parameter, drawn)
        )
        parts.append((rows * own / drawn_length).view_as(parameter))
    return flattened(parts)


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
        parameters = of.unflattened(vector)
        loss = torch.zeros((), dtype=torch.float64, device=vector.device)
        hits = torch.zeros((), dtype=torch.int64, device=vector.device)
        for inputs, targets in of.batches():
            logits = of.logits(parameters, inputs)
            loss += torch.nn.functional.cross_entropy(logits.double(), targets, reduction="sum")
            hits += (logits.argmax(1) == targets).sum()
        count = len(of.sample.targets)
        found.append((tuple(steps), loss.item() / count, hits.item() / count))
    return found


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Loss and accuracy on a grid around the weights of each moment, for every seed.

    Columns: seed, task, layer (``all``), statistic (``loss``, ``accuracy``), value, moment, split,
    of_task (whose images), direction_x, direction_y ("" with one direction; checkpoints as
    ``checkpoint task-2``), x, y (0 with one direction), samples. Directions are found on the
    images of the moment's task. A diverged seed has no rows from the task on after which its
    weights are not finite. ``attrs["probe"]`` identifies the samples.

    Raises:
        UserError: ``towards`` does not name a kept checkpoint for each direction ``checkpoint``.
    """
    names = _named(run, settings)
    samples = Samples(run, settings.images, settings.added)
    grid = torch.linspace(settings.low, settings.high, settings.points, dtype=torch.float64)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        own = _objective(run, index, moment, moment.task, samples, settings)
        directions = _directions(run, index, own, settings)
        for of_task in settings.of_tasks or (moment.task,):
            of = own
            if of_task != moment.task:
                of = _objective(run, index, moment, of_task, samples, settings)
            about = {
                "seed": seed,
                "task": moment.task,
                "layer": "all",
                "moment": moment.moment,
                "split": settings.split,
                "of_task": of_task,
                "direction_x": names[0],
                "direction_y": names[1],
                "samples": len(of.sample.targets),
            }
            for steps, loss, accuracy in plane(of, directions, grid):
                place = dict(zip("xy", (*steps, 0.0), strict=False))
                for statistic, value in (("loss", loss), ("accuracy", accuracy)):
                    rows.append({**about, **place, "statistic": statistic, "value": value})
    return tabled(rows, COLUMNS, samples)


def _named(run: "RunView", settings: Settings) -> tuple[str, str]:
    """The directions' names, with the checkpoints that they lead to."""
    known = [each.name for each in run.checkpoints]
    wanted = settings.directions.count("checkpoint")
    if len(settings.towards) != wanted or not set(settings.towards) <= set(known):
        raise UserError(
            f"settings.towards: give {wanted} checkpoint{'s' * (wanted != 1)} of {run.folder}, one "
            f"for each direction checkpoint; found {list(settings.towards)}, there are "
            f"{', '.join(known)}"
        )
    ends = iter(settings.towards)
    names = [f"{d} {next(ends)}" if d == "checkpoint" else d for d in settings.directions]
    return names[0], names[1] if len(names) > 1 else ""


def _objective(
    run: "RunView", index: int, moment: Moment, task: int, samples: Samples, settings: Settings
) -> Objective:
    return cross_entropy(
        network(run, index, moment),
        samples.draw(index, task, settings.split),
        batch_size=settings.batch_size,
        batch_norm=settings.batch_norm,
    )


def _directions(run: "RunView", index: int, of: Objective, settings: Settings) -> list[Tensor]:
    origin = flattened(of.parameters)
    root = (run.spec["benchmark"]["name"], run.seeds[index], "landscape")
    wanted = settings.directions.count("eigenvector")
    if wanted:
        found = krylov(
            hessian_product(of, keep_graph=settings.keep_graph),
            of.dim,
            settings.steps,
            torch_generator(*root, "eigenvector"),
            device=origin.device,
        )
        eigenvectors = iter(top_eigenvectors(found, wanted).to(origin.dtype))
    ends = iter(settings.towards)
    directions = []
    for axis, kind in enumerate(settings.directions):
        if kind == "random":
            directions.append(filter_normalised(of, torch_generator(*root, axis)))
        elif kind == "eigenvector":
            directions.append(next(eigenvectors))
        elif kind == "gradient":
            slope = gradient(of)
            directions.append(slope / torch.linalg.vector_norm(slope))
        else:
            other = run.network(index, next(ends))
            directions.append(flattened([p.detach() for p in other.parameters()]) - origin)
    return directions
