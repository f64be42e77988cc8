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

With ``path`` the run's kept weights are put on the plane: where each is projected to, how far off
it lies, and its own loss and accuracy, to be set against those of the plane. Along
``checkpoint`` directions to the ends of two tasks, from where the first began, the plane holds all
three. Random directions show next to nothing of a path: of any step they keep a share of about
1 / sqrt(P), P the number of parameters.
"""

from collections.abc import Iterator, Sequence
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
from forgetting.measures._plane import evaluate, plane, projector
from forgetting.measures._settings import Moments
from forgetting.randomness import torch_generator

if TYPE_CHECKING:
    from forgetting.runs import RunView

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
PATH_COLUMNS = {"path_task": "float64", "path_epoch": "float64"}


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
    path: bool = False
    """Whether the weights of every checkpoint are projected on the plane as well."""


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


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Loss and accuracy on a grid around the weights of each moment, for every seed.

    Columns: seed, task, layer (``all``), statistic (``loss``, ``accuracy``), value, moment, split,
    of_task (whose images), direction_x, direction_y ("" with one direction; checkpoints as
    ``checkpoint task-2``), x, y (0 with one direction), samples. Directions are found on the
    images of the moment's task. A diverged seed has no rows from the task on after which its
    weights are not finite, and none at all where a direction leads to such weights.
    ``attrs["probe"]`` identifies the samples.

    With ``path`` there are columns path_task and path_epoch too (epochs within the task, 0 at its
    end; empty on the grid), and for every checkpoint ``path`` (distance of its weights from the
    plane, as a share of that from the origin), ``path_loss`` and ``path_accuracy`` (its own, on
    the same images) at its coordinates of least squares x and y.

    Raises:
        UserError: ``towards`` does not name a kept checkpoint for each direction ``checkpoint``.
    """
    names = _named(run, settings)
    samples = Samples(run, settings.images, settings.added)
    last = settings.points - 1
    place = torch.arange(settings.points, dtype=torch.float64)
    # Unlike linspace it meets 0 and 1 exactly, where networks lie.
    grid = (settings.low * (last - place) + settings.high * place) / last
    rows: list[dict[str, Any]] = []
    ends = {each.name: each.task for each in run.checkpoints}
    for moment, index, seed in looks(run, settings):
        if not all(run.alive(seed, ends[name]) for name in settings.towards):
            continue
        own = _objective(run, index, moment, moment.task, samples, settings)
        directions = _directions(run, index, own, settings)
        seen: list[tuple[dict[str, Any], Objective]] = []
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
                at = dict(zip("xy", (*steps, 0.0), strict=False))
                for statistic, value in (("loss", loss), ("accuracy", accuracy)):
                    rows.append({**about, **at, "statistic": statistic, "value": value})
            seen.append((about, of))
        if settings.path:
            rows += _path(run, index, seen, directions, settings)
    return tabled(rows, COLUMNS | PATH_COLUMNS if settings.path else COLUMNS, samples)


def _path(
    run: "RunView",
    index: int,
    seen: Sequence[tuple[dict[str, Any], Objective]],
    directions: Sequence[Tensor],
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    """Rows of every checkpoint of a seed; ``seen`` are losses around the origin."""
    project = projector(flattened(seen[0][1].parameters), directions)
    for checkpoint in run.checkpoints:
        if not run.alive(run.seeds[index], checkpoint.task):
            continue
        there = run.network(index, checkpoint.name)
        steps, off = project(flattened([p.detach() for p in there.parameters()]))
        place = dict(zip("xy", (*steps, 0.0), strict=False))
        place |= {"path_task": checkpoint.task, "path_epoch": checkpoint.epoch}
        for about, of in seen:
            # With its own running statistics, where there are any: the network as it was.
            its = cross_entropy(
                there, of.sample, batch_size=of.batch_size, batch_norm=settings.batch_norm
            )
            loss, accuracy = evaluate(its, its.parameters)
            for statistic, value in (
                ("path", off),
                ("path_loss", loss),
                ("path_accuracy", accuracy),
            ):
                yield {**about, **place, "statistic": statistic, "value": value}


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
    of = network(run, index, moment)
    return cross_entropy(
        of,
        samples.draw(index, task, settings.split, of),
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
