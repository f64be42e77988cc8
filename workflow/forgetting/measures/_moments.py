"""What measures of plasticity share: at which moments they look, and at which images.

``init`` of a task: its images as they meet the weights left by the task before, ahead of any
update. ``end``: the same images after training on the task. What a strategy changes at the start
of a task is not part of ``init``; that the benchmark clears the head then, is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from forgetting import probes
from forgetting.errors import UserError
from forgetting.measures._settings import Moments
from forgetting.randomness import numpy_generator
from forgetting.stages import HEAD, Stages
from forgetting.tasks import ImageBenchmark

if TYPE_CHECKING:
    from forgetting.runs import RunView

SPLITS = {"train": "train", "held_out": "test"}
Loss = Callable[[Tensor, Tensor], Tensor]
CROSS_ENTROPY: Loss = partial(functional.cross_entropy, reduction="sum")
"""Of images. It is recognised by identity (``_curvature``): an equal one made anew is not."""


class Moment(NamedTuple):
    """Weights that were kept, met by the images of a task."""

    task: int
    """Whose images."""
    moment: str
    """``init`` or ``end``."""
    trained: int
    """The task after which the weights were kept."""
    checkpoint: str


class Sample(NamedTuple):
    """Images of a task, or steps of an environment, as the loss sees them."""

    inputs: Tensor
    """(n, C, H, W), or observations (n, d)."""
    targets: Tensor
    """(n,) int64, positions among the outputs that compete; or what ``loss`` takes, (n, ...)."""
    outputs: Tensor | None
    """(K,) bool, the outputs that compete; None: all."""
    loss: Loss = CROSS_ENTROPY
    """Sum of the losses of some samples: (outputs (b, K'), targets) -> scalar."""


def moments(
    run: "RunView", tasks: Literal["kept"] | Sequence[int], kinds: Sequence[str]
) -> list[Moment]:
    """Return the moments of some tasks whose weights were kept, in the order of training.

    Args:
        run: The run.
        tasks: Tasks from 1; ``kept``: all for which there are weights.
        kinds: ``init``, ``end`` or both.

    Raises:
        UserError: A task is asked for by number, and there is no such task or no such weights.
    """
    ends = {each.task: each.name for each in run.checkpoints if not each.epoch}
    last = run.benchmark.tasks
    found = []
    for task in range(1, last + 1) if tasks == "kept" else tasks:
        if not 1 <= int(task) <= last:
            raise UserError(
                f"settings.tasks: {task}, but the tasks of {run.folder} are 1 to {last}"
            )
        for kind in kinds:
            trained = int(task) - (kind == "init")
            if trained in ends:
                found.append(Moment(int(task), kind, trained, ends[trained]))
            elif tasks != "kept":
                raise UserError(
                    f"{run.folder}: no weights were kept after task {trained}, which {kind} of "
                    f"task {task} needs; put {trained} into training.checkpoints"
                )
    # Weights are read from disk one moment at a time.
    return sorted(found, key=lambda each: (each.trained, each.task))


def alive(run: "RunView", moment: Moment, seeds: int | None) -> Iterator[tuple[int, int]]:
    """Yield (position in the pack, seed) of the first ``seeds`` seeds with finite weights then."""
    for index, seed in enumerate(run.seeds[:seeds]):
        if run.alive(seed, moment.trained):
            yield index, seed


def looks(run: "RunView", settings: Moments) -> Iterator[tuple[Moment, int, int]]:
    """Yield moment, position in the pack and seed of every network that a measure looks at."""
    for moment in moments(run, settings.tasks, settings.moments):
        for index, seed in alive(run, moment, settings.seeds):
            yield moment, index, seed


def network(run: "RunView", index: int, moment: Moment) -> Stages:
    """Return one seed's network at a moment, in eval mode."""
    found = run.network(index, moment.checkpoint)
    if moment.moment == "init" and run.benchmark.reset_head:
        with torch.no_grad():
            for parameter in found.stages[HEAD].parameters():
                parameter.zero_()
    return found


@dataclass
class Samples:
    """The images of tasks that a measure looks at, drawn from the seed tree.

    Of a run in an environment: steps that the network itself takes there, from the start of an
    episode on, with the task's friction; the loss is that of training on them.
    """

    run: "RunView"
    images: int
    """At most how many."""
    added: bool = False
    """Only images that the task adds to those before it, where tasks grow."""
    _about: dict[tuple[int, str, str], dict[str, Any]] = field(default_factory=dict)

    def draw(self, index: int, task: int, split: str, of: Stages) -> Sample:
        """Return the sample of a task's ``train`` or ``held_out`` images for a seed by position.

        ``of`` is the network that is measured; what an agent meets depends on it.

        Raises:
            UserError: ``added`` with a benchmark whose tasks do not grow.
        """
        benchmark: Any = self.run.benchmark.alone(index)
        if not isinstance(benchmark, ImageBenchmark):
            met = benchmark.experience(of, task, self.images, split, self.run.spec["training"])
            self._note(index, task, split, met[0], torch.arange(len(met[0])))
            return Sample(met[0], met[1], None, met[2])
        inputs, targets, indices = self._images(benchmark, index, task, SPLITS[split])
        mask = benchmark.training_mask(task, None)
        outputs = None if mask is None else mask[0, 0]
        if outputs is not None:
            targets = (outputs.cumsum(0) - 1)[targets]
        self._note(index, task, split, inputs, indices)
        return Sample(inputs, targets, outputs)

    def _note(self, index: int, task: int, split: str, inputs: Tensor, indices: Tensor) -> None:
        about = probes.describe(split, inputs, indices)
        # Thousands of numbers for each of hundreds of tasks: the hash stands for them.
        del about["indices"]
        key = (task, split, about["sha256"])
        seen = self._about.setdefault(key, {"task": task, "seeds": [], **about})
        if (seed := self.run.seeds[index]) not in seen["seeds"]:
            seen["seeds"].append(seed)

    def _images(
        self, benchmark: ImageBenchmark, index: int, task: int, part: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self.added:
            return self.run.probe(part, self.images, task=task, seed_index=index)
        if not hasattr(benchmark, "added"):
            raise UserError(
                f"settings.added: the tasks of {self.run.folder} do not grow; leave it out"
            )
        available = torch.from_numpy(benchmark.added(task, part)[0])
        chosen = probes.choose(len(available), self.images, numpy_generator("probe", part))
        indices = available[torch.as_tensor(chosen)].to(self.run.device)
        inputs, targets = benchmark.fetch(indices[None], task)
        return inputs[0], targets[0], indices

    def about(self) -> list[dict[str, Any]]:
        """Return what identifies each sample that was used: task, seeds, split, hash."""
        return list(self._about.values())


def tabled(
    rows: Sequence[dict[str, Any]], columns: Mapping[str, str], samples: Samples
) -> pd.DataFrame:
    """Return a measure's rows by seed and task; ``attrs["probe"]`` identifies the samples.

    Args:
        rows: Values by column; NaN where one is missing.
        columns: Type of every column.
        samples: What was drawn.
    """
    frame = pd.DataFrame(rows, columns=list(columns)).astype(columns)
    frame = frame.sort_values(["seed", "task"], kind="stable", ignore_index=True)
    frame.attrs["probe"] = samples.about()
    return frame
