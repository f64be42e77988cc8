"""A finished run as a measure sees it: its networks at each checkpoint, and images to probe them.

Measuring reads; nothing here can change a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from forgetting import building, checkpoints, probes, specification
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.stages import Stages
from forgetting.tasks import ImageBenchmark


class Checkpoint(NamedTuple):
    """A moment of training whose weights were kept."""

    name: str
    task: int
    epoch: float
    """Epochs trained within the task; 0 for the end of a task."""


@dataclass(frozen=True)
class RunView:
    """A finished run."""

    spec: dict[str, Any]
    record: dict[str, Any]
    """run.json."""
    folder: Path
    benchmark: ImageBenchmark
    """Or, of a run in an environment, a ``ControlBenchmark``; measures that need images are refused
    when the study is read."""
    device: torch.device
    others: Mapping[str, "RunView"] = field(default_factory=dict)
    """Runs that it is compared with, by role: of the same benchmark, architecture and seeds."""
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

    def other(self, role: str) -> "RunView":
        """Return the run that the measure compares with under a role.

        Raises:
            UserError: The study names no such run.
        """
        if role not in self.others:
            raise UserError(
                f"the measure compares with another run: name its strategy in the study, under "
                f"the measure, as against: {{{role}: ...}} (or by hand: --against {role}=RUN.JSON)"
            )
        return self.others[role]

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
        self,
        split: str,
        images: int,
        *,
        role: str = "probe",
        task: int | None = None,
        seed_index: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fixed probe: inputs (n, C, H, W), targets (n,), pool indices (n,).

        It is drawn from the images that the benchmark's tasks use of the ``train`` or ``test``
        split, seen as the first task shows them; with ``task`` from the images of that task of
        one seed, seen as that task shows them. It is the same for every run on the data set, and
        for every seed whose tasks are the same.
        """
        sequence = self.benchmark.sequences[seed_index]
        tasks = sequence if task is None else [sequence[task - 1]]
        available = torch.cat([torch.from_numpy(getattr(each, split)) for each in tasks]).unique()
        chosen = probes.choose(len(available), images, numpy_generator(role, split))
        indices = available[torch.as_tensor(chosen)].to(self.device)
        of_seed = self.benchmark if self.benchmark.seeds == 1 else self.benchmark.alone(seed_index)
        inputs, targets = of_seed.fetch(indices[None], task or 1)
        return inputs[0], targets[0], indices


def open_run(
    run_json: Path,
    data: Sequence[Path],
    device: torch.device,
    *,
    against: Mapping[str, Path] | None = None,
) -> RunView:
    """Open a finished run.

    Args:
        run_json: The run's run.json.
        data: Descriptions of its prepared data sets.
        device: Where its networks are put.
        against: run.json of the runs that it is compared with, by role.

    Raises:
        UserError: A run is not finished, or is not of the same benchmark, network and seeds.
    """
    record = specification.read(run_json)
    spec = record["spec"]
    built = building.benchmark(spec, data, seeds=spec["seeds"], device=device)
    benchmark = cast(ImageBenchmark, built)
    others = {}
    for role, path in (against or {}).items():
        other = specification.read(path)
        for part in ("benchmark", "architecture", "seeds"):
            if other["spec"][part] != spec[part]:
                raise UserError(f"{path}: its {part} is not that of {run_json}, so not compared")
        others[role] = RunView(other["spec"], other, path.parent, benchmark, device)
    return RunView(spec, record, run_json.parent, benchmark, device, others)
