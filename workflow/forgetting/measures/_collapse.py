"""The four statistics of neural collapse and their relatives, from features by the part.

Definitions are in ``neural_collapse``. Features (n, d) may be of any real type; they are made
float64 a part at a time, so that those of 60,000 images need no second copy.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from forgetting.measures._matrices import EPS

CHUNK = 8192


class Means(NamedTuple):
    """Means of features by class, in float64; NaN where a class is absent."""

    classes: Tensor
    """(C, d)."""
    overall: Tensor
    """(d,): over samples."""

    @property
    def between(self) -> Tensor:
        """M transposed, (C, d)."""
        return self.classes - self.overall


def means_of(features: Tensor, labels: Tensor, classes: int) -> Means:
    """Return the means of features (n, d) with labels (n,) from 0 to C - 1."""
    sums = features.new_zeros((classes, features.shape[1]), dtype=torch.float64)
    counts = sums.new_zeros(classes)
    for part, own in _parts(features, labels):
        # Products, since adding by index is not reproducible on a GPU.
        members = functional.one_hot(own, classes).to(torch.float64)
        sums += members.mT @ part
        counts += members.sum(0)
    return Means(sums / counts[:, None], sums.sum(0) / len(labels))


def within_over_between(features: Tensor, labels: Tensor, means: Means) -> float:
    """Return Tr(Sigma_W Sigma_B^+) / C; NaN where the means coincide or are not finite."""
    between = means.between
    # Means that are equal differ by the rounding of their sums.
    rounding = len(features) * EPS * means.classes.abs().max()
    if not bool(between.isfinite().all() & (between.abs().max() > rounding)):
        return torch.nan
    # Squared singular values of M are the eigenvalues of Sigma_B, but for a factor. On the CPU,
    # which is faster at it than a GPU.
    cutoff = (features.shape[1] * EPS) ** 0.5
    inverse = torch.linalg.pinv(between.cpu(), rtol=cutoff).to(between.device)
    total = between.new_zeros(())
    for part, own in _parts(features, labels):
        total += ((part - means.classes[own]) @ inverse).square().sum()
    return total.item() / len(features)


def from_simplex(product: Tensor) -> float:
    """Return the distance of a matrix (C, C) from a simplex's Gram matrix, both of length 1."""
    classes = len(product)
    simplex = (torch.eye(classes).to(product) - 1 / classes) / (classes - 1) ** 0.5
    scaled = product / torch.linalg.matrix_norm(product)
    return torch.linalg.matrix_norm(scaled - simplex).item()


def nearest_agrees(features: Tensor, predicted: Tensor, means: Means) -> float:
    """Return the share of samples whose class ``predicted`` is that of the nearest mean."""
    between = means.between
    if not bool(between.isfinite().all()):
        return torch.nan
    lengths = between.square().sum(1)
    hits = torch.zeros((), dtype=torch.int64, device=features.device)
    for part, chosen in _parts(features, predicted):
        # Squared distances less what they have in common, ||h - mu_G||^2.
        distances = lengths - 2 * (part - means.overall) @ between.mT
        hits += (distances.argmin(1) == chosen).sum()
    return hits.item() / len(features)


def angles(vectors: Tensor) -> dict[str, float]:
    """Return how unlike the lengths and the angles of C vectors, (C, d), are."""
    classes = len(vectors)
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    units = vectors / lengths[:, None]
    first, second = torch.triu_indices(classes, classes, 1)
    cosines = (units @ units.mT)[first, second]
    return {
        "equinorm": (lengths.var().sqrt() / lengths.mean()).item(),
        "equiangle": cosines.var(correction=0).sqrt().item(),
        "max_angle": (cosines + 1 / max(classes - 1, 1)).abs().mean().item(),
    }


def _parts(features: Tensor, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features in float64, a part at a time, with what belongs to them."""
    for part, own in zip(features.split(CHUNK), numbers.split(CHUNK), strict=True):
        yield part.to(torch.float64), own
