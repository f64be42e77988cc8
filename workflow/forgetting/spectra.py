"""Spectra known by nodes and weights: counts, densities, and what smoothing does to them.

A spectrum of order P is a list of values with weights that add up to 1: Ritz values and weights
of stochastic Lanczos quadrature, or all eigenvalues with weights 1 / P.

The epsilon-rank, the number of eigenvalues of magnitude above epsilon, is read off the weights
(``epsilon_rank``). Prakash et al. (2025, arXiv 2509.22335, in their code) read it off a density
smoothed with Gaussians on a linear grid (``epsilon_rank_published``). Both the grid's step and
the kernel's width grow with the largest eigenvalue, so that an epsilon of 0.01 soon lies below
either: the mass at zero is smeared beyond it, or falls on a grid point beyond it, and the
fraction is near 1 or wherever the grid happens to lie, whatever the spectrum.
``estimators_on_known_spectra`` shows that where the truth is known.

Without torch, so that figures can be drawn from it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Density(NamedTuple):
    """A density on a grid."""

    grid: Array
    """(points,), ascending, evenly spaced."""
    values: Array
    """(points,); their sum times the spacing is 1."""


def ritz(alphas: Any, betas: Any) -> tuple[Array, Array]:
    """Return eigenvalues of a tridiagonal matrix, ascending, and squared first entries of vectors.

    Args:
        alphas: (k,), the diagonal, numpy or torch.
        betas: (k - 1,) or longer, beside it.

    Returns:
        values (k,) and weights (k,), which add up to 1; NaN where an entry is not finite.
    """
    diagonal = _vector(alphas)
    beside = _vector(betas)[: max(len(diagonal) - 1, 0)]
    if not (np.isfinite(diagonal).all() and np.isfinite(beside).all()):
        return np.full(len(diagonal), np.nan), np.full(len(diagonal), np.nan)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return values, vectors[0] ** 2


def epsilon_rank(values: Any, weights: Any, dim: int, eps: float) -> float:
    """Number of eigenvalues with |lambda| > eps: dim times the weights of such values.

    Args:
        values: (k,), numpy or torch.
        weights: (k,), of sum 1.
        dim: Order of the matrix, P.
        eps: Strictly larger magnitudes count.

    Returns:
        Between 0 and dim, not a whole number in general; NaN where a value or weight is NaN.
    """
    nodes, mass = _vector(values), _vector(weights)
    if np.isnan(nodes).any() or np.isnan(mass).any():
        return float("nan")
    return float(dim * mass[np.abs(nodes) > eps].sum())


def smoothed_density(
    values: Any,
    weights: Any,
    *,
    points: int = 10_000,
    margin: float = 0.01,
    variance: float = 1e-5,
) -> Density:
    """Density of a spectrum smoothed with Gaussians, as published (see the module).

    Args:
        values: (k,), numpy or torch.
        weights: (k,), of sum 1.
        points: Of the linear grid.
        margin: By how much the grid goes beyond the smallest and the largest value.
        variance: Of the kernel, over max(1, extent of the grid).

    Returns:
        The density, scaled so that its sum times the grid's spacing is 1; NaN where a value is.
    """
    nodes, mass = _vector(values), _vector(weights)
    grid = np.linspace(nodes.min() - margin, nodes.max() + margin, points)
    width = np.sqrt(variance * max(1.0, grid[-1] - grid[0]))
    density = np.zeros(points)
    for node, share in zip(nodes, mass, strict=True):
        density += share * np.exp(-(((grid - node) / width) ** 2) / 2)
    return Density(grid, density / (density.sum() * (grid[1] - grid[0])))


def mass_outside(density: Density, eps: float) -> float:
    """Integral of a density over |x| > eps as published: the trapezoid rule on what is left.

    The points within eps are dropped from the arrays, so the rule bridges the gap with the two
    values at its edges. Can exceed 1; NaN where the density is.
    """
    if np.isnan(density.values).any():
        return float("nan")
    left = np.abs(density.grid) > eps
    return float(np.trapezoid(density.values[left], density.grid[left]))


def epsilon_rank_published(values: Any, weights: Any, eps: float) -> float:
    """Fraction of the spectrum with |lambda| > eps by the published, smoothed estimator.

    A fraction, not a count. Depends on the extent of the spectrum more than on its rank: see the
    module.
    """
    return mass_outside(smoothed_density(values, weights), eps)


def jacobi(values: ArrayLike, start: ArrayLike) -> tuple[Array, Array]:
    """The tridiagonal matrix that exact Lanczos finds for diag(values) from a start vector.

    By Householder reflections of the matrix bordered with the vector, which need no
    reorthogonalisation; O(n^3), for spectra of known values. With repeated values some entries
    beside the diagonal are 0 to rounding.

    Args:
        values: (n,).
        start: (n,), of any length but 0.

    Returns:
        alphas (n,) and betas (n - 1,) >= 0.
    """
    from scipy.linalg import hessenberg

    diagonal, border = _vector(values), _vector(start)
    size = len(diagonal) + 1
    bordered = np.zeros((size, size))
    bordered[0, 1:] = bordered[1:, 0] = border
    bordered[np.arange(1, size), np.arange(1, size)] = diagonal
    reduced = hessenberg(bordered, overwrite_a=True, check_finite=False)
    return np.diagonal(reduced)[1:].copy(), np.abs(np.diagonal(reduced, -1)[1:])


def known_spectrum(dim: int, largest: float) -> Array:
    """Eigenvalues (dim,) in the manner of a network's Hessian, for the truth to be known.

    Ten outliers between a tenth of ``largest`` and ``largest``; of the rest six tenths are zero,
    three tenths lie between 1e-5 and 0.3 and one tenth between -1e-5 and -0.03, evenly in the
    logarithm.
    """
    rest = dim - 10
    negative, positive = rest // 10, 3 * rest // 10
    return np.concatenate(
        [
            -np.geomspace(1e-5, 0.03, negative),
            np.zeros(rest - negative - positive),
            np.geomspace(1e-5, 0.3, positive),
            np.geomspace(largest / 10, largest, 10),
        ]
    )


def estimators_on_known_spectra(
    *,
    dim: int = 500,
    largest: Sequence[float] = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
    eps: Sequence[float] = (0.01, 0.03),
    steps: int = 100,
    probes: int = 3,
) -> pd.DataFrame:
    """The epsilon-rank of known spectra by either estimator, as their outliers move away.

    All but ten eigenvalues stay where they are, so the truth does not change.

    Returns:
        Columns largest, eps, estimator (``true``; ``quadrature`` and ``published``, both from
        the same Ritz values; ``smoothed eigenvalues``: as published, with every eigenvalue in
        place of Ritz values, so that smoothing alone is to blame), probe (-1 where none is
        involved), fraction (of dim).
    """
    rows: list[dict[str, Any]] = []

    def add(estimator: str, probe: int, of: Array, weights: Array) -> None:
        smoothed = smoothed_density(of, weights) if estimator != "quadrature" else None
        for each in eps:
            fraction = (
                mass_outside(smoothed, each) if smoothed else epsilon_rank(of, weights, 1, each)
            )
            about = {"largest": top, "eps": each, "estimator": estimator, "probe": probe}
            rows.append({**about, "fraction": fraction})

    for top in largest:
        spectrum = known_spectrum(dim, top)
        for each in eps:
            fraction = float(np.mean(np.abs(spectrum) > each))
            about = {"largest": top, "eps": each, "estimator": "true", "probe": -1}
            rows.append({**about, "fraction": fraction})
        add("smoothed eigenvalues", -1, spectrum, np.full(dim, 1 / dim))
        for probe in range(probes):
            start = np.random.default_rng(probe).standard_normal(dim)
            alphas, betas = jacobi(spectrum, start)
            nodes, weights = ritz(alphas[:steps], betas)
            add("quadrature", probe, nodes, weights)
            add("published", probe, nodes, weights)
    return pd.DataFrame(rows).astype({"largest": "float64", "eps": "float64"})


def _vector(values: Any) -> Array:
    array = np.asarray(
        values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float64
    )
    if array.ndim != 1:
        raise ValueError(f"expected a vector, got the shape {array.shape}")
    return array
