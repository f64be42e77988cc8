"""Lanczos' method against known spectra: random, spread, clustered, degenerate, exhausted."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from forgetting.lanczos import krylov, lanczos, top_eigenvectors
from forgetting.spectra import epsilon_rank, jacobi, ritz


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(dim: int, seed: int = 0) -> Tensor:
    """The start vector that a generator of this seed gives."""
    vector = torch.randn(dim, generator=generator(seed), dtype=torch.float64)
    return vector / vector.norm()


def rotated(eigenvalues: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix of these eigenvalues, and its eigenvectors as columns."""
    dim = len(eigenvalues)
    gaussian = torch.randn(dim, dim, generator=generator(99), dtype=torch.float64)
    vectors = torch.linalg.qr(gaussian).Q
    return vectors * eigenvalues @ vectors.mT, vectors


def outliers(dim: int = 300) -> Tensor:
    """A few eigenvalues far above a bulk on both sides of zero."""
    bulk = torch.linspace(-0.02, 0.1, dim - 5, dtype=torch.float64)
    return torch.cat([bulk, torch.tensor([3.0, 7.0, 20.0, 60.0, 100.0], dtype=torch.float64)])


def test_all_steps_give_all_eigenvalues_and_their_share_of_the_start_vector() -> None:
    eigenvalues = torch.linspace(-2, 3, 40, dtype=torch.float64)
    matrix, vectors = rotated(eigenvalues)
    values, weights = ritz(*lanczos(lambda v: matrix @ v, 40, 40, generator(3)))
    np.testing.assert_allclose(values, eigenvalues, atol=1e-12)
    np.testing.assert_allclose(weights, (vectors.mT @ start(40, 3)) ** 2, atol=1e-12)


def test_a_few_steps_are_gauss_quadrature() -> None:
    """Moments v^T H^k v up to k = 2 m - 1, and no further."""
    matrix, _ = rotated(torch.linspace(-1, 1, 50, dtype=torch.float64))
    values, weights = ritz(*lanczos(lambda v: matrix @ v, 50, 5, generator()))
    vector, power = start(50), start(50)
    for k in range(11):
        moment, exact = float((weights * values**k).sum()), float(vector @ power)
        assert (abs(moment - exact) < 1e-14) == (k < 10)
        power = matrix @ power


def test_equals_householder_reflections_of_the_bordered_matrix() -> None:
    spectrum = outliers(200)
    alphas, betas = lanczos(lambda v: spectrum * v, 200, 60, generator(1))
    expected = jacobi(spectrum.numpy(), start(200, 1).numpy())
    np.testing.assert_allclose(alphas, expected[0][:60], atol=1e-10)
    np.testing.assert_allclose(betas, expected[1][:59], atol=1e-10)


def without_reorthogonalisation(spectrum: Tensor, steps: int) -> tuple[list[float], list[float]]:
    """The three-term recurrence as it stands in textbooks."""
    vector, before = start(len(spectrum)), torch.zeros_like(spectrum)
    alphas, betas = [], [0.0]
    for _ in range(steps):
        rest = spectrum * vector - betas[-1] * before
        alphas.append(float(rest @ vector))
        rest = rest - alphas[-1] * vector
        betas.append(float(rest.norm()))
        vector, before = rest / betas[-1], vector
    return alphas, betas[1:-1]


def test_outliers_are_found_once() -> None:
    spectrum = outliers()

    def copies(values: np.ndarray) -> int:
        return int((np.abs(values - 100) < 1e-6).sum())

    assert copies(ritz(*lanczos(lambda v: spectrum * v, 300, 100, generator()))[0]) == 1
    assert copies(ritz(*without_reorthogonalisation(spectrum, 100))[0]) > 1


@pytest.mark.parametrize("basis", [torch.float64, torch.float32])
@pytest.mark.parametrize("products", [torch.float64, torch.float32])
def test_the_basis_is_orthonormal_and_gives_t(basis: torch.dtype, products: torch.dtype) -> None:
    spectrum = outliers()
    found = krylov(
        lambda v: spectrum.to(products) * v.to(products), 300, 120, generator(), basis=basis
    )
    assert found.basis.shape == (120, 300)
    rows = found.basis.double()
    coarse = torch.float32 in (basis, products)
    gram = rows @ rows.mT
    eps = 1e-6 if basis == torch.float32 else 1e-14
    torch.testing.assert_close(gram, torch.eye(120, dtype=torch.float64), atol=eps, rtol=0)
    tridiagonal = found.alphas.diag() + found.betas.diag(1) + found.betas.diag(-1)
    projected = rows * spectrum @ rows.mT
    torch.testing.assert_close(projected, tridiagonal, atol=3e-4 if coarse else 1e-11, rtol=0)
    values, weights = ritz(found.alphas, found.betas)
    assert values[-1] == pytest.approx(100, rel=1e-6)
    # Each outlier's weight is its share of the start vector.
    np.testing.assert_allclose(weights[-5:], start(300)[-5:] ** 2, rtol=1e-5)


