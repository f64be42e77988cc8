"""Lanczos' method: a symmetric operator's spectrum from a few products with vectors.

From a random unit vector v the method builds an orthonormal basis of span(v, Hv, H^2 v, ...) in
which H is the tridiagonal matrix T of ``alphas`` (diagonal) and ``betas`` (beside it). The
eigenvalues of T (Ritz values) with the squared first entries of its eigenvectors are the nodes
and weights of Gauss quadrature for the measure sum_i (v . u_i)^2 delta(lambda - lambda_i), whose
mean over v is the spectral density of H: stochastic Lanczos quadrature (Golub & Welsch 1969;
Ubaru, Chen & Saad 2017; for Hessians of networks Ghorbani, Krishnan & Xiao 2019, arXiv
1901.10159).

In finite precision the basis loses its orthogonality as soon as a Ritz value converges, and copies
of the largest eigenvalues appear. Hence every new vector is made orthogonal to all earlier ones,
and again where that shortens it, which leaves rounding of the longer one in the shorter (Daniel,
Gragg, Kaufman & Stewart 1976). What the recurrence itself takes away comes first, so that it
seldom does. The recurrence is in float64; products in float32 are good enough, and below what
their precision can tell the method stops.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SHORTER = 0.7
"""What is left of a vector's length when it has to be made orthogonal again."""
Product = Callable[[Tensor], Tensor]
"""v (dim,) float64 to Hv (dim,), of any real type, on any device."""


class Krylov(NamedTuple):
    """A symmetric operator in the basis that Lanczos' method built."""

    alphas: Tensor
    """(k,) float64 on the CPU: the diagonal of T."""
    betas: Tensor
    """(k - 1,) float64 on the CPU: beside the diagonal; positive."""
    basis: Tensor
    """(k, dim), orthonormal rows, the start vector first."""


def lanczos(
    matvec: Product,
    dim: int,
    steps: int,
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
    basis: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Return the tridiagonal matrix of a symmetric operator after some steps of Lanczos' method.

    The leading part of a longer run is the shorter run: ``alphas[:m], betas[:m - 1]``. Fewer steps
    come back where the basis spans an invariant subspace (to the precision of the products); T
    then has nothing to gain. NaN where a product is not finite.

    Memory: steps * dim * 8 bytes for the basis, half with ``basis=torch.float32``, in which its
    vectors are orthogonal to 1e-7 instead of 1e-16.

    Args:
        matvec: The operator: v (dim,) float64 to Hv (dim,).
        dim: Its order.
        steps: Number of products, at most ``dim`` are made.
        generator: Where the start vector, Gaussian and normalised, comes from.
        device: Where the recurrence runs; default the generator's.
        basis: Type in which the basis is kept.

    Returns:
        alphas (k,) and betas (k - 1,), k <= steps, float64 on the CPU.

    Raises:
        ValueError: Fewer than one step, or of an operator without entries.
    """
    found = krylov(matvec, dim, steps, generator, device=device, basis=basis)
    return found.alphas, found.betas


def krylov(
    matvec: Product,
    dim: int,
    steps: int,
    generator: torch.Generator,
    *,
    device: torch.device | None = None,
    basis: torch.dtype = torch.float64,
) -> Krylov:
    """Return T with the basis that belongs to it; arguments and errors are those of ``lanczos``."""
    if dim < 1 or steps < 1:
        raise ValueError(f"Lanczos' method needs dim and steps of at least 1, got {dim}, {steps}")
    vector = torch.randn(dim, generator=generator, dtype=torch.float64, device=generator.device)
    vector = (vector / torch.linalg.vector_norm(vector)).to(device or generator.device)
    steps = min(steps, dim)
    rows = torch.empty(steps, dim, dtype=basis, device=vector.device)
    alphas: list[float] = []
    betas: list[float] = []
    largest = 0.0
    for step in range(steps):
        rows[step] = vector
        vector = rows[step].to(torch.float64)
        product = matvec(vector)
        # What rounding makes of zero: of the products, and of the sums over dim in float64.
        rounding = max(
            torch.finfo(product.dtype).eps,
            10 * math.sqrt(dim) * torch.finfo(torch.float64).eps,
        )
        rest = product.detach().to(vector.device, torch.float64)
        alphas.append(torch.dot(vector, rest).item())
        if step + 1 == steps:
            break
        rest = rest - alphas[-1] * vector
        if step:
            rest.sub_(rows[step - 1].to(torch.float64), alpha=betas[-1])
        beta, shortened = torch.linalg.vector_norm(rest).item(), True
        while shortened:
            rest -= _projection(rows[: step + 1], rest)
            before, beta = beta, torch.linalg.vector_norm(rest).item()
            shortened = rounding * largest < beta < SHORTER * before
        largest = max(largest, abs(alphas[-1]) + beta)
        if not beta > rounding * largest:
            break
        betas.append(beta)
        vector = rest / beta
    alpha, beside = (torch.tensor(each, dtype=torch.float64) for each in (alphas, betas))
    return Krylov(alpha, beside, rows[: len(alphas)])


def top_eigenvectors(found: Krylov, count: int) -> Tensor:
    """Return approximate eigenvectors of the largest eigenvalues, (count, dim), the largest first.

    Of unit length; the sign is such that the entry of largest magnitude is positive.

    Raises:
        ValueError: The basis has fewer vectors.
    """
    if count > len(found.alphas):
        raise ValueError(f"{count} eigenvectors of a basis of {len(found.alphas)} vectors")
    tridiagonal = found.alphas.diag() + found.betas.diag(1) + found.betas.diag(-1)
    coefficients = torch.linalg.eigh(tridiagonal).eigenvectors[:, -count:].flip(1)
    vectors = coefficients.mT.to(found.basis.device, found.basis.dtype) @ found.basis
    peaks = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * peaks.sign()
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


def _projection(rows: Tensor, vector: Tensor) -> Tensor:
    """The part of a float64 vector (dim,) in the span of orthonormal rows (k, dim)."""
    coefficients = torch.mv(rows, vector.to(rows.dtype))
    return torch.mv(rows.mT, coefficients).to(torch.float64)
