"""Tasks that end with the weights of the epoch that was best on images set aside."""

import pytest
import torch

import toy
from forgetting import moments, resume
from forgetting.benchmarks import incremental
from forgetting.errors import UserError

SGD = [{"component": "sgd", "settings": {}}]


def growing(seeds):
    """Three tasks of two more classes, five images of each class set aside."""
    return incremental.build(
        [toy.dataset(per_class=36)],
        incremental.Settings(tasks=3, classes=2, validation=5),
        name="toy",
        seeds=list(seeds),
        device=toy.CPU,
        dtype=torch.float64,
    )


@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_task_ends_with_the_weights_that_were_best_on_what_is_set_aside(seeds, architecture):
    settings = {"epochs": 4, "learning_rate": 0.3, "batch_size": 10, "architecture": architecture}
    settings["checkpoint_epochs"] = (1, 2, 3, 4)
    of = growing(seeds)
    restored = toy.trained(SGD, seeds, of=of, restore_best=True, **settings)
    epochs = []
    for position in range(len(seeds)):
        alone = of.alone(position)
        (network,) = toy.networks(of, [0], architecture)
        network.eval()
        for task in (1, 2, 3):
            reached = []
            indices = torch.from_numpy(alone.validation_indices(task))
            images, labels = (each[0] for each in alone.fetch(indices, task))
            out = ~torch.from_numpy(alone.sequences[0][task - 1].outputs)
            for epoch in (1, 2, 3, 4):
                kept = restored.kept[moments.name(task, epoch)]
                network.load_state_dict({name: t[position] for name, t in kept.items()})
                with torch.no_grad():
                    said = network(images).masked_fill(out, -torch.inf).argmax(1)
                reached.append(int((said == labels).sum()))
            best = reached.index(max(reached)) + 1
            epochs.append(best)
            for name, tensor in restored.kept[moments.name(task, best)].items():
                ended = restored.kept[moments.name(task, 0)][name]
                assert torch.equal(ended[position], tensor[position]), (task, name)
    assert len(set(epochs)) > 1  # neither always the last nor always the first


def test_the_best_weights_survive_save_and_load_in_mid_task(tmp_path):
    def begun():
        settings = {"epochs": 4, "learning_rate": 0.3, "batch_size": 7}
        return toy.training(SGD, (0, 1), of=growing((0, 1)), restore_best=True, **settings)

    class Killed(Exception):
        pass

    whole, stopped, taken_up = begun(), begun(), begun()
    whole.run()

    def stop():
        if (stopped.phase, stopped.epoch, stopped.step) == (1, 3, 2):
            raise Killed

    with pytest.raises(Killed):
        stopped.run(stop)
    resume.save(tmp_path / "state.pt", stopped.state())
    taken_up.restore(resume.load(tmp_path / "state.pt"))
    taken_up.run()
    for name, tensor in whole.kept["task-3"].items():
        assert torch.equal(tensor, taken_up.kept["task-3"][name])


def test_without_images_set_aside_no_epoch_is_best():
    with pytest.raises(UserError, match="benchmark toy has no validation images"):
        toy.training(SGD, restore_best=True)