@pytest.mark.parametrize("products", [torch.float64, torch.float32])
def test_degenerate_eigenvalues_exhaust_the_space(products: torch.dtype) -> None:
    """Three distinct eigenvalues: three steps, whose weights are shares of the eigenspaces."""
    spectrum = torch.cat([torch.full((n,), x) for n, x in ((30, 0.0), (15, 0.5), (5, 4.0))])
    shares = [float(part.square().sum()) for part in start(50).split([30, 15, 5])]
    values, weights = ritz(
        *lanczos(lambda v: spectrum.to(products) * v.to(products), 50, 20, generator())
    )
    if products == torch.float64:
        assert len(values) == 3
        np.testing.assert_allclose(values, [0, 0.5, 4], atol=1e-14)
    # In single precision what rounding leaves may go on; it must not weigh anything.
    for value, share in zip((0, 0.5, 4), shares, strict=True):
        close = np.abs(values - value) < 1e-5
        assert weights[close].sum() == pytest.approx(share, abs=1e-6)
    assert weights.sum() == pytest.approx(1)


def test_degenerate_eigenvalues_of_a_dense_matrix_exhaust_the_space_too() -> None:
    matrix, _ = rotated(torch.tensor([0.0] * 100 + [1.0] * 20 + [9.0], dtype=torch.float64))
    alphas, betas = lanczos(lambda v: matrix @ v, 121, 50, generator())
    assert len(alphas) == 3
    assert len(betas) == 2


def test_identity_and_zero_end_after_one_step() -> None:
    for factor in (1.0, 0.0, -3.0):
        alphas, betas = lanczos(lambda v, f=factor: f * v, 1000, 10, generator())
        assert alphas.tolist() == pytest.approx([factor])
        assert len(betas) == 0
    assert ritz(*lanczos(lambda v: 2 * v, 1, 10, generator()))[0].tolist() == pytest.approx([2])


def test_a_shorter_run_is_the_start_of_a_longer_one() -> None:
    spectrum = outliers()
    alphas, betas = lanczos(lambda v: spectrum * v, 300, 40, generator())
    shorter = lanczos(lambda v: spectrum * v, 300, 20, generator())
    assert torch.equal(shorter[0], alphas[:20])
    assert torch.equal(shorter[1], betas[:19])


def test_every_draw_comes_from_the_generator_that_is_given() -> None:
    spectrum = outliers()
    state = torch.random.get_rng_state()
    mine = generator(5)
    first = lanczos(lambda v: spectrum * v, 300, 10, mine)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first[0], lanczos(lambda v: spectrum * v, 300, 10, generator(5))[0])
    assert not torch.equal(first[0], lanczos(lambda v: spectrum * v, 300, 10, mine)[0])


def test_the_mean_over_start_vectors_is_the_number_of_eigenvalues() -> None:
    """An unbiased count: 12 of 30 above 1/2, within four standard errors; single ones differ."""
    spectrum = torch.cat([torch.linspace(-0.4, 0.4, 18), torch.linspace(-3, -0.6, 12)]).double()
    source = generator(2)
    counts = []
    for _ in range(150):
        values, weights = ritz(*lanczos(lambda v: spectrum * v, 30, 30, source))
        counts.append(epsilon_rank(values, weights, 30, 0.5))
    error = np.std(counts, ddof=1) / math.sqrt(len(counts))
    assert abs(np.mean(counts) - 12) < 4 * error
    assert error < 0.4


def test_single_precision_products_are_enough() -> None:
    spectrum = outliers()
    double = ritz(*lanczos(lambda v: spectrum * v, 300, 60, generator()))
    single = ritz(*lanczos(lambda v: spectrum.float() * v.float(), 300, 60, generator()))
    for eps in (0.03, 0.07, 1.0):
        exact = epsilon_rank(*double, 300, eps)
        assert epsilon_rank(*single, 300, eps) == pytest.approx(exact, abs=2)


def test_what_is_not_finite_ends_it() -> None:
    alphas, betas = lanczos(lambda v: v * math.nan, 10, 5, generator())
    assert len(alphas) == 1
    assert len(betas) == 0
    values, weights = ritz(alphas, betas)
    assert math.isnan(values[0])
    assert math.isnan(epsilon_rank(values, weights, 10, 0.1))


def test_the_operator_may_return_what_it_was_given() -> None:
    kept = torch.ones(6, dtype=torch.float64)
    lanczos(lambda v: kept, 6, 3, generator())
    assert torch.equal(kept, torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize(("dim", "steps"), [(0, 3), (3, 0)])
def test_no_steps_and_no_entries_are_refused(dim: int, steps: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        lanczos(lambda v: v, dim, steps, generator())


def test_top_eigenvectors() -> None:
    eigenvalues = torch.cat([torch.linspace(-9, 1, 58), torch.tensor([5.0, 7.0])]).double()
    matrix, vectors = rotated(eigenvalues)
    found = krylov(lambda v: matrix @ v, 60, 45, generator())
    top = top_eigenvectors(found, 2)
    assert top.shape == (2, 60)
    for vector, value, exact in zip(top, (7.0, 5.0), vectors.mT[[-1, -2]], strict=True):
        torch.testing.assert_close(matrix @ vector, value * vector, atol=1e-8, rtol=0)
        assert abs(float(vector @ exact)) == pytest.approx(1)
        assert vector[vector.abs().argmax()] > 0
    with pytest.raises(ValueError, match="46 eigenvectors"):
        top_eigenvectors(found, 46)
