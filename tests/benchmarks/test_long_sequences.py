"""Permuted pixels, pairs of classes, growing sets of classes: what each task shows."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import toy
from forgetting.benchmarks import incremental, pairs, permuted
from forgetting.ensemble import Ensemble
from forgetting.errors import UserError
from forgetting.evaluation import accuracies

SMALL = {
    permuted: {"tasks": 4, "held_out": 20},
    pairs: {"tasks": 4, "train_images": 20, "test_images": 4},
    incremental: {"tasks": 3, "classes": 2, "padding": 2, "flip": 0.5},
}


def built(module, settings=(), seeds=(0, 1), data=None, name="toy"):
    return module.build(
        [data or toy.dataset(channels=2)],
        module.Settings(**{**SMALL[module], **dict(settings)}),
        name=name,
        seeds=list(seeds),
        device=toy.CPU,
        dtype=torch.float64,
    )


def shown(of, seed, task, part="train"):
    """Return a seed's images of a task as they are shown, their targets, and their indices."""
    indices = getattr(of.sequences[seed][task - 1], part)
    inputs, targets = of.alone(seed).fetch(torch.from_numpy(indices)[None], task)
    return inputs[0], targets[0], indices


# ------------------------------------------------------------------ all three


@pytest.mark.parametrize("module", SMALL)
def test_seeds_of_a_pack_equal_seeds_alone(module):
    together = built(module, seeds=(5, 7))
    assert together.rectangular()
    for position, seed in enumerate((5, 7)):
        alone = built(module, seeds=(seed,), name="another name")
        assert all(
            together.alone(position).same_task(alone, t) for t in range(1, together.tasks + 1)
        )
        assert not all(alone.same_task(built(module, seeds=(9,)), t) for t in (1, 2, 3))
    for task in (1, 3):
        indices = torch.from_numpy(together.train_indices([task]))[:, :10]
        owners = torch.full_like(indices, task)
        for tasks in (task, owners):
            inputs, targets = together.fetch(indices, tasks)
            for position in range(2):
                one = together.alone(position)
                expected = one.fetch(indices[position, None], task)
                assert torch.equal(inputs[position], expected[0][0])
                assert torch.equal(targets[position], expected[1][0])


@pytest.mark.parametrize("module", SMALL)
def test_a_longer_sequence_begins_with_the_shorter_one(module):
    short, long = built(module, {"tasks": 2}), built(module)
    assert (short.tasks, long.tasks) == (2, SMALL[module]["tasks"])
    assert all(short.same_task(long, task) for task in (1, 2))


@pytest.mark.parametrize("module", SMALL)
def test_a_batch_of_several_tasks_shows_each_sample_in_its_own(module):
    of = built(module)
    first, third = (torch.from_numpy(of.train_indices([t]))[:, :3] for t in (1, 3))
    owners = torch.tensor([[1, 1, 1, 3, 3, 3]] * 2)
    inputs, targets = of.fetch(torch.cat([first, third], dim=1), owners)
    for part, task in ((slice(0, 3), 1), (slice(3, 6), 3)):
        expected = of.fetch((first, third)[task == 3], task)
        assert torch.equal(inputs[:, part], expected[0])
        assert torch.equal(targets[:, part], expected[1])


@pytest.mark.parametrize("module", SMALL)
def test_training_and_test_images_are_apart_and_outputs_suffice(module):
    of = built(module)
    for seed in range(2):
        for task in range(1, of.tasks + 1):
            mine = of.sequences[seed][task - 1]
            assert not np.intersect1d(mine.train, mine.test).size
            for part in ("train", "test"):
                targets = shown(of, seed, task, part)[1]
                assert of.outputs_of(task)[seed][targets].all()
            assert torch.equal(of.outputs_of(task)[seed], torch.from_numpy(mine.outputs))
            assert torch.equal(of.outputs_until(task)[seed], of.outputs_of(task)[seed])


