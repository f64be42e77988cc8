"""The same superclasses in every task, shown by other subclasses: a shift of the inputs.

The second kind of task of Ramasesh et al. (2021, arXiv 2007.07400): the labels are superclasses
and stay, the images of each come from other subclasses; one head serves all tasks. Any data set
with fine and coarse labels will do: CIFAR-100 and its superclasses, groups of ImageNet classes,
or faces by attribute (coarse) and sex (fine). Which superclasses and subclasses the paper took is
not known to us.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from forgetting.benchmarks._relabelled import build as of_classes
from forgetting.benchmarks._relabelled import members
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark


class Settings(Base):
    """Which superclasses, and how their subclasses are dealt out."""

    superclasses: list[str] | None = None
    """Superclasses by name; null: all of the data set."""
    tasks: Annotated[int, Field(ge=1)] = 2
    """Number of tasks."""
    subclasses: Annotated[int, Field(ge=1)] = 1
    """Subclasses of each superclass in a task."""
    order: Literal["natural", "seeded"] = "natural"
    """Subclasses in label order, or in an order drawn from the seed."""
    altered: list[str] | None = None
    """Superclasses whose subclasses change from task to task, the others keep those of task 1;
    null: all change."""


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Deal the subclasses of every superclass out over the tasks, for each seed."""
    (dataset,) = datasets
    key = f"benchmarks.{name}.settings"
    known = dataset.class_names("coarse")
    if not known:
        raise UserError(
            f"benchmarks.{name}: data set {dataset.name} has no coarse labels; name one that has"
        )
    chosen = list(known) if settings.superclasses is None else settings.superclasses
    altered = chosen if settings.altered is None else settings.altered
    for field, names, options in (
        ("superclasses", chosen, known),
        ("altered", altered, chosen),
    ):
        for wrong in [each for each in names if each not in options]:
            raise UserError(f'{key}.{field}: found "{wrong}"; allowed: {", ".join(options)}')
    sequences = []
    for seed in seeds:
        tasks: list[dict[str, list[int]]] = [{} for _ in range(settings.tasks)]
        for superclass in chosen:
            fine = np.array(members(dataset, superclass, key=f"{key}.superclasses"))
            needed = settings.subclasses * (settings.tasks if superclass in altered else 1)
            if len(fine) < needed:
                raise UserError(
                    f"{key}.subclasses: {settings.tasks} tasks of {settings.subclasses} need "
                    f"{needed} subclasses, and {superclass} of data set {dataset.name} has "
                    f"{len(fine)}"
                )
            if settings.order == "seeded":
                fine = fine[
                    numpy_generator(name, seed, "subclasses", superclass).permutation(len(fine))
                ]
            for number, task in enumerate(tasks):
                start = settings.subclasses * (number if superclass in altered else 0)
                task[superclass] = fine[start : start + settings.subclasses].tolist()
        sequences.append(tasks)
    return of_classes(dataset, sequences, shared=True, device=device, dtype=dtype)
