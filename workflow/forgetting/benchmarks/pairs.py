"""Two classes in every task, drawn from many: Continual ImageNet.

Each task tells two classes apart that the network has not seen together before; 1,000 classes make
500 tasks, after which classes come again (Dohare et al. 2024, Nature 632, 768-774). Two outputs
serve all tasks: the first class of a pair is output 0, the second output 1. A network that keeps
its plasticity does as well on the last pairs as on the first.

The two protocols, in their code: 600 training and 100 test images of each class, pixels as they
are stored, no augmentation. Dohare et al. set the head to zero at the start of every task
(``reset_head: true``) and go through the same order of classes again and again
(``used_up: repeat``); Prakash et al. (2025, arXiv 2509.22335) never reset the head and take
orders of at least 4,000 entries for 2,000 tasks, of which it is not known whether they repeat.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.benchmarks._long import SharedOutputs, Tasks, pool
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Task

ROOT = "pairs"


class Settings(Base):
    """How many tasks, and what they show."""

    tasks: Annotated[int, Field(ge=1)] = 2000
    """Number of tasks."""
    train_images: Annotated[int, Field(ge=1)] | None = 600
    """Training images of each class, the first of the data set; null: all."""
    test_images: Annotated[int, Field(ge=1)] | None = 100
    """Test images of each class, the first of the data set; null: all."""
    used_up: Literal["reshuffle", "repeat"] = "reshuffle"
    """When all classes were shown: draw a new order, so that they meet others, or go through the
    same pairs again (Dohare et al.). One class of an odd number sits out each round."""
    reset_head: bool = False
    """Whether the head is set to zero at the start of every task (Dohare et al.)."""
    pixels: Literal["unit", "normalised"] = "unit"
    """Pixels from 0 to 1, or with mean 0 and standard deviation 1."""


@dataclass(frozen=True)
class Pairs(SharedOutputs):
    """The target is whether an image is of the pair's second class."""

    second: Tensor = field(kw_only=True)
    """(S, T) int64: the second class of each task."""

    def alone(self, seed: int) -> "Pairs":
        """Return the benchmark of one seed (by position in the pack), sharing the pool."""
        return replace(self, sequences=[self.sequences[seed]], second=self.second[seed : seed + 1])

    def fetch(self, indices: Tensor, tasks: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return inputs (S, B, C, H, W) and targets (S, B) of samples drawn in their tasks."""
        inputs, labels = super().fetch(indices, tasks)
        if isinstance(tasks, int):
            second = self.second[:, tasks - 1, None]
        else:
            second = self.second.gather(1, tasks - 1)
        return inputs, (labels == second).long()


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Return the tasks of each seed.

    Draws do not depend on the benchmark's name, so benchmarks that differ in a setting have the
    order of classes in common.
    """
    (dataset,) = datasets
    of = pool(dataset, pixels=settings.pixels, device=device, dtype=dtype)
    classes = len(dataset.class_names("fine"))
    if classes < 2:
        raise UserError(f"benchmarks.{name}: data set {dataset.name} has one class; pairs need two")
    train = _members(dataset, "train", settings.train_images, name=name)
    test = _members(dataset, "test", settings.test_images, name=name)
    both = np.ones(2, dtype=bool)

    def sequence(pairs: np.ndarray) -> Tasks:
        def make(position: int) -> Task:
            first, second = pairs[position]
            return Task(
                np.concatenate([train[first], train[second]]),
                np.concatenate([test[first], test[second]]),
                both,
            )

        return Tasks(settings.tasks, make)

    pairs = np.stack([_pairs(settings, seed, classes) for seed in seeds])
    channels, height, width = of.images.shape[1:]
    return Pairs(
        pool=of,
        sequences=[sequence(own) for own in pairs],
        mask="none",
        input_shape=(channels, height, width),
        outputs=2,
        output_names=("first", "second"),
        reset_head=settings.reset_head,
        second=torch.from_numpy(np.ascontiguousarray(pairs[:, :, 1])).to(device),
    )


def _members(dataset: Dataset, part: str, images: int | None, *, name: str) -> list[np.ndarray]:
    """Return the pool indices of the first images of every class."""
    labels = getattr(dataset, f"{part}_labels")
    start = 0 if part == "train" else len(dataset.train_labels)
    known = dataset.class_names("fine")
    # Sorted once: a search for each of 1,000 classes would read all labels as often.
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(len(known) + 1))
    members = [start + order[a:b][:images] for a, b in pairwise(ends)]
    wanted = images or 1
    for label, found in zip(known, members, strict=True):
        if len(found) < wanted:
            raise UserError(
                f"benchmarks.{name}.settings.{part}_images: {wanted} of each class, and class "
                f"{label} of data set {dataset.name} has {len(found)}; set it to at most that, "
                "or to null for all"
            )
    return members


def _pairs(settings: Settings, seed: int, classes: int) -> np.ndarray:
    """Return the two classes of every task, (T, 2)."""
    half = classes // 2
    rounds = -(-settings.tasks // half)
    drawn = []
    for number in range(1, rounds + 1):
        node = number if settings.used_up == "reshuffle" else 1
        order = numpy_generator(ROOT, seed, "class order", node).permutation(classes)
        drawn.append(order[: 2 * half].reshape(half, 2))
    return np.concatenate(drawn)[: settings.tasks]
