"""Tasks made of named classes: what an image is called depends on the task it is shown in.

A task is a mapping from its outputs to the classes of the data set that each stands for. With a
head of its own every task has a block of outputs; with a shared head, outputs of one name are one
output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.messages import allowed
from forgetting.tasks import ImageBenchmark, Pool, Task

Outputs = Mapping[str, Sequence[int]]
"""Numbers of the data set's fine classes by the output that stands for them."""
EVERY = "/*"


@dataclass(frozen=True)
class Relabelled(ImageBenchmark):
    """Targets depend on the task: ``table[seed, task - 1, class]`` is the output, -1 for none."""

    table: Tensor = field(kw_only=True)
    """(S, T, classes) int64."""

    def alone(self, seed: int) -> "Relabelled":
        """Return the benchmark of one seed (by position in the pack), sharing the pool."""
        return replace(self, sequences=[self.sequences[seed]], table=self.table[seed : seed + 1])

    def fetch(self, indices: Tensor, tasks: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return inputs (S, B, C, H, W) and targets (S, B) of samples drawn in their tasks."""
        seeds = torch.arange(len(indices), device=indices.device)[:, None]
        return self.pool.inputs(indices), self.table[seeds, tasks - 1, self.pool.labels[indices]]


def build(
    dataset: Dataset,
    tasks: Sequence[Sequence[Outputs]],
    *,
    shared: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Relabelled:
    """Return the benchmark of these tasks, ``tasks[seed][task]``; all seeds name equal outputs."""
    pool = Pool.of(dataset, labels="fine", device=device, dtype=dtype)
    labels, split = pool.labels.cpu().numpy(), len(dataset.train_images)
    names = [list(outputs) for outputs in tasks[0]]
    if shared:
        every = list(dict.fromkeys(name for task in names for name in task))
        places = [[every.index(name) for name in task] for task in names]
    else:
        every = [name for task in names for name in task]
        places = [list(block) for block in _blocks(names)]
    table = np.full((len(tasks), len(names), int(labels.max()) + 1), -1, dtype=np.int64)
    sequences = []
    for seed, sequence in enumerate(tasks):
        built = []
        for number, outputs in enumerate(sequence):
            for place, classes in zip(places[number], outputs.values(), strict=True):
                table[seed, number, list(classes)] = place
            chosen = np.flatnonzero(table[seed, number, labels] >= 0)
            own = np.zeros(len(every), dtype=bool)
            own[places[number]] = True
            built.append(Task(chosen[chosen < split], chosen[chosen >= split], own))
        sequences.append(built)
    channels, height, width = pool.images.shape[1:]
    same = all(set(task) == set(names[0]) for task in names)
    return Relabelled(
        pool=pool,
        sequences=sequences,
        mask="task" if not shared else "none" if same else "seen",
        input_shape=(channels, height, width),
        outputs=len(every),
        output_names=tuple(every),
        table=torch.from_numpy(table).to(device),
    )


def _blocks(names: Sequence[Sequence[str]]) -> list[range]:
    ends = np.cumsum([len(task) for task in names]).tolist()
    return [range(end - len(task), end) for end, task in zip(ends, names, strict=True)]


def members(dataset: Dataset, name: str, *, key: str) -> list[int]:
    """Return the numbers of the fine classes that a fine or coarse class's name stands for.

    Raises:
        UserError: The data set has no class of that name; the message lists those it has.
    """
    fine, coarse = dataset.class_names("fine"), dataset.class_names("coarse")
    if name in fine:
        return [fine.index(name)]
    if name in coarse:
        labels, groups = dataset.train_labels, dataset.train_coarse_labels
        assert groups is not None
        return np.unique(labels[groups == coarse.index(name)]).tolist()
    raise UserError(
        f'{key}: found "{name}", which is not a class of data set {dataset.name}; '
        f"{allowed(name, [*coarse, *fine])}"
    )


def outputs_of(
    dataset: Dataset, task: Mapping[str, Sequence[str]] | Sequence[str], *, key: str
) -> dict[str, list[int]]:
    """Return a task's outputs from the names that a study gives.

    A list makes an output of each name; a mapping names the outputs and lists their classes. A
    coarse class's name stands for all its fine classes together, and ``name/*`` in a list for each
    of them as an output of its own.

    Raises:
        UserError: A name is no class, or a class is named twice.
    """
    if isinstance(task, Mapping):
        outputs = {
            output: [number for name in names for number in members(dataset, name, key=key)]
            for output, names in task.items()
        }
    else:
        fine = dataset.class_names("fine")
        outputs = {}
        for name in task:
            if name.endswith(EVERY):
                each = members(dataset, name.removesuffix(EVERY), key=key)
                outputs |= {fine[number]: [number] for number in each}
            else:
                outputs[name] = members(dataset, name, key=key)
    named = [number for numbers in outputs.values() for number in numbers]
    if len(set(named)) < len(named):
        raise UserError(f"{key}: a class of data set {dataset.name} is named twice in one task")
    return outputs
