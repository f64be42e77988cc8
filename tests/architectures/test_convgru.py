"""Both recurrent networks against the equations, written as plainly as they stand."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from forgetting.architectures import bi_convgru, convgru
from forgetting.errors import UserError
from forgetting.stages import Stages
from forgetting.weights import weight_matrices


def images(n: int = 3, rows: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, 2, rows, 6, generator=generator, dtype=torch.float64)


def convolve(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A "same" cross-correlation of maps (C, H, W) with a kernel (O, C, k, k), point by point."""
    _, rows, columns = maps.shape
    margin = kernel.shape[-1] // 2
    padded = np.pad(maps, ((0, 0), (margin, margin), (margin, margin)))
    out = np.zeros((len(kernel), rows, columns))
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, row : row + kernel.shape[2], column : column + kernel.shape[3]]
            for channel in range(len(kernel)):
                out[channel, row, column] = (patch * kernel[channel]).sum()
    return out


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference(sequence: list[np.ndarray], weights: dict[str, np.ndarray], bias: np.ndarray) -> list:
    """The states of one cell for one sample: x and h concatenated, gate by gate, step by step."""
    hidden = len(bias) // 3
    of = dict(zip(("update", "reset", "candidate"), bias.reshape(3, hidden, 1, 1), strict=True))
    state = np.zeros((hidden, *sequence[0].shape[1:]))
    states = []
    for x in sequence:
        joint = np.concatenate([x, state])
        update = sigmoid(convolve(joint, weights["update"]) + of["update"])
        reset = sigmoid(convolve(joint, weights["reset"]) + of["reset"])
        joint = np.concatenate([x, reset * state])
        candidate = np.tanh(convolve(joint, weights["candidate"]) + of["candidate"])
        state = (1 - update) * state + update * candidate
        states.append(state)
    return states


def gates(net: Stages, prefix: str, kernel: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The concatenated kernels (O, I + H, k, k) of a cell, by gate, and its biases."""
    matrices = weight_matrices(net)
    names = ("update", "reset", "candidate")
    weights = {
        name: matrices[f"{prefix}.{name}"]
        .detach()
        .numpy()
        .reshape(len(matrices[f"{prefix}.{name}"]), -1, kernel, kernel)
        for name in names
    }
    return weights, net.state_dict()[f"stages.{prefix}.bias"].numpy()


def randomised(net: Stages) -> Stages:
    """Biases away from zero, so that leaving one out would show."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-1, 1, generator=generator)
    return net


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("sequence", ["strips", "repeat"])
def test_convgru_is_the_published_recurrence(sequence: str, kernel: int) -> None:
    settings = convgru.Settings(channels=3, steps=4, kernel=kernel, sequence=sequence, layers=2)
    net = convgru.build((2, 8, 6), 5, settings, torch.Generator().manual_seed(0))
    net = randomised(net.double())
    outputs = net.activations(images())
    for sample, image in enumerate(images().numpy()):
        strips = [image[:, 2 * t : 2 * t + 2] for t in range(4)]
        steps = strips if sequence == "strips" else [image] * 4
        lower = reference(steps, *gates(net, "gru1.cell", kernel))
        upper = reference(lower, *gates(net, "gru2.cell", kernel))
        ours = outputs["gru1"][sample].detach().numpy()
        np.testing.assert_allclose(ours, np.stack(lower, axis=1), rtol=1e-12, atol=1e-12)
        final = outputs["gru2"][sample].detach().numpy()
        np.testing.assert_allclose(final, upper[-1], rtol=1e-12, atol=1e-12)
        pooled = outputs["features"][sample].detach().numpy()
        np.testing.assert_allclose(pooled, upper[-1].mean((1, 2)), rtol=1e-12, atol=1e-12)


def test_bi_convgru_reads_both_ways_and_fuses() -> None:
    settings = bi_convgru.Settings(channels=3, steps=4, layers=2)
    net = bi_convgru.build((2, 8, 6), 5, settings, torch.Generator().manual_seed(0))
    net = randomised(net.double())
    outputs = net.activations(images())
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}

    def fuse(layer: str, down: np.ndarray, up: np.ndarray) -> np.ndarray:
        weight, bias = (state[f"stages.{layer}.fusion.{part}"] for part in ("weight", "bias"))
        return convolve(np.concatenate([down, up]), weight) + bias[:, None, None]

    for sample, image in enumerate(images().numpy()):
        strips = [image[:, 2 * t : 2 * t + 2] for t in range(4)]
        down = reference(strips, *gates(net, "gru1.forwards", 3))
        up = reference(strips[::-1], *gates(net, "gru1.backwards", 3))[::-1]
        fused = [fuse("gru1", *pair) for pair in zip(down, up, strict=True)]
        ours = outputs["gru1"][sample].detach().numpy()
        np.testing.assert_allclose(ours, np.stack(fused, axis=1), rtol=1e-12, atol=1e-12)
        down = reference(fused, *gates(net, "gru2.forwards", 3))
        up = reference(fused[::-1], *gates(net, "gru2.backwards", 3))
        final = fuse("gru2", down[-1], up[-1])
        ours = outputs["gru2"][sample].detach().numpy()
        np.testing.assert_allclose(ours, final, rtol=1e-12, atol=1e-12)


