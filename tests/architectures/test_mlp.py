import pytest
import torch
from pydantic import ValidationError

from forgetting.architectures import mlp
from forgetting.weights import weight_matrices


def test_the_default_is_two_layers_of_400() -> None:
    net = mlp.build((1, 28, 28), 10, mlp.Settings(), torch.Generator().manual_seed(0))
    shapes = {name: tuple(matrix.shape) for name, matrix in weight_matrices(net).items()}
    assert shapes == {
        "hidden1.linear": (400, 784),
        "hidden2.linear": (400, 400),
        "head": (10, 400),
    }


@pytest.mark.parametrize(("activation", "low"), [("relu", 0.0), ("tanh", -1.0)])
@torch.no_grad()
def test_outputs_of_hidden_stages_are_after_the_nonlinearity(activation: str, low: float) -> None:
    settings = mlp.Settings(hidden=[20], activation=activation)
    net = mlp.build((1, 4, 4), 3, settings, torch.Generator().manual_seed(0))
    x = 50 * torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    assert net.activations(x)["hidden1"].min().item() == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("hidden", [[], [0], [10, -1]])
def test_widths_must_be_positive(hidden: list[int]) -> None:
    with pytest.raises(ValidationError):
        mlp.Settings(hidden=hidden)
