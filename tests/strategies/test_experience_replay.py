"""The reservoir: Vitter's algorithm R, uniform over the stream, one entry a sample."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import toy
from forgetting.components import settings_class
from forgetting.strategies.experience_replay import Settings, enter, plan, start_plan


def stream(capacity, batches, seed=0):
    memory = start_plan(Settings(buffer=capacity))
    generator = np.random.default_rng(seed)
    for batch in batches:
        enter(memory, np.asarray(batch), 1, generator)
    return memory


def one_by_one(capacity, length, draws):
    """Algorithm R as in the textbook, with the place of the n-th item given."""
    kept = []
    for n, place in zip(range(length), draws, strict=True):
        if n < capacity:
            kept.append(n)
        elif place < capacity:
            kept[place] = n
    return kept


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_it_is_algorithm_r(batch):
    length, capacity = 50, 8
    memory = stream(capacity, np.split(np.arange(length), range(batch, length, batch)))
    generator = np.random.default_rng(0)
    draws = np.concatenate(
        [
            generator.integers(0, part + 1)
            for part in np.split(np.arange(length), range(batch, length, batch))
        ]
    )
    assert memory["indices"].tolist() == one_by_one(capacity, length, draws)
    assert int(memory["seen"]) == length


def test_every_sample_of_the_stream_is_as_likely():
    capacity, length, repeats = 5, 40, 4000
    counts = np.zeros(length)
    for seed in range(repeats):
        counts[
            stream(capacity, [np.arange(20), np.arange(20, length)], seed)["indices"].numpy()
        ] += 1
    expected = repeats * capacity / length
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert chi2 < 72  # 0.999 quantile of chi squared with 39 degrees of freedom


def test_replay_is_drawn_before_the_new_samples_enter():
    memory, generator = start_plan(Settings(buffer=10)), np.random.default_rng(0)
    chosen = {"memory": memory, "settings": Settings(buffer=10), "generator": generator}
    first, _ = plan(**chosen, indices=np.arange(4), task=1, first_pass=True)
    assert len(first) == 0
    second, tasks = plan(**chosen, indices=np.arange(4, 8), task=2, first_pass=True)
    assert sorted(second) == [0, 1, 2, 3]
    assert set(tasks) == {1}
    third, tasks = plan(**chosen, indices=np.arange(8, 12), task=3, first_pass=False)
    assert len(set(third)) == 4
    assert int(memory["seen"]) == 8  # a second pass adds nothing
    assert sorted(memory["indices"][:8].tolist()) == list(range(8))
    assert memory["tasks"][:8].tolist() == [1] * 4 + [2] * 4


def test_as_many_as_asked_for():
    memory = stream(20, [np.arange(100)])
    for replay, expected in ((None, 6), (3, 3), (50, 20)):
        chosen, _ = plan(
            memory,
            Settings(buffer=20, replay=replay),
            indices=np.arange(6),
            task=2,
            first_pass=False,
            generator=np.random.default_rng(0),
        )
        assert len(chosen) == len(set(chosen)) == expected


@pytest.mark.parametrize(
    ("fraction", "new", "expected"),
    [(0.0, 10, 0), (0.1, 90, 10), (0.1, 10, 1), (0.2, 128, 32), (0.5, 7, 7), (0.9, 10, 90)],
)
def test_a_fraction_of_the_whole_batch(fraction, new, expected):
    chosen, _ = plan(
        stream(200, [np.arange(200)]),
        Settings(buffer=200, fraction=fraction),
        indices=np.arange(new),
        task=2,
        first_pass=False,
        generator=np.random.default_rng(0),
    )
    assert len(chosen) == expected
    assert abs(expected / (expected + new) - fraction) < 0.02


def test_one_half_is_the_default_bit_for_bit():
    half, default = (
        toy.trained([{"component": "experience_replay", "settings": {"buffer": 20, **more}}])
        for more in ({"fraction": 0.5}, {})
    )
    for name, tensor in default.kept["task-3"].items():
        assert torch.equal(tensor, half.kept["task-3"][name])


def test_the_amount_is_said_once():
    # The class as a study's check sees it, evaluated apart from its module.
    checked = settings_class("strategies", "experience_replay")
    for settings in (Settings, checked):
        with pytest.raises(ValidationError, match="give one of them"):
            settings(replay=3, fraction=0.5)
        assert settings(fraction=0.5).replay is None


def test_from_earlier_tasks_only():
    """The buffer as it stood when the task began, however much of the new task has entered."""
    settings = Settings(buffer=8, fraction=0.5, replay_from="earlier_tasks")
    memory, generator = start_plan(settings), np.random.default_rng(0)
    same = {"memory": memory, "settings": settings, "generator": generator}
    for start in range(0, 40, 4):
        chosen, _ = plan(**same, indices=np.arange(start, start + 4), task=1, first_pass=True)
        assert len(chosen) == 0
    kept = set(memory["indices"].tolist())
    replayed = set()
    for start in range(100, 300, 4):
        chosen, tasks = plan(**same, indices=np.arange(start, start + 4), task=2, first_pass=True)
        assert set(tasks) == {1}
        assert len(set(chosen)) == 4
        replayed |= set(chosen)
    assert replayed == kept
    assert (memory["tasks"] == 2).sum() > 2  # the reservoir itself went on
    _, tasks = plan(**same, indices=np.arange(400, 408), task=3, first_pass=True)
    assert sorted(tasks) == sorted(memory["earlier"]["tasks"].tolist())
    assert set(tasks) <= {1, 2}


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_without_earlier_tasks_it_is_plain_training(architecture, seeds):
    settings = {"buffer": 10, "replay_from": "earlier_tasks"}
    run, plain = (
        toy.trained(parts, seeds, architecture=architecture, dtype="float32", epochs=1)
        for parts in (
            [{"component": "experience_replay", "settings": settings}],
            [{"component": "sgd", "settings": {}}],
        )
    )
    for name, tensor in plain.kept["task-1"].items():
        assert torch.equal(tensor, run.kept["task-1"][name])
    assert not torch.equal(
        plain.kept["task-2"]["stages.head.weight"], run.kept["task-2"]["stages.head.weight"]
    )
