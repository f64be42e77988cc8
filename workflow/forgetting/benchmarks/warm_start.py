"""The same classes, first on a part of the training images, then on all: warm-starting.

Ash & Adams (2020, arXiv 1910.08475) train on a random half of the images and then go on with all
of them: the network ends worse than one that saw all from the start. Bonifazi et al. (2024, arXiv
2404.02719) take the accuracy that is reached in the end for plasticity, from many moments of the
first phase. Every task is tested on all test images.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from forgetting.benchmarks._long import pool
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Task

ROOT = "warm-start"


class Settings(Base):
    """How much of the images each task trains on."""

    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        0.5,
        1.0,
    )
    """Share of the training images in every task, drawn for each seed; a smaller share is part of
    a larger one."""
    labels: Literal["fine", "coarse"] = "fine"
    """Which of the data set's labels are learned."""
    pixels: Literal["unit", "normalised"] = "normalised"
    """Pixels from 0 to 1, or with mean 0 and standard deviation 1 in every channel."""


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

    Raises:
        UserError: A share is less than one image.
    """
    (dataset,) = datasets
    train, test = len(dataset.train_images), len(dataset.test_images)
    counts = [round(share * train) for share in settings.shares]
    if min(counts) < 1:
        raise UserError(
            f"benchmarks.{name}.settings.shares: {min(settings.shares):g} of {train} training "
            f"images is none; give at least {1 / train:g}"
        )
    names = dataset.class_names(settings.labels)
    own = np.ones(len(names), dtype=bool)

    def sequence(seed: int) -> list[Task]:
        order = numpy_generator(ROOT, seed, "images").permutation(train)
        tested = np.arange(train, train + test)
        return [Task(np.sort(order[:count]), tested, own) for count in counts]

    of = pool(dataset, pixels=settings.pixels, labels=settings.labels, device=device, dtype=dtype)
    channels, height, width = of.images.shape[1:]
    return ImageBenchmark(
        pool=of,
        sequences=[sequence(seed) for seed in seeds],
        mask="none",
        input_shape=(channels, height, width),
        outputs=len(names),
        output_names=names,
    )
