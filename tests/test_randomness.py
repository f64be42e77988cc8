"""The seed tree: reproducible anywhere, independent along every axis, and nothing global."""

import numpy as np
import pytest
import torch

import toy
from forgetting.randomness import numpy_generator, torch_generator


def test_values_are_fixed_for_good():
    """Results of earlier versions stay comparable only while these stay as they are."""
    assert numpy_generator("split-mnist", 0, "data order", 1, 0).integers(0, 10**6, 3).tolist() == [
        4272,
        952452,
        374226,
    ]
    assert torch.equal(
        torch.rand(2, generator=torch_generator("a", 1)),
        torch.rand(2, generator=torch_generator("a", 1)),
    )


@pytest.mark.parametrize(
    "other", [("a", 1, "role"), ("b", 0, "role"), ("a", 0, "other"), ("a", "0", "role"), ("a", 0)]
)
def test_paths_differ(other):
    one = numpy_generator("a", 0, "role").random(4)
    assert not np.allclose(one, numpy_generator(*other).random(4))


def test_training_and_measuring_leave_the_global_generators_alone():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for parts in ("sgd", "lwf", "experience_replay", "joint"):
        toy.trained([{"component": parts, "settings": {}}], (0, 1), epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
