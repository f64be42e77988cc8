"""Similarity of the subspaces that activations live in, before and after task 2.

With V_k and U_k (p x k) the first k principal directions of centred X (n x p) and Y (m x p)
(Ramasesh et al. 2020, arXiv 2007.07400):

    SubspaceSim_k(X, Y) = ||V_k^T U_k||_F^2 / k

the mean squared cosine of the principal angles: 1 for the same subspace, k / p on average for
two random ones, which is why that chance level has rows of its own. Unlike CKA it needs no
common samples, so it also compares what different networks make of different tasks. The paper
compares three pairs; how it chooses k, and on which inputs it takes the activations, is not
known. Here, with the inputs that the names suggest:

``task1-task2``: the network after task 1 on inputs of task 1, and a network trained on task 2
    alone on inputs of task 2.
``task1-task1_post_task2``: the network after task 1 and the same one after task 2, both on inputs
    of task 1.
``task2-task1_post_task2``: the network trained on task 2 alone on inputs of task 2, and the one
    trained on task 1 and then task 2, on inputs of task 1 (or of task 2: a setting).

A direction is defined only where the variance along it stands out: in a matrix of rank r (few
samples, dead units) the directions after the r-th are rounding, and where the variances along the
k-th and the next direction are equal there is no first k. The similarity is then NaN, and the
column ``rank`` says why. A k above p is left out: such a subspace cannot exist.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pandas as pd
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor

from forgetting.activations import activation_matrices
from forgetting.measures._matrices import EPS, centred, double, resolution, scaled
from forgetting.measures._settings import Probe
from forgetting.measures._two_tasks import TaskProbes, networks, survivors
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "depth": "int64",
    "condition": "str",
    "k": "int64",
    "features": "int64",
    "rank": "int64",
    "layout": "str",
}


class Settings(BaseSettings):
    """Which subspaces are compared."""

    k: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (2, 5, 10, 20)
    """Dimensions of the subspaces, each measured; above a stage's features: left out there."""
    conditions: Annotated[
        tuple[Literal["task1-task2", "task1-task1_post_task2", "task2-task1_post_task2"], ...],
        Field(min_length=1),
    ] = ("task1-task2", "task1-task1_post_task2", "task2-task1_post_task2")
    """The pairs of networks. All but the second need a run trained on task 2 alone, which the
    study names under the measure: against: {task2_only: STRATEGY}."""
    post_task2_inputs: Literal["task 1", "task 2"] = "task 1"
    """Images that the network trained on both tasks is given in task2-task1_post_task2."""
    probe: Probe = Probe()
    """The images of each task that activations are taken on."""
    layout: Literal["pooled", "flattened"] = "pooled"
    """Feature maps as a matrix: average over positions (images x channels), or every position a
    feature (images x channels * positions); the latter keeps all maps of up to four probes in
    memory: 4 * images x all units x 4 bytes."""


class Directions(NamedTuple):
    """Principal directions of a matrix with p features."""

    variances: Tensor
    """(r,), descending, in units of their own: the squared singular values."""
    vectors: Tensor
    """(p, r), orthonormal columns."""
    floor: float
    """What rounding can make of a variance."""

    @property
    def rank(self) -> int:
        """r, the number of directions that are more than rounding."""
        return len(self.variances)

    def define(self, k: int) -> bool:
        """Whether the first k directions span a subspace that is told from the rest."""
        if k > self.rank:
            return False
        following = self.variances[k].item() if k < self.rank else 0.0
        return self.variances[k - 1].item() - following > self.floor


def principal_directions(matrix: Tensor | ArrayLike) -> Directions:
    """Principal directions of centred samples x features (n, p), in float64.

    They are eigenvectors of the p x p covariance, or come from those of the n x n Gram matrix
    where n < p. What is rounding is left out: squared singular values below max(n, p) * eps of
    the largest (the decomposition's own), or below what a matrix of independent errors has, each
    as large as the last digit of the matrix's largest entry in the precision that it came in,
    (sqrt(n) + sqrt(p))^2 of their squares (the edge of the Marchenko-Pastur law).

    Raises:
        ValueError: Not two axes.
    """
    given = double(matrix)
    values = centred(given)
    samples, features = values.shape
    if not values.isfinite().all():
        return Directions(values.new_empty(0), values.new_empty(features, 0), 0.0)
    digit = resolution(matrix) * float(given.abs().max() / values.abs().max())
    values = scaled(values)
    tall = samples >= features
    gram = values.mT @ values if tall else values @ values.mT
    variances, vectors = (t.flip(-1) for t in torch.linalg.eigh(gram.cpu()))
    errors = (samples**0.5 + features**0.5) * digit
    floor = max(max(samples, features) * EPS * variances[0].item(), errors**2)
    kept = int((variances > floor).sum())
    variances, vectors = variances[:kept], vectors[:, :kept]
    if not tall:
        vectors = values.mT.cpu() @ vectors / variances.sqrt()
    return Directions(variances, vectors, floor)


