"""Definitions of dead units on activations made by hand; the rank bound on dense Hessians."""

import math

import numpy as np
import pytest
import torch
from curvature_cases import dense, parameters_of, perceptron, sample
from torch import Tensor, nn
from torch.func import functional_call, hessian

from forgetting.architectures import resnet18
from forgetting.measures import dead_units as measure
from forgetting.measures.dead_units import (
    Activity,
    activities,
    dead_units,
    definitions,
    fully_connected,
    rank_bound,
)
from forgetting.runs import RunView
from forgetting.stages import Stages
from two_task_runs import SEEDS, diverged

LOOKED_AT = ((1, "init", "task-0"), (1, "end", "task-1"), (2, "init", "task-1"))


def test_dead_is_exactly_zero_on_the_whole_sample() -> None:
    values = np.zeros((5, 4))
    values[2, 1] = 1e-300
    values[:, 3] = [0, 0, -1, 1, 0]
    assert dead_units(values) == 2
    assert dead_units(torch.from_numpy(values)) == 2
    assert dead_units(np.zeros((3, 7))) == 7
    assert dead_units(np.full((3, 2), math.nan)) == 0
    for wrong in (np.zeros(3), np.zeros((0, 3))):
        with pytest.raises(ValueError, match="samples, units"):
            dead_units(wrong)


def test_a_channel_is_dead_where_all_positions_are() -> None:
    maps = np.zeros((2, 3, 4, 5))
    maps[1, 0, 3, 4] = 2
    maps[0, 2] = 1
    assert dead_units(maps) == 1


