"""Slices of the loss against networks moved by hand, and directions against dense Hessians."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from curvature_cases import dense, perceptron, sample
from torch import Tensor, nn

import two_task_runs
from forgetting.errors import UserError
from forgetting.measures import landscape
from forgetting.measures._curvature import flattened, gradient, objective
from forgetting.measures._plane import projector
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


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A multilayer perceptron whose weights were kept in the middle of tasks too."""
    home = tmp_path_factory.mktemp("kept")
    return two_task_runs.trained(
        home, benchmark="growing", architecture="mlp", checkpoint_epochs=[0.5, 1]
    )


def own_loss(run: RunView, index: int, checkpoint: str, of_task: int) -> tuple[float, float]:
    """Loss and accuracy of a checkpoint on 25 test images, outputs masked by hand."""
    inputs, targets, _ = run.probe("test", 25, task=of_task, seed_index=index)
    logits = run.network(index, checkpoint)(inputs)
    if run.benchmark.mask == "seen":
        outputs = run.benchmark.outputs_until(of_task)[index]
        logits = logits.masked_fill(~outputs, -torch.inf)
    hits = (logits.argmax(1) == targets).double().mean()
    return float(nn.functional.cross_entropy(logits, targets)), float(hits)


THREE = landscape.Settings(
    tasks=(1,),
    moments=("init",),
    directions=("checkpoint", "checkpoint"),
    towards=("task-1", "task-2"),
    of_tasks=(1, 2),
    low=-0.5,
    high=1.5,
    points=21,
    split="held_out",
    images=25,
    path=True,
)


def test_the_plane_through_three_checkpoints_holds_their_losses(kept: RunView) -> None:
    frame = landscape.measure(kept, THREE)
    assert list(frame.columns) == [*landscape.COLUMNS, "path_task", "path_epoch"]
    path = frame["statistic"].str.startswith("path")
    assert frame.loc[~path, ["path_task", "path_epoch"]].isna().all(axis=None)
    assert {0.0, 1.0} <= set(frame.loc[~path, "x"]) == set(frame.loc[~path, "y"])
    assert len(frame[~path]) == len(SEEDS) * 2 * 2 * 21**2
    assert len(frame[path]) == len(SEEDS) * 2 * 3 * 7
    corners = {"task-0": (0.0, 0.0), "task-1": (1.0, 0.0), "task-2": (0.0, 1.0)}
    for index, seed in enumerate(SEEDS):
        for of_task in (1, 2):
            mine = rows(frame, seed=seed, of_task=of_task)
            for task, (name, (x, y)) in enumerate(corners.items()):
                expected = own_loss(kept, index, name, of_task)
                at = mine[(mine["x"] == x) & (mine["y"] == y) & mine["path_task"].isna()]
                at = at.set_index("statistic")["value"]
                assert (at["loss"], at["accuracy"]) == pytest.approx(expected, rel=1e-9)
                end = rows(mine, path_task=task, path_epoch=0).set_index("statistic")
                assert end["value"][["path_loss", "path_accuracy"]].tolist() == pytest.approx(
                    list(expected), rel=1e-9
                )
                assert end["value"]["path"] == pytest.approx(0, abs=1e-9)
                assert end.loc["path", ["x", "y"]].tolist() == pytest.approx([x, y], abs=1e-9)


def test_checkpoints_within_tasks_are_projected_by_least_squares(kept: RunView) -> None:
    frame = rows(landscape.measure(kept, THREE), of_task=2)
    for index, seed in enumerate(SEEDS):
        origin = vector_of(kept.network(index, "task-0")).numpy()
        ends = [vector_of(kept.network(index, name)).numpy() for name in ("task-1", "task-2")]
        axes = np.stack([end - origin for end in ends], axis=1)
        for task in (1, 2):
            for epoch in (0.5, 1.0):
                name = f"task-{task}-epoch-{epoch:g}"
                way = vector_of(kept.network(index, name)).numpy() - origin
                steps, *_ = np.linalg.lstsq(axes, way, rcond=None)
                off = np.linalg.norm(way - axes @ steps) / np.linalg.norm(way)
                at = rows(frame, seed=seed, path_task=task, path_epoch=epoch)
                at = at.set_index("statistic")
                assert at.loc["path", ["x", "y"]].tolist() == pytest.approx(list(steps), rel=1e-9)
                assert at["value"]["path"] == pytest.approx(off, rel=1e-9)
                assert 0.01 < off < 1
                assert at["value"][["path_loss", "path_accuracy"]].tolist() == pytest.approx(
                    list(own_loss(kept, index, name, 2)), rel=1e-9
                )


def test_points_made_in_a_plane_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    origin, first, second, other = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    project = projector(origin, [first, 20 * second])
    for x, y in ((0.3, -1.2), (1.0, 0.0), (0.0, 7.0)):
        steps, off = project(origin + x * first + 20 * y * second)
        assert steps == pytest.approx((x, y), abs=1e-12)
        assert off == pytest.approx(0, abs=1e-12)
    assert project(origin) == ((0.0, 0.0), 0.0)
    steps, off = projector(origin, [first])(origin - 2 * first)
    assert steps == pytest.approx((-2.0,))
    upright = other - (other @ first) / (first @ first) * first
    assert projector(origin, [first])(origin + upright)[1] == pytest.approx(1)
    along = projector(origin, [first, 2 * first])
    steps, off = along(origin + first + upright)
    axes = torch.stack([first, 2 * first], dim=1).numpy()
    expected, *_ = np.linalg.lstsq(axes, (first + upright).numpy(), rcond=None)
    assert steps == pytest.approx(tuple(expected))
    assert off == pytest.approx(float(upright.norm() / (first + upright).norm()))


def test_losses_along_the_path_are_the_networks_own(shift: RunView) -> None:
    """With the running statistics that were kept, which the plane does not know."""
    given = landscape.Settings(
        tasks=(2,),
        moments=("end",),
        directions=("gradient",),
        points=2,
        split="held_out",
        images=25,
        seeds=1,
        path=True,
    )
    frame = landscape.measure(shift, given)
    path = rows(frame, statistic="path_loss")
    assert set(frame["y"]) == {0}
    assert path[["path_task", "path_epoch"]].to_numpy().tolist() == [
        [each.task, each.epoch] for each in shift.checkpoints
    ]
    for value, checkpoint in zip(path["value"], shift.checkpoints, strict=True):
        loss, _ = own_loss(shift, 0, checkpoint.name, 2)
        assert value == pytest.approx(loss, rel=1e-9)
    without = landscape.measure(shift, given.model_copy(update={"path": False}))
    grid = frame[frame["path_task"].isna()].drop(columns=["path_task", "path_epoch"])
    pd.testing.assert_frame_equal(without, grid.reset_index(drop=True))


def test_of_a_diverged_seed_the_path_ends_and_no_direction_leads_there(kept: RunView) -> None:
    lost = diverged(kept, SEEDS[1], 2)
    few = THREE.model_copy(update={"points": 2})
    assert set(landscape.measure(lost, few)["seed"]) == {SEEDS[0]}
    given = few.model_copy(update={"directions": ("random",), "towards": ()})
    path = rows(landscape.measure(lost, given), statistic="path", of_task=1)
    tasks = path.groupby("seed")["path_task"].agg(list)
    assert tasks[SEEDS[0]] == [0, 1, 1, 1, 2, 2, 2]
    assert tasks[SEEDS[1]] == [0, 1, 1, 1]


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
