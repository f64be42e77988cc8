"""Split benchmarks: which classes and images make which task, and which outputs compete."""

import numpy as np
import pytest
import torch

import toy
from forgetting.errors import UserError


def test_tasks_partition_classes_and_images():
    data = toy.dataset()
    of = toy.benchmark([0, 1], data=data, class_order="seeded")
    labels = np.concatenate([data.train_labels, data.test_labels])
    for sequence in of.sequences:
        outputs = np.stack([task.outputs for task in sequence])
        assert (outputs.sum(axis=0) == 1).all()
        assert (outputs.sum(axis=1) == 2).all()
        for task in sequence:
            assert set(labels[task.train]) == set(np.flatnonzero(task.outputs))
            assert (task.train < len(data.train_labels)).all()
            assert (task.test >= len(data.train_labels)).all()
        used = np.concatenate([np.concatenate([task.train, task.test]) for task in sequence])
        assert sorted(used) == list(range(len(labels)))


def test_class_orders():
    natural = toy.benchmark([0, 1], class_order="natural")
    for sequence in natural.sequences:
        assert [list(np.flatnonzero(task.outputs)) for task in sequence] == [[0, 1], [2, 3], [4, 5]]
    seeded = toy.benchmark(range(8), class_order="seeded")
    orders = {str([list(task.outputs) for task in sequence]) for sequence in seeded.sequences}
    assert len(orders) > 4


def test_training_masks_by_hand():
    shared = toy.benchmark([0], class_order="natural", scenario="class_incremental")
    assert shared.training_mask(2, None).tolist() == [[[True] * 4 + [False] * 2]]
    heads = toy.benchmark([0], class_order="natural", scenario="task_incremental")
    own = torch.tensor([[1, 3]])
    expected = [[True, True] + [False] * 4, [False] * 4 + [True, True]]
    assert heads.training_mask(3, own).tolist() == [expected]
    assert heads.training_mask(3, None).tolist() == [[expected[1]]]
    free = toy.benchmark([0], scenario="class_incremental", mask="none")
    assert free.training_mask(2, None) is None


def test_groups_of_earlier_outputs():
    heads = toy.benchmark([0], class_order="natural", scenario="task_incremental")
    assert heads.old_groups(1).shape == (1, 0, 6)
    assert heads.old_groups(3)[0].int().tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]]
    shared = toy.benchmark([0], class_order="natural", scenario="class_incremental")
    assert shared.old_groups(1).shape == (1, 0, 6)
    assert shared.old_groups(3)[0].int().tolist() == [[1, 1, 1, 1, 0, 0]]


def test_inputs_are_normalised_by_the_training_images():
    data = toy.dataset(channels=3)
    of = toy.benchmark([0], data=data)
    inputs = of.pool.inputs(torch.arange(len(data.train_labels)))
    assert inputs.shape == (len(data.train_labels), 3, 8, 8)
    torch.testing.assert_close(
        inputs.mean(dim=(0, 2, 3)), torch.zeros(3).double(), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3).double())
    first = data.train_images[0].transpose(2, 0, 1) / 255
    mean = data.train_images.mean(axis=(0, 1, 2)) / 255
    std = data.train_images.std(axis=(0, 1, 2)) / 255
    expected = (first - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(inputs[0].numpy(), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": 4}, r"4 tasks do not divide the 6 classes .* \[1, 2, 3, 6\]"),
        ({"scenario": "task_incremental", "mask": "seen"}, "contradicts scenario"),
        ({"labels": "coarse"}, "has no coarse labels"),
    ],
)
def test_contradictions_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        toy.benchmark([0], **settings)
