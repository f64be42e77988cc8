"""Products with the Hessian of a perceptron are those of the gradient's graph."""

import pytest
import torch
from curvature_cases import perceptron, sample

from forgetting.architectures import mlp
from forgetting.measures import _curvature
from forgetting.measures._moments import CROSS_ENTROPY


@pytest.mark.parametrize("competing", [None, [True, False, True, True]])
@pytest.mark.parametrize("hidden", [(5,), (8, 7), (6, 5, 4)])
def test_it_is_the_product_by_the_graph(hidden, competing):
    of = _curvature.objective(perceptron(hidden), sample(competing=competing), batch_size=10)
    written, graph = _curvature.hessian_product(of), _curvature.product_by_graph(of)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        vector = torch.randn(of.dim, generator=generator, dtype=torch.float64)
        expected = graph(vector)
        assert expected.norm() > 1e-3
        torch.testing.assert_close(written(vector), expected, rtol=1e-10, atol=1e-13)


def test_the_cross_entropy_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(_curvature, "product_by_graph", None)
    named = sample()._replace(loss=CROSS_ENTROPY)
    for given in (sample(), named):
        of = _curvature.objective(perceptron(), given, batch_size=10)
        assert _curvature.hessian_product(of)(torch.ones(of.dim)).isfinite().all()


def test_others_go_by_the_graph(monkeypatch):
    monkeypatch.setattr(_curvature._perceptron_curvature, "hessian_product", None)
    settings = mlp.Settings(hidden=(5,), activation="tanh")
    network = mlp.build((1, 1, 6), 4, settings, torch.Generator().manual_seed(0)).double()
    other = sample()._replace(loss=lambda logits, targets: logits.square().sum())
    for of in (
        _curvature.objective(network, sample(), batch_size=10),
        _curvature.objective(perceptron(), other, batch_size=10),
    ):
        assert _curvature.hessian_product(of)(torch.ones(of.dim)).isfinite().all()
