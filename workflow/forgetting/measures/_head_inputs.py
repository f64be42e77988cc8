"""What a network makes of the training images of a task: the inputs of its head, its choices."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from forgetting import probes
from forgetting.devices import forward_batch
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.stages import HEAD, Stages
from forgetting.tasks import ImageBenchmark


class Seen(NamedTuple):
    """n images of a task with C outputs in a network."""

    features: Tensor
    """(n, d): inputs of the head."""
    labels: Tensor
    """(n,) int64, from 0 to C - 1."""
    predicted: Tensor
    """(n,) int64: the largest logit among the task's outputs."""


def training_images(benchmark: ImageBenchmark, task: int, images: int | None) -> np.ndarray:
    """Return pool indices (n,) of at most so many (None: all) training images of one seed's task.

    The same for every run on the benchmark, and for every seed whose tasks are the same.
    """
    available = np.sort(benchmark.train_indices([task])[0])
    if images is None:
        return available
    return available[probes.choose(len(available), images, numpy_generator("probe", "train"))]


def linear_head(network: Stages) -> nn.Linear:
    """Return the head.

    Raises:
        UserError: It is not linear.
    """
    head = network.stages[HEAD]
    if not isinstance(head, nn.Linear):
        raise UserError("measure neural_collapse needs a network with a linear head")
    return head


def has_batch_norm(network: Stages) -> bool:
    """Whether train mode and eval mode differ."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def look(
    network: Stages,
    benchmark: ImageBenchmark,
    images: np.ndarray,
    task: int,
    *,
    batch: int | None = None,
) -> Seen:
    """Show images of a task to a network, which stays as it is.

    Args:
        network: The network.
        benchmark: The tasks of one seed.
        images: Pool indices (n,).
        task: The task, from 1.
        batch: None: in eval mode. Else in train mode, so many at a time in this order; a last
            batch of a single image, which has no variance, joins the one before.
    """
    device = benchmark.pool.images.device
    # In train mode batch norm writes its running statistics: into a copy.
    network = network.eval() if batch is None else copy.deepcopy(network).train()
    head, below = linear_head(network), list(network.stages.values())[:-1]
    (outputs,) = benchmark.outputs_of(task)
    parts = list(torch.from_numpy(images).to(device).split(batch or forward_batch(device)))
    if batch is not None and len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    found = []
    for part in parts:
        inputs, (targets,) = benchmark.fetch(part[None], task)
        features = inputs[0]
        for stage in below:
            features = stage(features)
        predicted = head(features)[:, outputs].argmax(1)
        found.append(Seen(features.flatten(1), (outputs.cumsum(0) - 1)[targets], predicted))
    return Seen(*(torch.cat(each) for each in zip(*found, strict=True)))