class Fixed(nn.Module):
    """Puts out what it was given, scaled by a parameter that is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.one


def activity(values: Tensor) -> Activity:
    """What a hidden stage does whose outputs are these."""
    network = Stages({"hidden": Fixed(), "head": nn.Flatten()})
    return activities(network, values)["hidden"]


def test_the_four_definitions_draw_the_line_in_four_places() -> None:
    """Of 200 samples active on 0, 1 (0.5 %), 2 (1 %), 9 (4.5 %), 10 (5 %) and 200."""
    values = torch.zeros(200, 6, dtype=torch.float64)
    for unit, samples in enumerate((0, 1, 2, 9, 10, 200)):
        values[:samples, unit] = 1
    values[0, 1] = 40
    found = definitions(activity(values), redo_threshold=0.1)
    assert found["exact_zero"].tolist() == [True, False, False, False, False, False]
    assert found["active_below_1_percent"].tolist() == [True, True, False, False, False, False]
    assert found["zero_above_95_percent"].tolist() == [True, True, True, True, False, False]
    # Mean magnitudes over their own mean: sums 0, 40, 2, 9, 10, 200, whose mean is 43.5.
    scores = np.array([0, 40, 2, 9, 10, 200]) / 43.5
    for threshold in (0.0, 0.1, 9 / 43.5, 0.95, 5.0):
        masks = definitions(activity(values), redo_threshold=threshold)
        np.testing.assert_array_equal(masks["redo_score"], scores <= threshold + 1e-12)


def test_negative_outputs_are_no_zeros_and_a_silent_layer_is_dead_by_all_four() -> None:
    values = torch.zeros(10, 2, dtype=torch.float64)
    values[:, 1] = -3
    found = definitions(activity(values))
    assert all(mask.tolist() == [True, False] for mask in found.values())
    silent = definitions(activity(torch.zeros(10, 3, dtype=torch.float64)), redo_threshold=0)
    assert all(mask.all() for mask in silent.values())


def test_shares_of_a_channel_are_over_images_and_positions() -> None:
    maps = torch.zeros(100, 2, 3, 3, dtype=torch.float64)  # in two batches
    maps[:9, 0, 0, 0] = 2
    maps[:90, 1] = 1
    found = activity(maps)
    assert found.active.tolist() == pytest.approx([9 / 900, 0.9])
    assert found.magnitude.tolist() == pytest.approx([18 / 900, 0.9])


def test_hidden_stages_with_parameters_count() -> None:
    network = resnet18.build(
        (1, 8, 8), 3, resnet18.Settings(width=2), torch.Generator().manual_seed(0)
    )
    images = torch.randn(70, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = activities(network, images)
    assert list(found) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    outputs = network.eval().activations(images)
    for name, of_stage in found.items():
        mean = outputs[name].double().abs().mean((0, 2, 3))
        torch.testing.assert_close(of_stage.magnitude, mean.detach(), rtol=1e-5, atol=1e-8)
        assert int((of_stage.active == 0).sum()) == dead_units(outputs[name])


# ---------------------------------------------------------------- the rank bound


def with_dead(network: Stages, dead: dict[str, int]) -> Stages:
    """The first units of these stages never fire."""
    with torch.no_grad():
        for stage, count in dead.items():
            network.get_parameter(f"stages.{stage}.linear.bias")[:count] = -1000
    return network


def rank(matrix: Tensor) -> int:
    singular = torch.linalg.svdvals(matrix)
    kept = singular[singular > 1e-11 * singular[0]]
    assert len(kept) == len(singular) or singular[len(kept)] < 1e-4 * kept[-1]  # a clear gap
    return len(kept)


def squared_error_hessian(network: Stages, images: int = 400) -> tuple[Tensor, Tensor]:
    """The Hessian of the mean squared error of random targets, and the inputs."""
    generator = torch.Generator().manual_seed(5)
    parameters = parameters_of(network)
    (widths, *_), outputs = (fully_connected(network) or ()), parameters["stages.head.bias"]
    inputs = torch.randn(images, 1, 1, widths, generator=generator, dtype=torch.float64)
    targets = torch.randn(images, len(outputs), generator=generator, dtype=torch.float64)

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([p.numel() for p in parameters.values()])
        shaped = {n: v.view_as(p) for (n, p), v in zip(parameters.items(), parts, strict=True)}
        return (functional_call(network, shaped, (inputs,)) - targets).square().mean()

    return hessian(loss)(torch.cat([p.flatten() for p in parameters.values()])), inputs


@pytest.mark.parametrize("dead", [0, 1, 3])
def test_one_hidden_layer(dead: int) -> None:
    """P - k (I + O + 1), and a Hessian whose rank is right there or a little below."""
    network = with_dead(perceptron((6,), 3, inputs=5), {"hidden1": dead})
    parameters = 5 * 6 + 6 + 6 * 3 + 3
    bound = rank_bound((5, 6, 3), (dead,))
    assert bound == parameters - dead * (5 + 3 + 1)
    of_loss = rank(dense(network, sample(200, 3, shape=(1, 1, 5))))
    of_squares = rank(squared_error_hessian(network)[0])
    assert of_loss <= bound
    assert of_squares <= bound
    # Symmetries aside (softmax: one a row of the head's inputs), nothing else is lost.
    assert of_loss >= bound - (6 - dead + 1) - (6 - dead)
    assert of_squares >= bound - (6 - dead)


@pytest.mark.parametrize("seed", [2, 3])
def test_several_hidden_layers_count_a_parameter_once(seed: int) -> None:
    """5 + 5 dead units of 6-10-10-4: the plain sum would say 64, and the rank is above."""
    network = with_dead(perceptron((10, 10), 4, seed=seed), {"hidden1": 5, "hidden2": 5})
    parameters = 6 * 10 + 10 + 10 * 10 + 10 + 10 * 4 + 4
    bound = rank_bound((6, 10, 10, 4), (5, 5))
    plain_sum = parameters - 5 * (6 + 10 + 1) - 5 * (10 + 4 + 1)
    assert (plain_sum, bound) == (64, 89)
    matrix, inputs = squared_error_hessian(network)
    outputs = network.activations(inputs)
    assert [dead_units(outputs[layer]) for layer in ("hidden1", "hidden2")] == [5, 5]
    assert plain_sum + 15 < rank(matrix) <= bound


@pytest.mark.parametrize("dead", [(0, 0), (2, 0), (0, 3), (10, 4)])
def test_the_bound_counts_distinct_parameters(dead: tuple[int, int]) -> None:
    """Against a set of the parameters' names."""
    widths, silent = (6, 10, 10, 4), [set(), *(set(range(d)) for d in dead), set()]
    touched = set()
    for layer in range(3):
        for row in range(widths[layer + 1]):
            if row in silent[layer + 1]:
                touched.add((layer, row))
            for column in range(widths[layer]):
                if row in silent[layer + 1] or column in silent[layer]:
                    touched.add((layer, row, column))
    assert rank_bound(widths, dead) == 70 + 110 + 44 - len(touched)


def test_numbers_that_do_not_belong_together() -> None:
    for dead in ((1,), (1, 2, 3), (11, 0), (-1, 0)):
        with pytest.raises(ValueError, match="dead units"):
            rank_bound((6, 10, 10, 4), dead)


def test_where_the_bound_applies() -> None:
    assert fully_connected(perceptron((10, 9), 4)) == (6, 10, 9, 4)
    small = resnet18.build((1, 4, 4), 3, resnet18.Settings(width=1), torch.Generator())
    assert fully_connected(small) is None

    def stages(*layers: nn.Module) -> Stages:
        return Stages({"hidden1": nn.Sequential(nn.Linear(6, 5), *layers), "head": nn.Linear(5, 2)})

    assert fully_connected(stages(nn.ReLU())) == (6, 5, 2)
    assert fully_connected(stages(nn.Tanh())) is None
    assert fully_connected(stages(nn.LayerNorm(5), nn.ReLU())) is None
    assert fully_connected(stages()) is None


# ---------------------------------------------------------------- the measure


