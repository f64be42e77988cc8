"""Tasks spelled out class by class: semantic set-ups, pairs of groups, an "other" class.

Ramasesh et al. (2021, arXiv 2007.07400) ask which second task makes a network forget the first:
{ship, truck} followed by {cat, horse} or by {plane, car}; four classes followed by two that are
like half of them; ten animals followed by ten artifacts. A study lists the classes of each task,
so any such question is an entry.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from forgetting.benchmarks._relabelled import build as of_classes
from forgetting.benchmarks._relabelled import outputs_of
from forgetting.datasets import Dataset
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark


class Settings(Base):
    """The classes of every task."""

    tasks: Annotated[list[dict[str, list[str]] | list[str]], Field(min_length=1)]
    """A task is a list of classes, each an output ("name/*": each class of a coarse class), or a
    mapping from outputs to the classes that each stands for, such as other: [bird, frog]."""
    head: Literal["own", "shared"] = "own"
    """A head for every task, or one in which outputs of one name are one output."""


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Return the tasks, the same for every seed."""
    (dataset,) = datasets
    tasks = [
        outputs_of(dataset, task, key=f"benchmarks.{name}.settings.tasks.{number}")
        for number, task in enumerate(settings.tasks)
    ]
    return of_classes(
        dataset, [tasks] * len(seeds), shared=settings.head == "shared", device=device, dtype=dtype
    )
