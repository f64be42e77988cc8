"""The order in which an epoch's samples are trained on: a function of the seed tree alone.

Apart from the training loop, because a measure may follow a training's steps once more.
"""

from collections.abc import Sequence

import numpy as np

from forgetting.randomness import numpy_generator
from forgetting.tasks import ImageBenchmark


def epoch_order(
    benchmark: ImageBenchmark,
    tasks: Sequence[int],
    *,
    name: str,
    seeds: Sequence[int],
    task: int,
    epoch: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pool indices of an epoch's samples in order, and the task of each, (S, n) both.

    Args:
        benchmark: The tasks, for these seeds.
        tasks: Tasks (from 1) whose training images make up the epoch.
        name: The benchmark's name: the root of the seed tree.
        seeds: The seeds.
        task: The phase's own task.
        epoch: The epoch within the phase, from 0.
    """
    indices, owners = benchmark.train_indices(tasks), benchmark.task_numbers(tasks)
    order = np.stack(
        [
            numpy_generator(name, seed, "data order", task, epoch).permutation(indices.shape[1])
            for seed in seeds
        ]
    )
    return np.take_along_axis(indices, order, 1), np.take_along_axis(owners, order, 1)