def test_repetition_convolves_the_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call for the inputs of all steps, then two for each step but the first."""
    settings = convgru.Settings(channels=3, steps=4, sequence="repeat")
    net = convgru.build((2, 8, 6), 5, settings, torch.Generator().manual_seed(0)).double()
    batches = []
    conv2d = functional.conv2d

    def counting(maps: Tensor, *args: object, **kwargs: object) -> Tensor:
        batches.append(len(maps))
        return conv2d(maps, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "conv2d", counting)
    net(images(n=3))
    assert batches == [3] * 7


@pytest.mark.parametrize("module", [convgru, bi_convgru])
def test_initial_gates_have_orthonormal_rows(module: object) -> None:
    settings = module.Settings(channels=8)  # type: ignore[attr-defined]
    net = module.build((3, 8, 8), 5, settings, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    matrices = {n: m for n, m in weight_matrices(net).items() if n.split(".")[-1] != "fusion"}
    del matrices["head"]
    assert matrices
    for matrix in matrices.values():
        assert matrix.shape == (8, (3 + 8) * 9)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), rtol=0, atol=1e-5)
    assert not any(
        tensor.any()
        for name, tensor in net.state_dict().items()
        if name.endswith("bias") and "gru" in name and "fusion" not in name
    )


def test_names_of_weight_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    one = convgru.build((1, 28, 28), 10, convgru.Settings(), generator)
    assert {name: tuple(matrix.shape) for name, matrix in weight_matrices(one).items()} == {
        "gru1.cell.update": (32, 33 * 9),
        "gru1.cell.reset": (32, 33 * 9),
        "gru1.cell.candidate": (32, 33 * 9),
        "head": (10, 32),
    }
    two = bi_convgru.build((3, 32, 32), 100, bi_convgru.Settings(), generator)
    cells = [f"gru1.{way}" for way in ("forwards", "backwards")]
    parts = [f"{cell}.{gate}" for cell in cells for gate in ("update", "reset", "candidate")]
    assert list(weight_matrices(two)) == [*parts, "gru1.fusion", "head"]
    assert weight_matrices(two)["gru1.fusion"].shape == (32, 64)


@pytest.mark.parametrize("module", [convgru, bi_convgru])
@pytest.mark.parametrize(("rows", "steps", "fits"), [(28, 4, True), (28, 5, False), (8, 16, False)])
def test_strips_must_divide_the_image(module: object, rows: int, steps: int, fits: bool) -> None:
    settings = module.Settings(channels=2, steps=steps)  # type: ignore[attr-defined]

    def build() -> Stages:
        return module.build((1, rows, 8), 3, settings, torch.Generator())  # type: ignore[attr-defined]

    if fits:
        assert build()(torch.zeros(1, 1, rows, 8)).shape == (1, 3)
    else:
        with pytest.raises(UserError, match=rf"{rows} rows.*{steps}.*`steps`"):
            build()


def test_reading_both_ways_is_for_strips_only() -> None:
    with pytest.raises(ValidationError):
        bi_convgru.Settings(sequence="repeat")
