"""Effective rank of weights and activations (Roy & Vetterli 2007, "The effective rank").

    erank(A) = exp(-sum_i p_i log p_i),   p_i = sigma_i / sum_j sigma_j

the exponential of the entropy of the singular values, which are taken as they are, not squared:
hence ``sigma`` in the statistic's name. The number depends on what the rows and columns are, on
centring, on the number of samples and on how feature maps become a matrix (the layout), so all
of them stand beside it. The collapse study (Zhu & Jin 2026, arXiv 2603.04580) measures every
layer's weight matrix and the last hidden layer's activations; what it does about convolutions,
centring, samples and layout is not known.

Weights: every layer's matrix as ``forgetting.weights.weight_matrices`` defines it, never centred.
Activations: the output of every stage, the head's logits last, on a fixed probe.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor

from forgetting import probes
from forgetting.activations import activation_matrices
from forgetting.measures._settings import Probe
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages
from forgetting.weights import weight_matrices

if TYPE_CHECKING:
    from forgetting.runs import RunView

BLOCK = 128
"""Rows of a Gram matrix computed at once; of what lies below its diagonal only what is in their
own block. Of the matrix itself twice as many rows are looked at together, to stay in the cache."""
COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "matrix": "str",
    "depth": "int64",
    "rows": "int64",
    "columns": "int64",
    "layout": "str",
}


class Settings(BaseSettings):
    """What is measured, and on what."""

    probe: Probe = Probe()
    """The images that activations are measured on."""
    layout: Literal["pooled", "flattened", "positions"] = "pooled"
    """Feature maps as a matrix: average over positions (images x channels), every position a
    feature (images x channels * positions), or every position a sample (images * positions x
    channels). The last two keep all maps of the probe in memory: images x all units x 4 bytes."""
    centred: bool = False
    """Subtract the mean activation of every feature."""
    matrices: Annotated[tuple[Literal["weight", "activation"], ...], Field(min_length=1)] = (
        "weight",
        "activation",
    )
    """Which kinds of matrix are measured."""


def effective_rank(matrix: Tensor | ArrayLike) -> Any:
    """The effective rank exp(-sum_i p_i log p_i), p_i = sigma_i / sum_j sigma_j, in float64.

    The singular values are the square roots of the eigenvalues of the smaller Gram matrix, with
    eigenvalues below max(m, n) * eps of the largest counted as zero: those are rounding, and
    their roots (1e-8 of the largest singular value each) would add up. What this cannot see is
    a singular value below sqrt(max(m, n) * eps), 7e-7 for 2,000 rows, of the largest; a hundred
    such values carry at most 1e-4 of the mass and 0.2 % of the result, and float32 data holds
    noise of that size anyway. A float64 matrix is scaled by a power of two first, so squares
    neither overflow nor vanish. The Gram matrix is formed where the data are, its eigenvalues on
    the CPU, which is faster at it than a GPU.

    Args:
        matrix: (..., m, n), numpy or torch, of any real type. Axes in front are a batch.

    Returns:
        A float for one matrix, else a float64 array of the batch's shape. Between 1 and the
        rank; 0.0 for a matrix of zeros (or without entries), NaN where an entry is not finite.

    Raises:
        ValueError: Fewer than two axes.
    """
    if not isinstance(matrix, Tensor):
        matrix = torch.from_numpy(np.array(matrix, dtype=np.float64))
    values = matrix.detach()
    if values.dim() < 2:
        raise ValueError(f"a matrix has two axes, this has the shape {tuple(values.shape)}")
    rows, columns = values.shape[-2:]
    batch = values.shape[:-2]
    if 0 in (rows, columns) or 0 in batch:
        ranks = np.zeros(batch)
    else:
        ranks = _entropies(values.reshape(-1, rows, columns)).reshape(batch)
    return ranks if batch else float(ranks)


def _entropies(matrices: Tensor) -> NDArray[np.float64]:
    """Effective ranks of (B, m, n), all finite or not."""
    # One by one: what a single matrix needs on the way stays in the caches.
    gram = torch.stack([_gram(matrix) for matrix in matrices]).cpu()
    finite = gram.diagonal(dim1=1, dim2=2).isfinite().all(1)
    eigenvalues = torch.linalg.eigvalsh(torch.where(finite[:, None, None], gram, 0.0), UPLO="U")
    floor = max(matrices.shape[1:]) * torch.finfo(torch.float64).eps * eigenvalues[:, -1:]
    sigma = torch.where(eigenvalues > floor, eigenvalues, 0.0).sqrt()
    total = sigma.sum(1, keepdim=True)
    share = sigma / torch.where(total > 0, total, 1.0)
    entropy = -torch.special.xlogy(share, share).sum(1)
    # Rounding may leave the bounds by an ulp; for a matrix of zeros the upper one is 0.
    rank = (sigma > 0).sum(1).to(entropy.dtype)
    ranks = entropy.exp().clamp_min(1.0).minimum(rank)
    return torch.where(finite, ranks, torch.nan).numpy()


def _gram(matrix: Tensor) -> Tensor:
    """The smaller Gram matrix of (m, n) in float64, up to a factor; what is below its diagonal
    blocks is left zero.

    Not finite where an entry is not: in that entry's place on the diagonal, too.
    """
    scale = torch.ones((), dtype=torch.float64, device=matrix.device)
    if matrix.dtype == torch.float64:  # squares of all others are in range
        exponent = torch.frexp(torch.linalg.vector_norm(matrix, torch.inf)).exponent
        scale = torch.exp2(-exponent.clamp(-1000, 1000).to(torch.float64))
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mT
    columns = tall.shape[1]
    gram = scale.new_zeros(columns, columns)
    for part in tall.split(2 * BLOCK):
        rows = part.to(torch.float64) * scale
        for start in range(0, columns, BLOCK):
            window = slice(start, start + BLOCK)
            gram[window, start:].addmm_(rows[:, window].mT, rows[:, start:])
    return gram


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Effective ranks at the end of every task (and before the first) for every seed.

    Columns: seed, task, layer, statistic, value, matrix (``weight`` or ``activation``), depth
    (place in the network, from 1), rows, columns, layout. A diverged seed has no rows from the
    task on in which it diverged. ``attrs["probe"]`` describes the probe, if there was one.
    """
    images, about = None, dict[str, Any]()
    if "activation" in settings.matrices:
        split = settings.probe.split
        images, _, indices = run.probe(split, settings.probe.images)
        about = {"probe": probes.describe(split, images, indices)}
    rows = []
    for checkpoint in run.checkpoints:
        if checkpoint.epoch:
            continue
        for index, seed in enumerate(run.seeds):
            if not run.alive(seed, checkpoint.task):
                continue
            network = run.network(index, checkpoint.name)
            for row in _of_network(network, images, settings):
                rows.append({"seed": seed, "task": checkpoint.task, **row})
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame = frame.sort_values(["seed", "task"], kind="stable", ignore_index=True)
    frame.attrs.update(about)
    return frame


def _of_network(
    network: Stages, images: Tensor | None, settings: Settings
) -> Iterator[dict[str, Any]]:
    if "weight" in settings.matrices:
        for depth, (name, matrix) in enumerate(weight_matrices(network).items(), start=1):
            yield _row("weight", name, depth, matrix, layout="outputs_inputs", centred=False)
    if images is not None:
        found = activation_matrices(network, images, layout=settings.layout)
        for depth, (name, layout, matrix) in enumerate(found, start=1):
            centred = settings.centred
            yield _row("activation", name, depth, matrix, layout=layout, centred=centred)


def _row(
    kind: str, layer: str, depth: int, matrix: Tensor, *, layout: str, centred: bool
) -> dict[str, Any]:
    if centred:
        matrix = matrix.to(torch.float64)
        matrix = matrix - matrix.mean(0)
    return {
        "layer": layer,
        "statistic": f"erank_sigma_{'centred' if centred else 'uncentred'}",
        "value": effective_rank(matrix),
        "matrix": kind,
        "depth": depth,
        "rows": matrix.shape[0],
        "columns": matrix.shape[1],
        "layout": layout,
    }
