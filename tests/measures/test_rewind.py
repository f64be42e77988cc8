"""Rewound networks against networks put together tensor by tensor, and their two ends."""

import copy

import pandas as pd
import pytest
import torch

from forgetting.ensemble import Ensemble
from forgetting.errors import UserError
from forgetting.evaluation import accuracies
from forgetting.measures import rewind
from forgetting.runs import RunView
from forgetting.stages import Stages, stage_of
from two_task_runs import SEEDS, diverged

HIDDEN = ["stem", "stage1", "stage2", "stage3", "stage4"]


def recorded(run: RunView, seed: int, after: int, metric: str) -> float:
    """The accuracy on task 1 that the training wrote down."""
    table = pd.read_parquet(run.folder / "accuracy.parquet")
    rows = table[(table.seed == seed) & (table.after_task == after) & (table.task == 1)]
    return rows[rows.metric == metric].value.item()


Pair = tuple[Stages, Stages]


def ends(run: RunView, index: int) -> Pair:
    return run.network(index, "task-1"), run.network(index, "task-2")


def put_together(pair: Pair, reset: list[str], *, statistics: bool = True) -> Stages:
    """The network after task 2 with some stages' tensors replaced one by one."""
    before, network = pair[0], copy.deepcopy(pair[1])
    parameters = dict(before.named_parameters())
    state = network.state_dict()
    for name, value in before.state_dict().items():
        if stage_of(name) in reset and (statistics or name in parameters):
            state[name] = value
    network.load_state_dict(state)
    return network


def accuracy(run: RunView, index: int, network: Stages, metric: str) -> float:
    found = accuracies(Ensemble([network]), run.benchmark.alone(index), 2, [1])
    return {name: value for _, name, (value,) in found}[metric]


def curve(frame: pd.DataFrame, seed: int, direction: str) -> pd.DataFrame:
    rows = frame[(frame.seed == seed) & (frame.direction == direction)]
    assert list(rows.stages_reset) == list(range(len(rows)))
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ends_are_the_accuracies_after_either_task(shift: RunView, seed: int) -> None:
    frame = rewind.measure(shift, rewind.Settings())
    assert list(frame.columns) == list(rewind.COLUMNS)
    assert set(frame.metric) == {"class_incremental"}
    before, after = (recorded(shift, seed, task, "class_incremental") for task in (1, 2))
    assert before != after
    for direction in ("top-down", "bottom-up"):
        rows = curve(frame, seed, direction)
        assert (rows.value.iloc[0], rows.value.iloc[-1]) == (after, before)
        stages = [*HIDDEN, "head"]
        order = stages if direction == "bottom-up" else stages[::-1]
        assert list(rows.layer) == ["", *order]
    assert set(frame.images) == {15}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(
    ("name", "given", "head", "metric"),
    [
        ("shift", {}, "stage", "class_incremental"),
        ("shift", {"head": "always"}, "always", "class_incremental"),
        ("shift", {"metric": "task_masked"}, "stage", "task_masked"),
        ("heads", {}, "always", "task_masked"),
        ("heads", {"head": "stage", "metric": "class_incremental"}, "stage", "class_incremental"),
    ],
)
def test_every_rewind_is_the_network_put_together(
    name: str,
    given: dict[str, str],
    head: str,
    metric: str,
    statistics: bool,
    request: pytest.FixtureRequest,
) -> None:
    run: RunView = request.getfixturevalue(name)
    frame = rewind.measure(run, rewind.Settings(**given, statistics=statistics))
    stages = [*HIDDEN, "head"] if head == "stage" else HIDDEN
    always = [] if head == "stage" else ["head"]
    assert len(frame) == len(SEEDS) * 2 * (len(stages) + 1)
    assert set(frame.metric) == {metric}
    for index, seed in enumerate(SEEDS):
        pair = ends(run, index)
        for direction in ("top-down", "bottom-up"):
            for row in curve(frame, seed, direction).itertuples():
                number = row.stages_reset
                reset = (
                    stages[:number] if direction == "bottom-up" else stages[len(stages) - number :]
                )
                network = put_together(pair, [*reset, *always], statistics=statistics)
                assert row.value == accuracy(run, index, network, metric)


def test_a_head_of_its_own_is_back_in_every_rewind(heads: RunView) -> None:
    """All hidden stages reset is task 1; none reset is its old head on the new features."""
    frame = rewind.measure(heads, rewind.Settings())
    for index, seed in enumerate(SEEDS):
        rows = curve(frame, seed, "top-down")
        assert rows.value.iloc[-1] == recorded(heads, seed, 1, "task_masked")
        old_head = put_together(ends(heads, index), ["head"])
        assert rows.value.iloc[0] == accuracy(heads, index, old_head, "task_masked")
        assert list(rows.layer) == ["", *HIDDEN[::-1]]
    staged = rewind.measure(heads, rewind.Settings(head="stage"))
    for seed in SEEDS:
        rows = curve(staged, seed, "bottom-up")
        expected = [recorded(heads, seed, task, "task_masked") for task in (2, 1)]
        assert [rows.value.iloc[0], rows.value.iloc[-1]] == expected


def test_crossed_logits_are_those_of_the_mixed_network(shift: RunView) -> None:
    """Exactly, and where statistics do not go back, not those of networks with them."""
    images = shift.probe("test", 10, task=1)[0]
    old, new = ends(shift, 0)
    places = [1, 2, 3, 4, 5, 7]
    logits = list(rewind.crossed(old, new, images, places))
    for place, found in zip(places, logits, strict=True):
        mixed = put_together((old, new), old.stage_names[:place])
        assert torch.equal(found, mixed(images))
        without = put_together((old, new), old.stage_names[:place], statistics=False)
        assert not torch.allclose(found, without(images))


def test_stages_without_parameters_do_not_count(shift: RunView) -> None:
    network = shift.network(0, "task-1")
    assert "features" in network.stage_names
    assert rewind.counted(network, head=True) == [*HIDDEN, "head"]
    assert rewind.counted(network, head=False) == HIDDEN


def test_a_diverged_seed_has_no_rows_and_a_run_of_one_task_is_refused(shift: RunView) -> None:
    assert set(rewind.measure(diverged(shift, 7, 2), rewind.Settings()).seed) == {4}
    with pytest.raises(UserError, match="after task 1"):
        rewind.measure(shift.other("task2_only"), rewind.Settings())
