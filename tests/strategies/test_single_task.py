"""One task alone is that task trained first, from the same initial weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import toy
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator


def alone(task):
    return [{"component": "single_task", "settings": {"task": task}}]


def test_the_first_task_alone_is_the_first_of_a_sequence():
    plain = toy.trained([{"component": "sgd", "settings": {}}], architecture="resnet18", epochs=1)
    run = toy.trained(alone(1), architecture="resnet18", epochs=1)
    assert set(run.kept) == {"task-0", "task-1"}
    for moment, tensors in run.kept.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, plain.kept[moment][name])
    assert run.record.accuracy == [row for row in plain.record.accuracy if row[1] < 2]
    assert run.record.history == [row for row in plain.record.history if row[1] == 1]


def test_a_later_task_starts_from_the_initial_weights():
    """Against a loop in plain PyTorch, over the order of images that task 2 has in a sequence."""
    settings = {"epochs": 2, "batch_size": 10, "momentum": 0.0, "learning_rate": 0.05}
    run = toy.trained(alone(2), scenario="task_incremental", **settings)
    (network,) = toy.networks(run.benchmark, [0])
    (tasks,) = run.benchmark.sequences
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    outputs = torch.from_numpy(tasks[1].outputs)
    for epoch in range(2):
        order = numpy_generator("toy", 0, "data order", 2, epoch).permutation(len(tasks[1].train))
        for chosen in np.split(tasks[1].train[order], range(10, len(order), 10)):
            inputs, targets = run.benchmark.fetch(torch.from_numpy(chosen), 2)
            logits = network(inputs).masked_fill(~outputs, -torch.inf)
            optimizer.zero_grad()
            functional.cross_entropy(logits, targets).backward()
            optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(run.kept["task-2"][name][0], tensor, rtol=1e-10, atol=1e-10)
    assert {row[1] for row in run.record.accuracy} == {0, 2}


def test_a_task_that_is_not_there():
    with pytest.raises(UserError, match="between 1 and 3"):
        toy.training(alone(4))