@pytest.mark.parametrize("module", SMALL)
def test_pixels_are_unit_or_normalised(module):
    data = toy.dataset(channels=2)
    for pixels in ("unit", "normalised"):
        of = built(module, {"pixels": pixels})
        indices = torch.arange(len(data.train_images))
        expected = torch.from_numpy(data.train_images).permute(0, 3, 1, 2).double() / 255
        if pixels == "normalised":
            mean = expected.mean(dim=(0, 2, 3), keepdim=True)
            std = expected.std(dim=(0, 2, 3), keepdim=True, correction=0)
            expected = (expected - mean) / std
        torch.testing.assert_close(of.pool.inputs(indices), expected)


@pytest.mark.parametrize("module", SMALL)
def test_accuracies_of_a_task_can_be_taken(module):
    of = built(module)
    rows = accuracies(Ensemble(toy.networks(of, (0, 1))), of, 2, [2])
    masked, incremental_ = (values for _, _, values in rows)
    assert masked == incremental_
    assert all(0 <= value <= 1 for value in masked)


# ------------------------------------------------------------------ permuted pixels


@pytest.mark.parametrize("kind", ["composed", "fresh"])
def test_pixels_are_permuted_task_by_task(kind):
    """The images of task t are those of task t - 1 (or the original ones), permuted once."""
    of, composed = built(permuted, {"permutations": kind}), built(permuted)
    drawn = [
        built(permuted, {"permutations": "fresh"}).permutations[0, t].numpy() for t in range(4)
    ]
    original = of.pool.inputs(torch.arange(5)).flatten(-2).numpy()
    images = original
    for task in range(1, 5):
        images = (images if kind == "composed" else original)[:, :, drawn[task - 1]]
        inputs, targets = of.alone(0).fetch(torch.arange(5)[None], task)
        np.testing.assert_array_equal(inputs[0].flatten(-2).numpy(), images)
        assert torch.equal(targets[0], of.pool.labels[:5])
        assert sorted(of.permutations[1, task - 1].tolist()) == list(range(64))
    assert torch.equal(of.permutations[:, 0], composed.permutations[:, 0])
    assert len({str(row.tolist()) for row in of.permutations.flatten(0, 1)}) == 8


def test_the_first_task_may_show_the_images_as_they_are():
    of = built(permuted, {"first": "identity"})
    inputs, _ = of.alone(1).fetch(torch.arange(5)[None], 1)
    assert torch.equal(inputs[0], of.pool.inputs(torch.arange(5)))
    assert not torch.equal(of.alone(1).fetch(torch.arange(5)[None], 2)[0][0], inputs[0])
    usual = built(permuted)
    assert not torch.equal(usual.alone(1).fetch(torch.arange(5)[None], 1)[0][0], inputs[0])
    # Composed on the identity, the second task shows its own draw.
    fresh = built(permuted, {"permutations": "fresh"})
    assert torch.equal(of.permutations[:, 1], fresh.permutations[:, 1])


def test_images_of_a_task_are_drawn_anew_or_kept():
    train = len(toy.dataset().train_images)
    for draw, alike in (("fresh", False), ("same", True)):
        of = built(permuted, {"draw": draw, "images": 50})
        for seed in range(2):
            tasks = list(of.sequences[seed])
            assert [len(task.train) for task in tasks] == [50] * 4
            assert [len(task.test) for task in tasks] == [20] * 4
            assert all((task.test < train).all() for task in tasks)
            assert np.array_equal(tasks[0].train, tasks[1].train) == alike
            assert np.array_equal(tasks[0].test, tasks[1].test) == alike
    assert not np.array_equal(of.sequences[0][0].train, of.sequences[1][0].train)
    every = built(permuted).sequences[0][2]
    assert np.array_equal(np.union1d(every.train, every.test), np.arange(train))
    few, more = (built(permuted, {"images": n}).sequences[0][1].train for n in (20, 60))
    assert set(few) < set(more)


