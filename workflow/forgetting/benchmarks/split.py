"""Split benchmarks: one data set, its classes dealt out over a sequence of tasks.

Split MNIST is five tasks of two digits, Split CIFAR-100 ten tasks of ten classes. The scenarios
are those of van de Ven & Tolias (2019, "Three scenarios for continual learning"): in
*task-incremental* learning the task is known when testing and each task has a head of its own;
in *class-incremental* learning one head tells all classes seen so far apart.

A head of its own is a block of outputs of one linear layer: outputs of other tasks are left out
of the softmax, so they neither receive gradients nor compete.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Pool, Task


class Settings(Base):
    """How the classes are dealt out."""

    tasks: Annotated[int, Field(ge=1)] = 5
    """Number of tasks; must divide the number of classes."""
    scenario: Literal["task_incremental", "class_incremental"] = "task_incremental"
    """One head a task, or one head for all classes."""
    mask: Literal["seen", "task", "none"] | None = None
    """Outputs that compete in the training loss: of classes seen so far (default of
    class-incremental), of the sample's own task (default of task-incremental), or all."""
    class_order: Literal["natural", "seeded"] = "natural"
    """Classes in label order, or in an order drawn from the seed."""
    labels: Literal["fine", "coarse"] = "fine"
    """Which labels of the data set are the classes."""


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Deal the classes of the data set out over the tasks, for each seed.

    ``name`` is the benchmark's name in the study: the root of its part of the seed tree.
    """
    (dataset,) = datasets
    mask = settings.mask or ("task" if settings.scenario == "task_incremental" else "seen")
    if settings.scenario == "task_incremental" and mask != "task":
        raise UserError(
            f"benchmarks.{name}.settings.mask: '{mask}' contradicts scenario task_incremental, "
            "where each task has a head of its own; leave mask out or set scenario: "
            "class_incremental"
        )
    pool = Pool.of(dataset, labels=settings.labels, device=device, dtype=dtype)
    labels = pool.labels.cpu().numpy()
    classes = int(labels.max()) + 1
    if classes % settings.tasks:
        raise UserError(
            f"benchmarks.{name}.settings.tasks: {settings.tasks} tasks do not divide the "
            f"{classes} classes of data set {dataset.name}; choose one of "
            f"{[k for k in range(1, classes + 1) if classes % k == 0]}"
        )
    split = len(dataset.train_images)
    members = [np.flatnonzero(labels == label) for label in range(classes)]
    sequences = []
    for seed in seeds:
        order = np.arange(classes)
        if settings.class_order == "seeded":
            order = numpy_generator(name, seed, "class order").permutation(classes)
        sequence = []
        for chosen in order.reshape(settings.tasks, -1):
            indices = np.sort(np.concatenate([members[label] for label in chosen]))
            outputs = np.zeros(classes, dtype=bool)
            outputs[chosen] = True
            sequence.append(Task(indices[indices < split], indices[indices >= split], outputs))
        sequences.append(sequence)
    channels, height, width = pool.images.shape[1:]
    return ImageBenchmark(
        pool=pool,
        sequences=sequences,
        mask=mask,
        input_shape=(channels, height, width),
        outputs=classes,
        output_names=dataset.class_names(settings.labels),
    )
