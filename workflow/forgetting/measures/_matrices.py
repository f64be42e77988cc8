"""Matrices of samples x features as measures compare them: in float64, centred, multiplied."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


def double(matrix: Tensor | ArrayLike) -> Tensor:
    """Return a matrix (n, p), numpy or torch, of any real type, as a float64 tensor.

    Raises:
        ValueError: It does not have two axes, or is empty.
    """
    values = matrix.detach() if isinstance(matrix, Tensor) else torch.as_tensor(matrix)
    if values.dim() != 2 or 0 in values.shape:
        raise ValueError(f"expected samples x features, got the shape {tuple(values.shape)}")
    return values.to(torch.float64)


def resolution(matrix: Tensor | ArrayLike) -> float:
    """Return eps of the type that a matrix comes in, float64's where it is not floating point."""
    dtype = matrix.dtype if isinstance(matrix, Tensor) else torch.as_tensor(matrix).dtype
    return torch.finfo(dtype).eps if dtype.is_floating_point else EPS


def centred(matrix: Tensor) -> Tensor:
    """Return a matrix (n, p) less the mean of each feature.

    What rounding leaves of a constant feature, such as a unit that is dead, is set to zero.
    """
    rest = matrix - matrix.mean(0)
    peaks, left = (torch.linalg.vector_norm(each, torch.inf, dim=0) for each in (matrix, rest))
    rest[:, left <= len(matrix) * EPS * peaks] = 0
    return rest


def scaled(matrix: Tensor) -> Tensor:
    """Return a matrix divided by its largest entry, so that fourth powers stay in range."""
    peak = torch.linalg.vector_norm(matrix, torch.inf)
    return matrix / torch.where(peak > 0, peak, 1.0)


def products(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Return ||X^T Y||_F^2, ||X^T X||_F^2 and ||Y^T Y||_F^2 of X (n, p) and Y (n, q).

    Either from these products, with n (p q + p^2 + q^2) multiplications, or as <K, L>_F,
    ||K||_F^2 and ||L||_F^2 with K = X X^T and L = Y Y^T, with n^2 (p + q): whatever is less.
    """
    n, p, q = len(x), x.shape[1], y.shape[1]
    if p * q + p * p + q * q <= n * (p + q):
        found = [(a.mT @ b).square().sum() for a, b in ((x, y), (x, x), (y, y))]
    else:
        k, other = x @ x.mT, y @ y.mT
        found = [(a * b).sum() for a, b in ((k, other), (k, k), (other, other))]
    first, second, third = torch.stack(found).tolist()
    return first, second, third
