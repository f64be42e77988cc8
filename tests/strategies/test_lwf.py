"""Distillation against PyTorch's KL divergence, head by head."""

import pytest
import torch
from torch.nn import functional

from forgetting.strategies.lwf import distillation


def logits(seed):
    return torch.randn(7, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_one_shared_head(temperature):
    student, teacher = logits(0), logits(1)
    groups = torch.tensor([[True] * 4 + [False] * 2])
    expected = functional.kl_div(
        (student[:, :4] / temperature).log_softmax(1),
        (teacher[:, :4] / temperature).softmax(1),
        reduction="batchmean",
    )
    torch.testing.assert_close(distillation(student, teacher, groups, temperature), expected)


def test_a_head_a_task_adds_up():
    student, teacher = logits(0), logits(1)
    groups = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]], dtype=torch.bool)
    expected = sum(
        functional.kl_div(
            (student[:, s] / 2).log_softmax(1),
            (teacher[:, s] / 2).softmax(1),
            reduction="batchmean",
        )
        for s in (slice(0, 2), slice(2, 4))
    )
    torch.testing.assert_close(distillation(student, teacher, groups, 2.0), expected)


def test_equal_networks_have_nothing_to_distil():
    groups = torch.ones(1, 6, dtype=torch.bool)
    assert distillation(logits(0), logits(0), groups, 2.0) == 0


def test_gradient_is_that_of_the_soft_cross_entropy():
    """The teacher's entropy has no gradient: Li & Hoiem's cross-entropy has the same one."""
    student, teacher = logits(0).requires_grad_(), logits(1)
    groups = torch.ones(1, 6, dtype=torch.bool)
    (ours,) = torch.autograd.grad(distillation(student, teacher, groups, 2.0), student)
    cross = -((teacher / 2).softmax(1) * (student / 2).log_softmax(1)).sum(1).mean()
    (theirs,) = torch.autograd.grad(cross, student)
    torch.testing.assert_close(ours, theirs)
    # (softmax(y/T) - softmax(y_old/T)) / (T B), the closed form.
    closed = ((student / 2).softmax(1) - (teacher / 2).softmax(1)).detach() / (2 * 7)
    torch.testing.assert_close(ours, closed)
