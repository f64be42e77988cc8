"""A finished run as a measure sees it: its networks at each checkpoint, and images to probe them.

Measuring reads; nothing here can change a run.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forgetting import building, checkpoints, probes
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.stages import Stages
from forgetting.tasks import ImageBenchmark


class Checkpoint(NamedTuple):
    """A moment of training whose weights were kept."""

    name: str
    task: int
    epoch: int
    """Epoch within the task; 0 for the end of a task."""


@dataclass(frozen=True)
class RunView:
    """A finished run."""

    spec: dict[str, Any]
    record: dict[str, Any]
    """run.json."""
    folder: Path
    benchmark: ImageBenchmark
    device: torch.device
    _loaded: dict[str, dict[str, Tensor]] = field(default_factory=dict, repr=False)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the pack."""
        return list(self.spec["seeds"])

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The kept moments, in the order of training."""
        moments = self.record["checkpoint_tasks"]
        found = [Checkpoint(name, at["task"], at["epoch"]) for name, at in moments.items()]
        # The end of a task (epoch 0) comes after the moments within it.
        return sorted(found, key=lambda c: (c.task, c.epoch or float("inf")))

    def alive(self, seed: int, task: int) -> bool:
        """Whether the seed had finite weights after the task."""
        about = self.record["seeds"][str(seed)]
        return about["status"] != "diverged" or task < about["task"]

    def tensors(self, checkpoint: str) -> dict[str, Tensor]:
        """Return the weights at a checkpoint with a leading seed axis; refuse a changed file."""
        if checkpoint not in self._loaded:
            path = self.folder / "checkpoints" / f"{checkpoint}.safetensors"
            expected = self.record["checkpoints"][checkpoint]
            self._loaded.clear()
            self._loaded[checkpoint] = checkpoints.read(path, expected=expected)[0]
        return self._loaded[checkpoint]

    def network(self, seed_index: int, checkpoint: str) -> Stages:
        """Return one seed's network at a checkpoint, in eval mode on the run's device."""
        seed = self.seeds[seed_index]
        (network,) = building.networks(self.spec, self.benchmark, seeds=[seed])
        state = {name: tensor[seed_index] for name, tensor in self.tensors(checkpoint).items()}
        network.load_state_dict(state)
        return network.eval().requires_grad_(False)

    def probe(
        self, split: str, images: int, *, role: str = "probe"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fixed probe: inputs (n, C, H, W), targets (n,), pool indices (n,).

        It is the same for every seed and every run on the data set: drawn from the images that
        the benchmark's tasks use of the ``train`` or ``test`` split.
        """
        first = self.benchmark.sequences[0]
        available = torch.cat([torch.from_numpy(getattr(task, split)) for task in first]).unique()
        chosen = probes.choose(len(available), images, numpy_generator(role, split))
        indices = available[torch.as_tensor(chosen)].to(self.device)
        inputs, targets = self.benchmark.fetch(indices[None], 1)
        return inputs[0], targets[0], indices


def open_run(run_json: Path, data: Sequence[Path], device: torch.device) -> RunView:
    """Open a finished run; ``data`` are the descriptions of its prepared data sets."""
    try:
        record = json.loads(run_json.read_text())
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{run_json}: not a finished run ({error})") from None
    spec = record["spec"]
    benchmark = building.benchmark(spec, data, seeds=spec["seeds"], device=device)
    return RunView(spec, record, run_json.parent, benchmark, device)
