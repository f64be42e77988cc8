import numpy as np
import pytest
import torch

import toy
from forgetting.benchmarks import warm_start
from forgetting.errors import UserError


def built(seeds=(0, 1), **settings):
    return warm_start.build(
        [toy.dataset()],
        warm_start.Settings(**settings),
        name="warm",
        seeds=list(seeds),
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def test_a_smaller_share_is_part_of_a_larger_one_and_all_test_images_are_tested_on():
    benchmark, dataset = built(shares=(0.5, 0.75, 1.0)), toy.dataset()
    train, test = len(dataset.train_images), len(dataset.test_images)
    for tasks in benchmark.sequences:
        sizes = [len(set(task.train)) for task in tasks]
        assert sizes == [round(share * train) for share in (0.5, 0.75, 1.0)]
        assert set(tasks[0].train) < set(tasks[1].train) < set(tasks[2].train) == set(range(train))
        for task in tasks:
            assert np.array_equal(task.test, np.arange(train, train + test))
            assert task.outputs.all()
    assert benchmark.mask == "none"
    assert benchmark.rectangular()


def test_seeds_draw_other_images_and_a_seed_the_same_in_any_pack():
    first, second = (tasks[0].train for tasks in built().sequences)
    assert not np.array_equal(first, second)
    assert np.array_equal(built(seeds=(1,)).sequences[0][0].train, second)


def test_a_share_of_no_image_is_refused():
    with pytest.raises(UserError, match=r"shares: 1e-05 of \d+ training images is none"):
        built(shares=(0.00001, 1.0))
