"""Slices of the loss against networks moved by hand, and directions against dense Hessians."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from curvature_cases import dense, perceptron, sample
from torch import Tensor, nn

from forgetting.errors import UserError
from forgetting.measures import landscape
from forgetting.measures._curvature import flattened, gradient, objective
from forgetting.measures.landscape import filter_normalised, plane
from forgetting.runs import RunView
from forgetting.stages import Stages
from two_task_runs import SEEDS, diverged


def moved(network: Stages, by: Tensor) -> Stages:
    """The network with its parameters moved by a vector."""
    start = 0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
    return network


def vector_of(network: Stages) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_every_point_is_the_network_moved_there() -> None:
    given = sample(competing=[True, False, True, True])
    of = objective(perceptron(), given, batch_size=5)
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, of.dim, generator=generator, dtype=torch.float64)
    coordinates = torch.tensor([-0.5, 0.0, 0.3], dtype=torch.float64)
    found = plane(of, [first, second], coordinates)
    assert len(found) == 9
    places = [(x, y) for x in coordinates.tolist() for y in coordinates.tolist()]
    for (place, loss, accuracy), (x, y) in zip(found, places, strict=True):
        assert place == (x, y)
        network = moved(perceptron(), x * first + y * second)
        logits = network(given.inputs)[:, given.outputs]
        assert loss == pytest.approx(
            float(nn.functional.cross_entropy(logits, given.targets).detach())
        )
        assert accuracy == pytest.approx(float((logits.argmax(1) == given.targets).double().mean()))
    line = plane(of, [second], coordinates)
    assert [(steps, loss) for steps, loss, _ in line] == [
        ((y,), pytest.approx(loss)) for (x, y), loss, _ in found if x == 0
    ]


def test_filters_of_a_random_direction_are_as_long_as_the_weights() -> None:
    of = objective(perceptron(), sample(), batch_size=9)
    direction = filter_normalised(of, torch.Generator().manual_seed(0))
    for part, parameter in zip(of.unflattened(direction), of.parameters, strict=True):
        if parameter.dim() == 1:
            assert (part == 0).all()
        else:
            torch.testing.assert_close(part.norm(dim=1), parameter.norm(dim=1))
            assert (part - parameter).abs().min() > 0
    other = filter_normalised(of, torch.Generator().manual_seed(1))
    assert abs(float(direction @ other / direction.norm() / other.norm())) < 0.5


def rows(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def test_between_two_moments_of_a_run(growing: RunView) -> None:
    """At 0 and 1 the losses of either task with the weights that were kept."""
    given = landscape.Settings(
        tasks=(1,),
        moments=("end",),
        directions=("checkpoint",),
        towards=("task-2",),
        of_tasks=(1, 2),
        low=0,
        high=1,
        points=3,
        split="held_out",
        images=25,
    )
    frame = landscape.measure(growing, given)
    assert list(frame.columns) == list(landscape.COLUMNS)
    assert set(frame.direction_x) == {"checkpoint task-2"}
    assert set(frame.direction_y) == {""}
    assert set(frame.y) == {0}
    assert len(frame) == len(SEEDS) * 2 * 3 * 2
    for index, seed in enumerate(SEEDS):
        ends = [growing.network(index, name) for name in ("task-1", "task-2")]
        half = (vector_of(ends[1]) - vector_of(ends[0])) / 2
        middle = moved(growing.network(index, "task-1"), half)
        for of_task in (1, 2):
            inputs, targets, _ = growing.probe("test", 25, task=of_task, seed_index=index)
            outputs = growing.benchmark.outputs_until(of_task)[index]
            for x, network in ((0, ends[0]), (0.5, middle), (1, ends[1])):
                logits = network(inputs).masked_fill(~outputs, -torch.inf)
                at = rows(frame, seed=seed, of_task=of_task, x=x).set_index("statistic").value
                expected = float(nn.functional.cross_entropy(logits, targets))
                assert at["loss"] == pytest.approx(expected, rel=1e-9)
                assert at["accuracy"] == pytest.approx(
                    float((logits.argmax(1) == targets).double().mean())
                )


def curvature(frame: pd.DataFrame, axis: str) -> float:
    """Second difference of the loss along an axis."""
    loss = rows(frame, statistic="loss", **{"y" if axis == "x" else "x": 0}).sort_values(axis)
    step = loss[axis].iloc[-1]
    low, middle, high = loss.value
    return (low - 2 * middle + high) / step**2


def test_eigenvectors_and_gradient_of_a_run(growing: RunView) -> None:
    """Along the top eigenvectors the loss bends as the two largest eigenvalues say.

    In steps so small that no unit changes sides; rounding leaves four digits.
    """
    about = {"tasks": (2,), "images": 30, "seeds": 1, "points": 3, "steps": 120}
    network = growing.network(0, "task-1")
    inputs, targets, _ = growing.probe("train", 30, task=2, seed_index=0)
    given = sample()._replace(inputs=inputs, targets=targets, outputs=None)
    exact = torch.linalg.eigvalsh(dense(network, given))
    bent = landscape.measure(
        growing,
        landscape.Settings(
            directions=("eigenvector", "eigenvector"), low=-1e-6, high=1e-6, **about
        ),
    )
    assert curvature(bent, "x") == pytest.approx(float(exact[-1]), rel=2e-3)
    assert curvature(bent, "y") == pytest.approx(float(exact[-2]), rel=2e-3)
    uphill = landscape.measure(
        growing,
        landscape.Settings(directions=("gradient", "random"), low=-1e-5, high=1e-5, **about),
    )
    slope = gradient(objective(network, given, batch_size=30))
    line = rows(uphill, statistic="loss", y=0).sort_values("x").value.to_numpy()
    assert (line[2] - line[0]) / 2e-5 == pytest.approx(float(slope.norm()), rel=1e-6)
    assert np.allclose(flattened([p.detach() for p in network.parameters()]), vector_of(network))


def test_random_directions_belong_to_a_seed(growing: RunView) -> None:
    about = {"images": 10, "points": 2, "moments": ("init", "end")}
    every = landscape.measure(growing, landscape.Settings(**about))
    again = landscape.measure(growing, landscape.Settings(**about, tasks=(2,), seeds=1))
    same = rows(every, task=2, seed=SEEDS[0]).reset_index(drop=True)
    pd.testing.assert_frame_equal(same, again)
    corner = rows(every, task=2, moment="init", statistic="loss", x=1, y=1)
    assert corner.value.nunique() == len(SEEDS)
    assert not math.isclose(*rows(again, moment="end", statistic="loss", x=1).value)
    lost = landscape.measure(diverged(growing, SEEDS[1], 1), landscape.Settings(**about))
    assert set(rows(lost, seed=SEEDS[1]).moment) == {"init"}


@pytest.mark.parametrize(
    ("directions", "towards"),
    [(("checkpoint",), ()), (("checkpoint",), ("task-9",)), (("random",), ("task-2",))],
)
def test_checkpoints_are_named_for_their_directions(
    growing: RunView, directions: tuple[str, ...], towards: tuple[str, ...]
) -> None:
    given = landscape.Settings(directions=directions, towards=towards)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"settings\.towards: give \d checkpoint"):
        landscape.measure(growing, given)