def test_every_moment_of_a_run(growing: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units killed by their biases, one of them for bright images only."""
    plain = RunView.network

    def network(self: RunView, index: int, checkpoint: str) -> Stages:
        found = plain(self, index, checkpoint)
        return with_dead(found, {"hidden1": 2, "hidden2": 3} if checkpoint == "task-1" else {})

    monkeypatch.setattr(RunView, "network", network)
    frame = measure.measure(growing, measure.Settings(images=30, redo_threshold=0.2))
    assert list(frame.columns) == list(measure.COLUMNS)
    assert set(frame.layer) == {"hidden1", "hidden2", "all"}
    for index, seed in enumerate(SEEDS):
        for task, moment, name in (
            (1, "init", "task-0"),
            (1, "end", "task-1"),
            (2, "init", "task-1"),
        ):
            own = frame[(frame.seed == seed) & (frame.task == task) & (frame.moment == moment)]
            values = own.set_index(["statistic", "layer"]).value
            of = growing.network(index, name)
            inputs, _, _ = growing.probe("train", 30, task=task, seed_index=index)
            outputs = of.activations(inputs)
            counts = [dead_units(outputs[layer]) for layer in ("hidden1", "hidden2")]
            assert values["exact_zero", "hidden1"] == counts[0]
            assert values["exact_zero", "hidden2"] == counts[1]
            assert values["exact_zero", "all"] == sum(counts)
            assert (counts[0] >= 2 and counts[1] >= 3) or name == "task-0"
            assert values["rank_bound", "all"] == rank_bound((64, 12, 12, 6), counts)
            assert set(own.parameters) == {64 * 12 + 12 + 12 * 12 + 12 + 12 * 6 + 6}
            assert (own[own.layer == "all"].units == 24).all()
            scores = [o.abs().mean(0) / o.abs().mean() for n, o in outputs.items() if n != "head"]
            silent = sum(int((score <= 0.2).sum()) for score in scores)
            assert values["redo_score", "all"] == silent
            assert (("still_dead", "all") in values.index) == (moment == "init" and task == 2)
    still = frame[frame.statistic == "still_dead"]
    assert set(still.task) == {2}
    for index, seed in enumerate(SEEDS):
        of = growing.network(index, "task-1")
        both = [
            (
                of.activations(growing.probe("train", 30, task=t, seed_index=index)[0])["hidden2"]
                == 0
            )
            for t in (1, 2)
        ]
        were, now = (mask.all(0) for mask in both)
        expected = float((were & now).sum() / were.sum())
        value = still[(still.seed == seed) & (still.layer == "hidden2")].value.item()
        assert value == pytest.approx(expected)


def test_units_come_back_to_life(growing: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of task 2 made so bright that one of two dead units fires again."""
    plain, probe = RunView.network, RunView.probe

    def network(self: RunView, index: int, checkpoint: str) -> Stages:
        found = plain(self, index, checkpoint)
        with torch.no_grad():
            weight = found.get_parameter("stages.hidden1.linear.weight")
            bias = found.get_parameter("stages.hidden1.linear.bias")
            weight[:2] = 1
            weight[2:] = 0
            bias[:2] = torch.tensor([-1e3, -1e9], dtype=bias.dtype)
            bias[2:] = 1e3
        return found

    def bright(self: RunView, split: str, images: int, *, task: int, seed_index: int) -> object:
        inputs, targets, indices = probe(self, split, images, task=task, seed_index=seed_index)
        return inputs.abs() * (1e4 if task == 2 else 1e-4), targets, indices

    monkeypatch.setattr(RunView, "network", network)
    monkeypatch.setattr(RunView, "probe", bright)
    frame = measure.measure(growing, measure.Settings(images=10))
    own = frame[(frame.layer == "hidden1") & (frame.seed == SEEDS[0])]
    dead = own[own.statistic == "exact_zero"].set_index(["task", "moment"]).value
    assert dead[1, "end"] == 2
    assert dead[2, "init"] == 1
    assert own[own.statistic == "still_dead"].value.tolist() == [0.5]


def test_nothing_dead_leaves_the_share_undefined_and_diverged_seeds_stop(growing: RunView) -> None:
    given = measure.Settings(images=50, seeds=None)
    frame = measure.measure(diverged(growing, SEEDS[1], 1), given)
    assert set(frame[frame.seed == SEEDS[1]].moment) == {"init"}
    assert set(frame[frame.seed == SEEDS[1]].task) == {1}
    zero = frame[(frame.statistic == "exact_zero") & (frame.value == 0)]
    none = zero[(zero.task == 1) & (zero.moment == "end")]
    still = frame[frame.statistic == "still_dead"]
    assert len(none) > 0
    for row in none.itertuples():
        assert still[(still.seed == row.seed) & (still.layer == row.layer)].value.isna().all()