def test_without_held_out_images_the_test_images_are_used():
    data = toy.dataset()
    of = built(permuted, {"held_out": 0}, data=data)
    task = of.sequences[0][1]
    assert np.array_equal(task.train, np.arange(len(data.train_images)))
    assert np.array_equal(task.test, len(data.train_images) + np.arange(len(data.test_images)))


@pytest.mark.parametrize("settings", [{"held_out": 150}, {"held_out": 100, "images": 51}])
def test_too_few_images_to_permute(settings):
    with pytest.raises(UserError, match=r"need at least 151 .* data set toy has 150"):
        built(permuted, settings)


# ------------------------------------------------------------------ pairs


def classes_of(of, seed, task, part="train"):
    """Return the classes called 0 and 1."""
    _, targets, indices = shown(of, seed, task, part)
    labels = of.pool.labels[indices]
    assert sorted(targets.unique().tolist()) == [0, 1]
    found = [labels[targets == value].unique().tolist() for value in (0, 1)]
    assert [len(each) for each in found] == [1, 1]
    return found[0][0], found[1][0]


def test_each_pair_is_two_classes_and_a_round_uses_all():
    data = toy.dataset(classes=6, per_class=30)
    of = built(pairs, {"tasks": 6}, data=data, seeds=range(4))
    for seed in range(4):
        rows = [classes_of(of, seed, task) for task in range(1, 7)]
        assert rows == [classes_of(of, seed, task, "test") for task in range(1, 7)]
        for start in (0, 3):
            assert sorted(label for pair in rows[start : start + 3] for label in pair) == [
                *range(6)
            ]
    orders = {str([classes_of(of, seed, task) for task in (1, 2, 3)]) for seed in range(4)}
    assert len(orders) > 1


def test_used_up_classes_are_reshuffled_or_repeated():
    for rule, alike in (("reshuffle", False), ("repeat", True)):
        of = built(pairs, {"tasks": 9, "used_up": rule})
        first, second, third = (
            [classes_of(of, 0, start + task) for task in (1, 2, 3)] for start in (0, 3, 6)
        )
        assert (first == second == third) == alike
    one, other = (built(pairs, {"tasks": 3, "used_up": rule}) for rule in ("reshuffle", "repeat"))
    assert all(one.same_task(other, task) for task in (1, 2, 3))


def test_one_of_an_odd_number_of_classes_sits_out():
    of = built(pairs, {"tasks": 8}, data=toy.dataset(classes=5))
    for start in (1, 3, 5, 7):
        named = [label for task in (start, start + 1) for label in classes_of(of, 0, task)]
        assert len({*named}) == 4


def test_the_first_images_of_each_class_are_used():
    data = toy.dataset()
    of = built(pairs, {"train_images": 7, "test_images": None}, data=data)
    first, second = classes_of(of, 0, 1)
    task = of.sequences[0][0]
    expected = [np.flatnonzero(data.train_labels == label)[:7] for label in (first, second)]
    assert task.train.tolist() == np.concatenate(expected).tolist()
    assert len(task.test) == (np.isin(data.test_labels, (first, second))).sum()


def test_the_head_is_reset_where_that_is_asked_for():
    assert not built(pairs).reset_head
    assert built(pairs, {"reset_head": True}).alone(0).reset_head


def test_unequal_classes_are_trained_in_turn():
    data = toy.dataset()
    kept = np.flatnonzero((data.train_labels != 2) | (np.arange(len(data.train_labels)) < 60))
    data = dataclasses.replace(
        data, train_images=data.train_images[kept], train_labels=data.train_labels[kept]
    )
    assert not built(pairs, {"train_images": None}, data=data, seeds=range(3)).rectangular()
    with pytest.raises(UserError, match=r"train_images: 20 of each class, and class 2 .* has 10;"):
        built(pairs, data=data)
    assert built(pairs, {"train_images": 10}, data=data, seeds=range(3)).rectangular()


