from dataclasses import replace

import numpy as np
import pytest
import torch

import toy
from forgetting.benchmarks import by_dataset
from forgetting.errors import UserError

FIRST = replace(toy.dataset(classes=4), name="first")
SECOND = replace(
    toy.dataset(classes=6), name="second", train_images=255 - toy.dataset().train_images
)


def built(*datasets, **settings):
    return by_dataset.build(
        list(datasets or (FIRST, SECOND)),
        by_dataset.Settings(**settings),
        name="both",
        seeds=[0, 1],
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.mark.parametrize("head", ["shared", "own"])
def test_every_task_shows_all_images_of_its_data_set_under_its_outputs(head):
    benchmark = built(head=head)
    assert benchmark.outputs == (6 if head == "shared" else 10)
    assert benchmark.mask == ("none" if head == "shared" else "task")
    for task, (dataset, first) in enumerate(
        [(FIRST, 0), (SECOND, 0 if head == "shared" else 4)], 1
    ):
        for part in ("train", "test"):
            indices = getattr(benchmark.sequences[0][task - 1], part)
            inputs, targets = benchmark.fetch(torch.from_numpy(np.stack([indices] * 2)), task)
            images = getattr(dataset, f"{part}_images").transpose(0, 3, 1, 2) / np.float32(255)
            np.testing.assert_allclose(inputs[1].numpy(), images, atol=1e-6)
            np.testing.assert_array_equal(
                targets[1].numpy(), getattr(dataset, f"{part}_labels") + first
            )
        expected = np.zeros(benchmark.outputs, dtype=bool)
        expected[first : first + (4 if task == 1 else 6)] = True
        np.testing.assert_array_equal(benchmark.sequences[0][task - 1].outputs, expected)


def test_listed_classes_take_part_alone_and_in_their_order():
    data = replace(FIRST, label_names=list("abcd"), test_labels=FIRST.test_labels)
    benchmark = built(data, SECOND, classes=[["c", "a"], None])
    task = benchmark.sequences[0][0]
    indices = torch.from_numpy(task.train)[None].expand(2, -1)
    _, targets = benchmark.fetch(indices, 1)
    labels = FIRST.train_labels[task.train]
    assert set(labels) == {0, 2}
    np.testing.assert_array_equal(targets[0].numpy(), np.where(labels == 2, 0, 1))


def test_images_of_two_shapes_and_missing_lists_of_classes_are_refused():
    with pytest.raises(UserError, match="one shape; found first 8x8x1, toy 9x9x1"):
        built(FIRST, toy.dataset(size=9))
    with pytest.raises(UserError, match="found 1 lists for 2 data sets"):
        built(classes=[None])
