"""What measures of a run of two tasks share: its networks after each, images of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from forgetting import probes
from forgetting.errors import UserError
from forgetting.measures._settings import Probe
from forgetting.stages import Stages

if TYPE_CHECKING:
    from forgetting.runs import RunView


def end_of(run: "RunView", task: int) -> str:
    """Return the name of the checkpoint at the end of a task.

    Raises:
        UserError: The run kept no weights then.
    """
    for checkpoint in run.checkpoints:
        if checkpoint.task == task and not checkpoint.epoch:
            return checkpoint.name
    raise UserError(
        f"{run.folder}: no weights were kept after task {task}; give the benchmark at least "
        f"{task} tasks and have training.checkpoints: all (or {task} among them)"
    )


def survivors(run: "RunView", task: int = 2) -> list[int]:
    """Return the positions in the pack of the seeds that had finite weights after a task."""
    return [index for index, seed in enumerate(run.seeds) if run.alive(seed, task)]


def networks(run: "RunView", task: int, indices: Sequence[int]) -> dict[int, Stages]:
    """Return the networks of some seeds, by position in the pack, at the end of a task."""
    if not indices:  # every seed diverged before, so nothing was kept
        return {}
    name = end_of(run, task)
    return {index: run.network(index, name) for index in indices}


@dataclass
class TaskProbes:
    """Probes drawn from the images of one task and seen as that task shows them."""

    run: "RunView"
    settings: Probe
    _about: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)

    def inputs(self, index: int, task: int) -> Tensor:
        """Return the inputs (n, C, H, W) for the seed at a position in the pack."""
        split, images = self.settings.split, self.settings.images
        inputs, _, indices = self.run.probe(split, images, task=task, seed_index=index)
        about = probes.describe(split, inputs, indices)
        seen = self._about.setdefault((task, about["sha256"]), {"task": task, "seeds": [], **about})
        if (seed := self.run.seeds[index]) not in seen["seeds"]:
            seen["seeds"].append(seed)
        return inputs

    def about(self) -> list[dict[str, Any]]:
        """Return what identifies each probe that was used: its task, seeds, images."""
        return list(self._about.values())