def test_thousands_of_tasks_are_made_when_asked_for(monkeypatch):
    made = []
    of = built(pairs, {"tasks": 2000})
    task = pairs.Task
    monkeypatch.setattr(pairs, "Task", lambda *arguments: made.append(1) or task(*arguments))
    of = built(pairs, {"tasks": 2000})
    assert of.tasks == 2000
    assert of.outputs_until(2000).all()
    assert not made
    of.train_indices([1999])
    of.task_numbers([1999])
    assert len(made) == 2  # one for each seed
    assert len(of.sequences[0][1:3]) == 2
    with pytest.raises(IndexError):
        of.sequences[0][2000]


# ------------------------------------------------------------------ growing sets of classes


def test_every_task_adds_classes():
    data = toy.dataset()
    of = built(incremental, data=data)
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert (of.outputs, of.mask) == (6, "seen")
    for sequence in of.sequences:
        for number, task in enumerate(sequence, start=1):
            seen = np.flatnonzero(task.outputs)
            assert len(seen) == 2 * number
            for part, inside in (("train", labels[:150]), ("test", labels[150:])):
                start = 0 if part == "train" else 150
                expected = start + np.flatnonzero(np.isin(inside, seen))
                assert getattr(task, part).tolist() == expected.tolist()
    assert of.training_mask(2, None)[:, 0].tolist() == of.outputs_of(2).tolist()
    assert len({str(built(incremental, seeds=(s,)).outputs_of(1)) for s in range(6)}) > 1


def test_training_on_new_classes_only():
    of = built(incremental, {"train_on": "new", "class_order": "natural"})
    every = built(incremental, {"class_order": "natural"})
    for task in (1, 2, 3):
        targets = shown(of, 0, task)[1]
        assert targets.unique().tolist() == [2 * task - 2, 2 * task - 1]
        assert shown(of, 0, task, "test")[1].unique().tolist() == list(range(2 * task))
        for part in ("train", "test"):
            added = of.added(task, part)
            assert np.array_equal(added, every.added(task, part))
            labels = of.pool.labels[torch.from_numpy(added)]
            assert labels.unique().tolist() == [2 * task - 2, 2 * task - 1]


def test_only_augment_changes_images():
    of = built(incremental)
    indices = torch.from_numpy(of.train_indices([1]))[:, :8]
    inputs, _ = of.fetch(indices, 1)
    assert torch.equal(inputs, of.pool.inputs(indices))
    changed = of.augment(inputs, [np.random.default_rng(s) for s in (0, 1)])
    assert changed.shape == inputs.shape
    assert not torch.equal(changed, inputs)
    alone = of.alone(1).augment(inputs[1:], [np.random.default_rng(1)])
    assert torch.equal(changed[1], alone[0])
    plain = built(incremental, {"flip": 0.0, "padding": 0})
    assert plain.augment(inputs, []) is inputs


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks": 4}, r"tasks: 4 tasks of 2 more classes need 8, .* has 6; set it to at most 3"),
        ({"padding": 8}, r"padding: 8 pixels .* 8x8; set it to at most 7"),
    ],
)
def test_too_few_classes_or_pixels(settings, said):
    with pytest.raises(UserError, match=said):
        built(incremental, settings)


def test_the_first_images_of_every_class_are_set_aside():
    data = toy.dataset(channels=2)
    plain, of = built(incremental, data=data), built(incremental, {"validation": 7}, data=data)
    for seed, task in itertools.product(range(2), (1, 2, 3)):
        whole, mine = plain.sequences[seed][task - 1], of.sequences[seed][task - 1]
        first = [
            np.flatnonzero(data.train_labels == label)[:7] for label in mine.outputs.nonzero()[0]
        ]
        assert mine.validation.tolist() == sorted(np.concatenate(first))
        assert mine.train.tolist() == np.setdiff1d(whole.train, mine.validation).tolist()
        assert mine.test.tolist() == whole.test.tolist()
        assert not len(whole.validation)
    assert of.rectangular()
    with pytest.raises(UserError, match=r"has 25 of one to train on; set it to at most 24"):
        built(incremental, {"validation": 25}, data=data)