def subspace_similarity(x: Tensor | ArrayLike, y: Tensor | ArrayLike, k: int) -> float:
    """||V_k^T U_k||_F^2 / k of the first k principal directions of x and y.

    Args:
        x: (n, p), a row a sample; need not be centred. numpy or torch, of any real type.
        y: (m, p); the samples need not be those of x.
        k: Dimension of the subspaces, from 1 to p.

    Returns:
        Between 0 and 1; NaN where the first k directions of x or y are not defined.

    Raises:
        ValueError: Not two axes, different numbers of features, or k out of range.
    """
    first, second = principal_directions(x), principal_directions(y)
    features = {len(first.vectors), len(second.vectors)}
    if len(features) > 1 or not 1 <= k <= min(features):
        raise ValueError(f"a subspace of {k} dimensions in spaces of {sorted(features)} features")
    return _similarity(first, second, k)


def _similarity(first: Directions, second: Directions, k: int) -> float:
    if not (first.define(k) and second.define(k)):
        return torch.nan
    return float((first.vectors[:, :k].mT @ second.vectors[:, :k]).square().sum()) / k


Side = tuple[str, str]
"""A network and the task whose images it is given."""


def _pairs(settings: Settings) -> dict[str, tuple[Side, Side]]:
    """The two sides of each condition."""
    known: dict[str, tuple[Side, Side]] = {
        "task1-task2": (("task1", "task 1"), ("task2", "task 2")),
        "task1-task1_post_task2": (("task1", "task 1"), ("post", "task 1")),
        "task2-task1_post_task2": (("task2", "task 2"), ("post", settings.post_task2_inputs)),
    }
    return {condition: known[condition] for condition in settings.conditions}


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Similarities of every stage's subspaces, after task 2, for every seed.

    Columns: seed, task (2), layer, statistic (``subspace_similarity``, or ``chance``: k / p),
    value, depth (place in the network, from 1), condition, k, features (p), rank (the smaller one
    of the two matrices; with rank < k there is no similarity), layout. A seed that diverged, in
    this run or in the one trained on task 2 alone, has no rows. ``attrs["probe"]`` describes the
    probes.

    Raises:
        UserError: A condition needs the run trained on task 2 alone, and the study names none.
    """
    pairs = _pairs(settings)
    sides = list(dict.fromkeys(side for pair in pairs.values() for side in pair))
    alive = survivors(run)
    sources = {"task1": (run, 1), "post": (run, 2)}
    if any(network == "task2" for network, _ in sides):
        other = run.other("task2_only")
        alive = [index for index in alive if other.alive(run.seeds[index], 2)]
        sources["task2"] = (other, 2)
    loaded = {
        name: networks(source, task, alive)
        for name, (source, task) in sources.items()
        if any(network == name for network, _ in sides)
    }
    drawn = TaskProbes(run, settings.probe)
    rows: list[dict[str, Any]] = []
    for index in alive:
        inputs = {
            task: drawn.inputs(index, int(task[-1])) for task in sorted({t for _, t in sides})
        }
        stages = _stages(
            {(name, task): (loaded[name][index], inputs[task]) for name, task in sides},
            layout=settings.layout,
        )
        for depth, (layer, layout, directions) in enumerate(stages, start=1):
            about = {"layer": layer, "depth": depth, "layout": layout}
            for condition, (first, second) in pairs.items():
                for row in _compared(directions[first], directions[second], settings.k):
                    rows.append(
                        {
                            "seed": run.seeds[index],
                            "task": 2,
                            "condition": condition,
                            **about,
                            **row,
                        }
                    )
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame.attrs["probe"] = drawn.about()
    return frame


def _stages(
    sides: dict[Side, tuple[Stages, Tensor]], *, layout: str
) -> Iterator[tuple[str, str, dict[Side, Directions]]]:
    """Name, layout and the directions of every side, stage by stage."""
    found = [activation_matrices(net, images, layout=layout) for net, images in sides.values()]
    for stage in zip(*found, strict=True):
        name, arranged, _ = stage[0]
        directions = [principal_directions(matrix) for _, _, matrix in stage]
        yield name, arranged, dict(zip(sides, directions, strict=True))


def _compared(
    first: Directions, second: Directions, ladder: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    features = len(first.vectors)
    for k in ladder:
        if k > features:
            continue
        about = {"k": k, "features": features, "rank": min(first.rank, second.rank)}
        value = _similarity(first, second, k)
        yield {"statistic": "subspace_similarity", "value": value, **about}
        yield {"statistic": "chance", "value": k / features, **about}
