"""The same images in every task, their pixels in another order: Online Permuted MNIST.

Introduced for forgetting (Goodfellow et al. 2013, arXiv 1312.6211) and, with hundreds of tasks
that are each seen once, sample by sample, for loss of plasticity (Dohare et al. 2024, Nature 632,
768-774; Prakash et al. 2025, arXiv 2509.22335). All tasks are equally hard for a fresh network,
so a decline of the online accuracy is the network's. One head serves all tasks and is never reset.

Of the two protocols, in their code: both have 800 tasks, permute the first one too, compose each
permutation with those before it, show pixels from 0 to 1 without normalising them, and shuffle
the 60,000 training images anew for each task. Dohare et al. train on all of them (``held_out:
0``), or, where tasks are shorter, on the first of the shuffled ones (``images``); Prakash et al.
train on 58,000 and hold out the other 2,000, others in every task.

A composition of uniform permutations is uniform and independent of those before it, so
``composed`` and ``fresh`` are the same distribution; they differ in the draw alone.
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

ROOT = "permuted"


class Settings(Base):
    """How many tasks, what they show, and in which order of pixels."""

    tasks: Annotated[int, Field(ge=1)] = 800
    """Number of tasks."""
    permutations: Literal["composed", "fresh"] = "composed"
    """A task permutes the pixels of the task before it (both sources), or the original ones."""
    first: Literal["permuted", "identity"] = "permuted"
    """Whether the first task is permuted (both sources) or shows the images as they are."""
    images: Annotated[int, Field(ge=1)] | None = None
    """Training images of a task; null: all that are not held out."""
    draw: Literal["fresh", "same"] = "fresh"
    """Which images are trained on and held out: others in each task (both sources), or the same
    in all of them."""
    held_out: Annotated[int, Field(ge=0)] = 2000
    """Training images of a task that are tested on instead (2,000: Prakash et al.); 0: test on
    the data set's test images."""
    pixels: Literal["unit", "normalised"] = "unit"
    """Pixels from 0 to 1 (both sources), or with mean 0 and standard deviation 1."""


@dataclass(frozen=True)
class Permuted(SharedOutputs):
    """Each task shows the images with their pixels in an order of its own."""

    permutations: Tensor = field(kw_only=True)
    """(S, T, H * W) int64: the place in the image that each pixel shown is taken from."""

    def alone(self, seed: int) -> "Permuted":
        """Return the benchmark of one seed (by position in the pack), sharing the pool."""
        own = self.permutations[seed : seed + 1]
        return replace(self, sequences=[self.sequences[seed]], permutations=own)

    def rectangular(self) -> bool:
        """Whether all seeds have tasks of equal sizes: always."""
        return True

    def fetch(self, indices: Tensor, tasks: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return inputs (S, B, C, H, W) and targets (S, B) of samples drawn in their tasks."""
        inputs, targets = super().fetch(indices, tasks)
        pixels = inputs.flatten(-2)
        if isinstance(tasks, int) and self.seeds == 1:
            shown = pixels.index_select(-1, self.permutations[0, tasks - 1])
        else:
            if isinstance(tasks, int):
                order = self.permutations[:, tasks - 1, None]
            else:
                seeds = torch.arange(self.seeds, device=tasks.device)[:, None]
                order = self.permutations[seeds, tasks - 1]
            shown = pixels.gather(-1, order[:, :, None].expand_as(pixels))
        return shown.view_as(inputs), targets


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

    Draws do not depend on the benchmark's name, and those of a task not on how many follow, so
    benchmarks that differ in a setting have in common what the setting leaves alone.
    """
    (dataset,) = datasets
    train, test = len(dataset.train_images), len(dataset.test_images)
    images = train - settings.held_out if settings.images is None else settings.images
    if images < 1 or settings.held_out + images > train:
        raise UserError(
            f"benchmarks.{name}.settings: held_out ({settings.held_out}) and images "
            f"({settings.images or 'null'}) need at least {settings.held_out + max(images, 1)} "
            f"training images, and data set {dataset.name} has {train}"
        )
    of = pool(dataset, pixels=settings.pixels, device=device, dtype=dtype)
    channels, height, width = of.images.shape[1:]
    names = dataset.class_names("fine")
    own = np.ones(len(names), dtype=bool)

    def sequence(seed: int) -> Tasks:
        def make(position: int) -> Task:
            number = position + 1 if settings.draw == "fresh" else 0
            chosen = numpy_generator(ROOT, seed, "images", number).permutation(train)
            kept = np.sort(chosen[settings.held_out : settings.held_out + images])
            if settings.held_out:
                return Task(kept, np.sort(chosen[: settings.held_out]), own)
            return Task(kept, np.arange(train, train + test), own)

        return Tasks(settings.tasks, make)

    orders = np.stack([_permutations(settings, seed, height * width) for seed in seeds])
    return Permuted(
        pool=of,
        sequences=[sequence(seed) for seed in seeds],
        mask="none",
        input_shape=(channels, height, width),
        outputs=len(names),
        output_names=names,
        permutations=torch.from_numpy(orders).to(device),
    )


def _permutations(settings: Settings, seed: int, pixels: int) -> np.ndarray:
    """Return the order of the pixels in every task, (T, pixels)."""
    orders = np.stack(
        [
            numpy_generator(ROOT, seed, "pixels", task).permutation(pixels)
            for task in range(1, settings.tasks + 1)
        ]
    )
    if settings.first == "identity":
        orders[0] = np.arange(pixels)
    if settings.permutations == "composed":
        for before, order in pairwise(orders):
            order[:] = before[order]
    return orders
