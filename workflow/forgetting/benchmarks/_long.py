"""What long task sequences share: tasks made when they are asked for, and the scale of pixels.

The protocols that look for loss of plasticity have 800 or 2,000 tasks, each with index arrays of
its own, of which one is in use at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from forgetting.datasets import Dataset
from forgetting.tasks import ImageBenchmark, Pool, Task


class Tasks(Sequence[Task]):
    """The tasks of one seed, made one at a time; the last two are remembered."""

    def __init__(self, tasks: int, make: Callable[[int], Task]) -> None:
        """Prepare ``tasks`` tasks; ``make`` returns the task at a position from 0."""
        self._positions = range(tasks)
        self._make = lru_cache(maxsize=2)(make)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: Any) -> Any:
        chosen = self._positions[position]
        return self._make(chosen) if isinstance(chosen, int) else [self._make(p) for p in chosen]


@dataclass(frozen=True)
class SharedOutputs(ImageBenchmark):
    """A benchmark whose outputs belong to every task, which is known without making the tasks."""

    def __post_init__(self) -> None:
        table = torch.ones(self.outputs, dtype=torch.bool, device=self.pool.images.device)
        object.__setattr__(self, "_outputs_of_tasks", table.expand(self.seeds, self.tasks, -1))


def pool(
    dataset: Dataset,
    *,
    pixels: str,
    device: torch.device,
    dtype: torch.dtype,
    labels: str = "fine",
) -> Pool:
    """Return the data set's images with its labels.

    Args:
        dataset: The data set.
        labels: ``fine`` or ``coarse``.
        pixels: ``unit``: inputs are the pixels on the scale 0 to 1; ``normalised``: with mean 0 and
            standard deviation 1 in every channel of the training images.
        device: Where the images are put.
        dtype: Type of the inputs.
    """
    normalised = Pool.of(dataset, labels=labels, device=device, dtype=dtype)
    if pixels == "normalised":
        return normalised
    mean, std = torch.zeros_like(normalised.mean), torch.ones_like(normalised.std)
    return replace(normalised, mean=mean, std=std)
