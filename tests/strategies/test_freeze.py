"""What is frozen does not move by a bit; the rest does."""

import pytest
import torch

import toy
from forgetting.errors import UserError
from forgetting.stages import stage_of
from forgetting.strategies.freeze import Settings, frozen

STAGES = {
    "mlp": ["hidden1", "hidden2", "head"],
    "resnet18": ["stem", "stage1", "stage2", "stage3", "stage4", "head"],
}
# Everything that could move a weight without a gradient.
MOVERS = {"weight_decay": 0.01, "momentum": 0.9, "epochs": 1}


def freeze(stages, statistics=True):
    return [{"component": "freeze", "settings": {"stages": stages, "statistics": statistics}}]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(("architecture", "stages"), [("mlp", 0), ("mlp", 2), ("resnet18", 3)])
def test_frozen_stages_stay_bit_for_bit(architecture, stages, statistics, seeds, optimizer):
    settings = {**MOVERS, "architecture": architecture, "optimizer": optimizer}
    run = toy.trained(freeze(stages, statistics), seeds, **settings)
    held = STAGES[architecture][:stages]
    first, moved = run.kept["task-1"], set()
    for later in ("task-2", "task-3"):
        for name, tensor in run.kept[later].items():
            if not torch.equal(tensor, first[name]):
                moved.add(name)
    still = set(first) - moved
    expected = {
        name
        for name in first
        if stage_of(name) in held and (statistics or name in run.ensemble.params)
    }
    assert still == expected


def test_statistics_of_frozen_stages_move_where_asked():
    """Without their statistics frozen stages are another function after the second task."""
    kept = [
        toy.trained(freeze(2, statistics), architecture="resnet18", epochs=1).kept
        for statistics in (True, False)
    ]
    name = "stages.stem.norm.running_mean"
    assert torch.equal(kept[0]["task-1"][name], kept[0]["task-2"][name])
    assert not torch.equal(kept[1]["task-1"][name], kept[1]["task-2"][name])


@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_the_first_task_is_plain_training(architecture):
    plain = toy.trained([{"component": "sgd", "settings": {}}], architecture=architecture)
    run = toy.trained(freeze(2), architecture=architecture)
    for name, tensor in plain.kept["task-1"].items():
        assert torch.equal(tensor, run.kept["task-1"][name])


def test_what_is_trained_above_is_plain_training_on_the_lower_stages_outputs():
    """With all but the head frozen, the head alone learns: a linear classifier of features."""
    run = toy.trained(freeze(2), epochs=1, batch_size=50, momentum=0.0, learning_rate=0.3)
    (network,) = toy.networks(run.benchmark, [0])
    network.load_state_dict({n: t[0] for n, t in run.kept["task-1"].items()})
    (tasks,) = run.benchmark.sequences
    inputs, targets = run.benchmark.fetch(torch.from_numpy(tasks[1].train), 2)
    features = network.activations(inputs)["hidden2"].detach()
    outputs = torch.from_numpy(tasks[0].outputs | tasks[1].outputs)
    head = network.stages["head"]
    p = (head(features).masked_fill(~outputs, -torch.inf)).softmax(1).detach()
    error = (p - torch.nn.functional.one_hot(targets, len(outputs))) / len(targets)
    expected = head.weight.detach() - 0.3 * error.T @ features
    torch.testing.assert_close(
        run.kept["task-2"]["stages.head.weight"][0], expected, rtol=1e-10, atol=1e-12
    )


def test_stages_are_counted():
    names = STAGES["mlp"]
    assert frozen(Settings(stages=2), stages=names, task=1).stages == ()
    assert frozen(Settings(stages=2), stages=names, task=2).stages == ("hidden1", "hidden2")
    assert frozen(Settings(stages=0), stages=names, task=2).stages == ()


@pytest.mark.parametrize("stages", [3, 4])
def test_freezing_everything_is_refused_before_anything_is_trained(stages):
    run = toy.training(freeze(stages))
    with pytest.raises(UserError, match=r"3 stages with parameters .* between 0 and 2"):
        run.run()
    assert set(run.kept) == {"task-0"}
