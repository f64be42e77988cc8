"""The reservoir: Vitter's algorithm R, uniform over the stream, one entry a sample."""

import numpy as np
import pytest

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
