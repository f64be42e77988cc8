"""Counts and densities of spectra; the published estimator where the truth is known."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from forgetting import spectra
from forgetting.spectra import (
    Density,
    epsilon_rank,
    epsilon_rank_published,
    estimators_on_known_spectra,
    jacobi,
    known_spectrum,
    mass_outside,
    ritz,
    smoothed_density,
)


def test_ritz_of_two_by_two() -> None:
    for kind in (np.array, torch.tensor):
        values, weights = ritz(kind([2.0, 2.0]), kind([1.0]))
        np.testing.assert_allclose(values, [1, 3])
        np.testing.assert_allclose(weights, [0.5, 0.5])
    values, weights = ritz([0.0, 3.0], [4.0])
    np.testing.assert_allclose(values, [1.5 - math.sqrt(18.25), 1.5 + math.sqrt(18.25)])
    assert weights @ values == pytest.approx(0)  # the mean is alpha_1
    assert weights @ values**2 == pytest.approx(16)  # alpha_1^2 + beta_1^2


def test_epsilon_rank_is_the_weight_of_larger_magnitudes() -> None:
    values, weights = [-2.0, -0.1, 0.0, 0.1, 3.0], [0.1, 0.2, 0.4, 0.2, 0.1]
    for eps, share in ((5, 0), (2.5, 0.1), (1, 0.2), (0.1, 0.2), (0.05, 0.6), (0, 0.6)):
        assert epsilon_rank(values, weights, 1000, eps) == pytest.approx(1000 * share)
    single = [torch.tensor(x, dtype=torch.float32) for x in (values, weights)]
    assert epsilon_rank(*single, 1000, 1) == pytest.approx(200)
    with pytest.raises(ValueError, match="a vector"):
        epsilon_rank([values], weights, 1000, 1)


@pytest.mark.parametrize("values", [[0.0, 0.3], [-2.0, 5.0, 40.0]])
def test_the_smoothed_density_is_the_published_formula(values: list[float]) -> None:
    weights = np.arange(1, len(values) + 1) / sum(range(1, len(values) + 1))
    grid, density = smoothed_density(values, weights)
    low, high = min(values) - 0.01, max(values) + 0.01
    assert len(grid) == 10_000
    assert (grid[0], grid[-1]) == pytest.approx((low, high))
    variance = 1e-5 * max(1, high - low)
    expected = np.zeros(10_000)
    for value, weight in zip(values, weights, strict=True):
        kernel = np.exp(-((grid - value) ** 2) / (2 * variance))
        expected += weight * kernel / math.sqrt(2 * math.pi * variance)
    expected /= expected.sum() * (high - low) / 9999
    np.testing.assert_allclose(density, expected, rtol=1e-9, atol=1e-12)
    assert np.isnan(smoothed_density([math.nan, 1], [0.5, 0.5]).values).all()
    assert math.isnan(epsilon_rank_published([math.nan, 1], [0.5, 0.5], 0.1))


def test_the_published_estimator_is_right_where_it_resolves_eps() -> None:
    """A narrow spectrum away from eps: kernels of standard deviation 0.004.

    But for the tails of the outermost ones, which lie beyond the grid.
    """
    values, weights = [-0.5, 0.0, 0.4, 1.0], [0.1, 0.6, 0.2, 0.1]
    assert epsilon_rank_published(values, weights, 0.1) == pytest.approx(0.4, abs=1e-3)


def test_below_its_resolution_the_published_estimator_says_one() -> None:
    """The extent of a spectrum of the published code: -160 to 5,911, eps 0.03.

    98 % of the eigenvalues are zero, and all are counted as above eps. With eps 1 the grid does
    see them (and half of the outermost kernels is beyond its ends).
    """
    values, weights = [-160.0, 0.0, 900.0, 5911.0], [0.005, 0.98, 0.01, 0.005]
    grid = smoothed_density(values, weights).grid
    step, width = grid[1] - grid[0], math.sqrt(1e-5 * (grid[-1] - grid[0]))
    assert step == pytest.approx(0.61, abs=0.005)
    assert width == pytest.approx(0.25, abs=0.005)
    assert epsilon_rank(values, weights, 1, 0.03) == pytest.approx(0.02)
    assert not (np.abs(grid) < 0.03).any()
    assert epsilon_rank_published(values, weights, 0.03) == pytest.approx(1, abs=0.01)
    assert 0.01 < epsilon_rank_published(values, weights, 1) < 0.02


def test_the_published_estimator_bridges_what_it_leaves_out() -> None:
    """Two spikes at the edges of the gap: more than all of the spectrum."""
    values, weights = [-0.05, 0.05, 0.06], [0.5, 0.49, 0.01]
    bridged = epsilon_rank_published(values, weights, 0.05)
    density = smoothed_density(values, weights)
    inside = np.abs(density.grid) <= 0.05
    zeroed = np.trapezoid(np.where(inside, 0, density.values), density.grid)
    assert bridged > 5
    assert zeroed == pytest.approx(0.5, abs=0.05)
    flat = Density(np.linspace(-1, 1, 2001), np.full(2001, 0.5))
    assert mass_outside(flat, 0.5) == pytest.approx(1)
    assert mass_outside(flat, 2) == 0


def test_jacobi_has_the_eigenvalues_and_the_shares() -> None:
    spectrum = np.array([-3.0, 0.0, 0.0, 0.5, 2.0, 8.0])
    start = np.array([1.0, 2.0, 2.0, 1.0, 0.5, 0.1])
    values, weights = ritz(*jacobi(spectrum, start))
    shares = start**2 / (start**2).sum()
    np.testing.assert_allclose(values, spectrum, atol=1e-12)
    np.testing.assert_allclose(weights[[0, 3, 4, 5]], shares[[0, 3, 4, 5]], atol=1e-12)
    assert weights[1:3].sum() == pytest.approx(shares[1:3].sum())


def test_the_estimators_where_the_truth_is_known() -> None:
    frame = estimators_on_known_spectra(dim=300, largest=(1, 100, 10_000), steps=60, probes=2)
    assert set(frame.estimator) == {"true", "quadrature", "published", "smoothed eigenvalues"}
    for eps, of_eps in frame.groupby("eps"):
        table = of_eps.pivot_table(index="largest", columns="estimator", values="fraction")
        spectrum = known_spectrum(300, 100)
        assert len(spectrum) == 300
        truth = float(np.mean(np.abs(spectrum) > eps))
        assert (table["true"] == truth).all()
        assert truth < 0.15
        assert (abs(table["quadrature"] - truth) < 0.05).all()
        for estimator in ("published", "smoothed eigenvalues"):
            # The spectrum's extent decides, not the number of its eigenvalues.
            assert abs(table[estimator][1] - truth) < 0.15
            assert table[estimator][100] > 0.7
            assert table[estimator][10_000] > 0.5
    again = estimators_on_known_spectra(dim=300, largest=(1, 100, 10_000), steps=60, probes=2)
    assert frame.equals(again)


def test_figures_can_use_it_without_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import forgetting.spectra"
    home = Path(spectra.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=home)
