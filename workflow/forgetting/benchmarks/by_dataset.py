"""A task for every data set: MNIST and then Fashion-MNIST, say.

The textbook case of forgetting hands one network from one data set to another. With a shared head
class k of each data set is output k, so the second task gives the outputs another meaning; with a
head of its own each data set has its own outputs. The order is that of the study's ``datasets``.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from forgetting.benchmarks._long import pool
from forgetting.benchmarks._relabelled import Relabelled, outputs_of
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Pool, Task


class Settings(Base):
    """The classes of every data set, the head, and the scale of pixels."""

    head: Literal["shared", "own"] = "shared"
    """One head, in which class k of every data set is output k, or a head for each data set."""
    classes: Annotated[list[list[str] | None], Field(min_length=1)] | None = None
    """By data set the classes that take part, in order; null: all."""
    pixels: Literal["unit", "normalised"] = "unit"
    """Pixels from 0 to 1, or with the mean and standard deviation of the first data set's training
    images made 0 and 1."""


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Return the tasks, the same for every seed.

    Raises:
        UserError: The data sets' images differ in shape, or classes are not listed for each.
    """
    key = f"benchmarks.{name}"
    sizes = {dataset.name: dataset.train_images.shape[1:] for dataset in datasets}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{of} {'x'.join(map(str, shape))}" for of, shape in sizes.items())
        raise UserError(f"{key}.datasets: images must be of one shape; found {found}")
    listed = settings.classes or [None] * len(datasets)
    if len(listed) != len(datasets):
        raise UserError(
            f"{key}.settings.classes: found {len(listed)} lists for {len(datasets)} data sets; "
            "give one for each, null for all classes"
        )
    groups = [
        outputs_of(
            dataset,
            list(dataset.class_names("fine")) if wanted is None else wanted,
            key=f"{key}.settings.classes.{number}",
        )
        for number, (dataset, wanted) in enumerate(zip(datasets, listed, strict=True))
    ]
    counts = [len(group) for group in groups]
    shared = settings.head == "shared"
    firsts = [0] * len(groups) if shared else np.cumsum([0, *counts[:-1]]).tolist()
    outputs = max(counts) if shared else sum(counts)
    whole, images, labels = _together(
        [pool(d, pixels=settings.pixels, device=device, dtype=dtype) for d in datasets]
    )
    known = whole.labels.cpu().numpy()
    table = np.full((len(groups), int(known.max()) + 1), -1, dtype=np.int64)
    tasks = []
    for number, (dataset, group) in enumerate(zip(datasets, groups, strict=True)):
        for output, classes in enumerate(group.values()):
            table[number, [labels[number] + fine for fine in classes]] = firsts[number] + output
        mine = np.arange(images[number], images[number + 1])
        mine = mine[table[number, known[mine]] >= 0]
        cut = images[number] + len(dataset.train_images)
        own = np.zeros(outputs, dtype=bool)
        own[firsts[number] : firsts[number] + counts[number]] = True
        tasks.append(Task(mine[mine < cut], mine[mine >= cut], own))
    names = [f"{position}" for position in range(outputs)]
    if not shared:
        names = [
            f"{d.name} {of}" for d, group in zip(datasets, groups, strict=True) for of in group
        ]
    channels, height, width = whole.images.shape[1:]
    return Relabelled(
        pool=whole,
        sequences=[tasks] * len(seeds),
        mask="none" if shared else "task",
        input_shape=(channels, height, width),
        outputs=outputs,
        output_names=tuple(names),
        table=torch.from_numpy(np.stack([table] * len(seeds))).to(device),
    )


def _together(pools: list[Pool]) -> tuple[Pool, list[int], list[int]]:
    """Return one pool, where the images of each begin and end, and where its labels begin."""
    images = np.cumsum([0, *(len(each.labels) for each in pools)]).tolist()
    firsts = np.cumsum([0, *(int(each.labels.max()) + 1 for each in pools)]).tolist()
    shifted = [each.labels + first for each, first in zip(pools, firsts, strict=False)]
    whole = Pool(
        images=torch.cat([each.images for each in pools]),
        labels=torch.cat(shifted),
        mean=pools[0].mean,
        std=pools[0].std,
    )
    return whole, images, firsts
