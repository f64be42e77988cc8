"""A growing set of classes: every task adds some to those seen so far (incremental CIFAR-100).

Dohare et al. (2024, Nature 632, 768-774) add five classes of CIFAR-100 at a time and train on
all classes seen so far, so nothing need be forgotten; what suffers is the ability to learn, seen
against a network trained anew on as many classes. One head has an output for every class; those
not yet seen are left out of the softmax, in training and in testing.

The two protocols, in their code: 20 tasks of five more classes, order from the seed, 200 epochs
each. Dohare et al. set the first 50 of the 500 training images of a class aside (``validation``),
and each increment ends with the weights that were best on them (``training.restore_best``; the
accuracy after it is here that of these weights). They normalise the pixels and augment: flip 0.5,
padding 4, rotation 15 (their code augments the test images as well; here they never are). Prakash
et al. (2025, arXiv 2509.22335) do none of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.augmentation import augmentations
from forgetting.benchmarks._long import pool
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Task

ROOT = "incremental"


class Settings(Base):
    """How classes are added, and how images are shown."""

    tasks: Annotated[int, Field(ge=1)] = 20
    """Number of tasks."""
    classes: Annotated[int, Field(ge=1)] = 5
    """Classes that each task adds."""
    train_on: Literal["seen", "new"] = "seen"
    """Train on the images of all classes seen so far (both sources), or of the new ones only."""
    class_order: Literal["seeded", "natural"] = "seeded"
    """Classes in an order drawn from the seed (both sources), or in label order."""
    validation: Annotated[int, Field(ge=0)] = 0
    """Training images of every class, the first of it, that are not trained on and tell which epoch
    was best (50: Dohare et al.)."""
    pixels: Literal["unit", "normalised"] = "unit"
    """Pixels from 0 to 1 (Prakash et al.), or with mean 0 and standard deviation 1 (Dohare et
    al.)."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a training image is flipped from left to right (0.5: Dohare et al.)."""
    padding: Annotated[int, Field(ge=0)] = 0
    """Pixels of reflection around a training image, out of which a window of the image's size is
    taken at random (4: Dohare et al.)."""
    rotation: Annotated[float, Field(ge=0, lt=360)] = 0.0
    """Largest angle, in degrees, by which a training image is rotated (15: Dohare et al.)."""


@dataclass(frozen=True)
class Incremental(ImageBenchmark):
    """The outputs of a task are all classes seen so far; training images may be augmented."""

    flip: float = field(kw_only=True)
    padding: int = field(kw_only=True)
    rotation: float = field(kw_only=True)

    def augment(self, inputs: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Return training inputs (S, B, C, H, W), transformed at random; a generator a seed."""
        if not (self.flip or self.padding or self.rotation):
            return inputs
        return augmentations(
            inputs, generators, flip=self.flip, padding=self.padding, rotation=self.rotation
        )

    def added(self, task: int, part: str) -> np.ndarray:
        """Return the indices of the ``train`` or ``test`` images that a task adds, (S, n)."""
        rows = []
        for sequence in self.sequences:
            now = getattr(sequence[task - 1], part)
            before = getattr(sequence[task - 2], part) if task > 1 else now[:0]
            rows.append(np.setdiff1d(now, before))
        return np.stack(rows)


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
    key = f"benchmarks.{name}.settings"
    names = dataset.class_names("fine")
    if settings.tasks * settings.classes > len(names):
        raise UserError(
            f"{key}.tasks: {settings.tasks} tasks of {settings.classes} more classes need "
            f"{settings.tasks * settings.classes}, and data set {dataset.name} has {len(names)}; "
            f"set it to at most {len(names) // settings.classes}"
        )
    of = pool(dataset, pixels=settings.pixels, device=device, dtype=dtype)
    channels, height, width = of.images.shape[1:]
    if settings.padding >= min(height, width):
        raise UserError(
            f"{key}.padding: {settings.padding} pixels of reflection, and the images of data set "
            f"{dataset.name} are {height}x{width}; set it to at most {min(height, width) - 1}"
        )
    labels, cut = of.labels.cpu().numpy(), len(dataset.train_images)
    aside = _first_of_every_class(labels[:cut], settings.validation)
    counts = np.bincount(labels[:cut], minlength=len(names))
    if settings.validation and settings.validation >= counts.min():
        raise UserError(
            f"{key}.validation: {settings.validation} images of every class are set aside, and "
            f"data set {dataset.name} has {counts.min()} of one to train on; "
            f"set it to at most {max(0, counts.min() - 1)}"
        )
    sequences = []
    for seed in seeds:
        order = np.arange(len(names))
        if settings.class_order == "seeded":
            order = numpy_generator(ROOT, seed, "class order").permutation(len(names))
        sequence = []
        for number in range(1, settings.tasks + 1):
            seen = np.zeros(len(names), dtype=bool)
            seen[order[: number * settings.classes]] = True
            trained = seen.copy()
            if settings.train_on == "new":
                trained[order[: (number - 1) * settings.classes]] = False
            train = np.flatnonzero(trained[labels[:cut]] & ~aside)
            test = cut + np.flatnonzero(seen[labels[cut:]])
            sequence.append(Task(train, test, seen, np.flatnonzero(seen[labels[:cut]] & aside)))
        sequences.append(sequence)
    return Incremental(
        pool=of,
        sequences=sequences,
        mask="seen",
        input_shape=(channels, height, width),
        outputs=len(names),
        output_names=names,
        flip=settings.flip,
        padding=settings.padding,
        rotation=settings.rotation,
    )


def _first_of_every_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Return which of some labels are among the first ``count`` of their class, (N,) bool."""
    first = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        first[np.flatnonzero(labels == label)[:count]] = True
    return first
