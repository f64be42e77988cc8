"""Task sequences over resident images: what the benchmarks build and the training loop reads.

All images of a run, training and test, lie in one *pool* of uint8 tensors on the device; a task
is index arrays into it. A batch is therefore an index tensor, a replay buffer a list of indices,
and no image is ever copied from the host during training.

Shapes: S seeds of a pack, T tasks, K outputs, B samples of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from forgetting.datasets import Dataset
from forgetting.errors import UserError

MaskRule = Literal["seen", "task", "none"]
Indices = np.ndarray


class Inputs(Protocol):
    """What a step is taken on: inputs, and whatever else its loss needs."""

    @property
    def inputs(self) -> Tensor:
        """(B, ...)."""


class Batch(NamedTuple):
    """One network's batch: the first ``new`` samples come from the current task's stream."""

    inputs: Tensor
    """(B, C, H, W), normalised."""
    targets: Tensor
    """(B,) int64, indices of outputs."""
    mask: Tensor | None
    """Outputs that compete in the cross-entropy, bool, (K,) or (B, K); None: all."""


@dataclass(frozen=True)
class Task:
    """One task of one seed."""

    train: Indices
    """Indices into the pool of the images trained on."""
    test: Indices
    """Indices into the pool of the images tested on."""
    outputs: np.ndarray
    """(K,) bool: the outputs that belong to the task."""
    validation: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    """Indices into the pool of images that tell which epoch was best; of few benchmarks."""


@dataclass(frozen=True)
class Pool:
    """Images of one or more data sets on the device, with their labels."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""
    mean: Tensor
    """(C, 1, 1) of the training images, on the scale 0 to 1."""
    std: Tensor

    @classmethod
    def of(
        cls, dataset: Dataset, *, labels: str, device: torch.device, dtype: torch.dtype
    ) -> "Pool":
        """Put training and then test images on the device, with their fine or coarse labels."""
        prefix = {"fine": "labels", "coarse": "coarse_labels"}[labels]
        train, test = (getattr(dataset, f"{part}_{prefix}") for part in ("train", "test"))
        if train is None or test is None:
            raise UserError(
                f"data set {dataset.name} has no {labels} labels; "
                "give train_coarse_labels and test_coarse_labels, or set labels: fine"
            )
        images = np.concatenate([dataset.train_images, dataset.test_images]).transpose(0, 3, 1, 2)
        scaled = dataset.train_images.reshape(-1, dataset.train_images.shape[-1])
        mean = scaled.mean(axis=0, dtype=np.float64) / 255
        std = np.maximum(scaled.std(axis=0, dtype=np.float64) / 255, 1 / 255)
        return cls(
            images=torch.from_numpy(np.ascontiguousarray(images)).to(device),
            labels=torch.from_numpy(np.concatenate([train, test]).astype(np.int64)).to(device),
            mean=torch.from_numpy(mean).to(device, dtype)[:, None, None],
            std=torch.from_numpy(std).to(device, dtype)[:, None, None],
        )

    def inputs(self, indices: Tensor) -> Tensor:
        """Return the normalised images at ``indices``, (..., C, H, W)."""
        # index_select copies whole images; indexing with a tensor goes pixel by pixel.
        chosen = self.images.index_select(0, indices.flatten()).to(self.mean.dtype)
        normalised = chosen.sub_(self._shift).mul_(self._scale)
        return normalised.view(*indices.shape, *self.images.shape[1:])

    @cached_property
    def _shift(self) -> Tensor:
        return 255 * self.mean

    @cached_property
    def _scale(self) -> Tensor:
        return 1 / (255 * self.std)


class Benchmark(Protocol):
    """A sequence of tasks for each seed of a pack: of images, or of an environment."""

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of inputs and weights."""
        ...

    @property
    def tasks(self) -> int:
        """Number of tasks T."""
        ...

    @property
    def seeds(self) -> int:
        """Number of seeds S."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def outputs(self) -> int:
        """Number of outputs, or of actions."""
        ...

    def rectangular(self) -> bool:
        """Whether seeds can be trained side by side."""
        ...

    def alone(self, seed: int) -> "Benchmark":
        """Return the benchmark of one seed, by position in the pack."""
        ...

    def same_task(self, other: Any, task: int) -> bool:
        """Whether a task of another benchmark of the same kind and size is the same."""
        ...

    def described(self) -> list[dict[str, Any]]:
        """Return what run.json says of each task."""
        ...


@dataclass(frozen=True)
class ImageBenchmark:
    """A sequence of classification tasks for each seed of a pack, over one pool of images.

    Benchmarks whose inputs or labels depend on the task override ``fetch``, those that transform
    training images at random ``augment``.
    """

    pool: Pool
    sequences: Sequence[Sequence[Task]]
    """One sequence of tasks per seed; all of equal length."""
    mask: MaskRule
    """Outputs that compete in the training loss: those of tasks seen so far, of the sample's own
    task, or all."""
    input_shape: tuple[int, int, int]
    outputs: int
    output_names: tuple[str, ...] = ()
    """What the outputs stand for, (K,); empty where the data set names no classes."""
    reset_head: bool = False
    """Whether the head is set to zero at the start of every task."""
    _outputs_of_tasks: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        table = np.stack([[task.outputs for task in tasks] for tasks in self.sequences])
        object.__setattr__(
            self, "_outputs_of_tasks", torch.from_numpy(table).to(self.pool.images.device)
        )

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.pool.images.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of inputs and weights."""
        return self.pool.mean.dtype

    @property
    def tasks(self) -> int:
        """Number of tasks T."""
        return len(self.sequences[0])

    @property
    def seeds(self) -> int:
        """Number of seeds S."""
        return len(self.sequences)

    def rectangular(self) -> bool:
        """Whether all seeds have tasks of equal sizes, so that their batches can be stacked."""
        return all(
            len({len(getattr(task, part)) for task in column}) == 1
            for column in zip(*self.sequences, strict=True)
            for part in ("train", "test", "validation")
        )

    def described(self) -> list[dict[str, Any]]:
        """Return what run.json says of each task: the outputs, for every seed."""
        return [
            {"outputs": [task.outputs.nonzero()[0].tolist() for task in column]}
            for column in zip(*self.sequences, strict=True)
        ]

    def alone(self, seed: int) -> "ImageBenchmark":
        """Return the benchmark of one seed (by position in the pack), sharing the pool."""
        return replace(self, sequences=[self.sequences[seed]])

    def same_task(self, other: "ImageBenchmark", task: int) -> bool:
        """Whether a task of another benchmark of as many seeds is the same: images, targets."""
        for seed, (mine, theirs) in enumerate(zip(self.sequences, other.sequences, strict=True)):
            arrays = zip(
                vars(mine[task - 1]).values(), vars(theirs[task - 1]).values(), strict=True
            )
            if not all(np.array_equal(a, b) for a, b in arrays):
                return False
            indices = torch.from_numpy(mine[task - 1].test)[None].to(self.pool.images.device)
            seen, expected = (each.alone(seed).fetch(indices, task) for each in (self, other))
            if not all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True)):
                return False
        return True

    def train_indices(self, tasks: Sequence[int]) -> np.ndarray:
        """Return the indices of the training images of the tasks (from 1) together, (S, n)."""
        return np.stack(
            [np.concatenate([sequence[t - 1].train for t in tasks]) for sequence in self.sequences]
        )

    def task_numbers(self, tasks: Sequence[int]) -> np.ndarray:
        """Return the task number of each entry of ``train_indices(tasks)``, (S, n)."""
        return np.stack(
            [
                np.concatenate([np.full(len(sequence[t - 1].train), t) for t in tasks])
                for sequence in self.sequences
            ]
        )

    def test_indices(self, task: int) -> np.ndarray:
        """Return the indices of the task's test images, (S, n)."""
        return np.stack([sequence[task - 1].test for sequence in self.sequences])

    def validation_indices(self, task: int) -> np.ndarray:
        """Return the indices of the task's validation images, (S, n)."""
        return np.stack([sequence[task - 1].validation for sequence in self.sequences])

    def fetch(self, indices: Tensor, tasks: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return inputs (S, B, C, H, W) and targets (S, B) of samples drawn in their tasks."""
        return self.pool.inputs(indices), self.pool.labels[indices]

    def augment(self, inputs: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
        """Return a training batch (S, B, C, H, W), transformed at random; a generator a seed."""
        return inputs

    def outputs_of(self, task: int) -> Tensor:
        """Return the outputs of a task, (S, K) bool."""
        return self._outputs_of_tasks[:, task - 1]

    def outputs_until(self, task: int) -> Tensor:
        """Return the outputs of the tasks up to and with ``task``, (S, K) bool."""
        return self._outputs_of_tasks[:, :task].any(dim=1)

    def old_groups(self, task: int) -> Tensor:
        """Return the groups of outputs that compete with each other in earlier tasks, (S, G, K).

        With a head a task (mask ``task``) each earlier task is a group; with one shared head all
        outputs of earlier tasks are one. Without an earlier task G is 0.
        """
        earlier = self._outputs_of_tasks[:, : task - 1]
        if self.mask == "task" or task == 1:
            return earlier
        return earlier.any(dim=1, keepdim=True)

    def training_mask(self, current: int, tasks: Tensor | None) -> Tensor | None:
        """Return the outputs that compete in the loss: (S, 1, K), (S, B, K), or None for all.

        ``tasks`` (S, B) are the samples' own tasks; None says that all belong to ``current``.
        """
        if self.mask == "none":
            return None
        if self.mask == "seen":
            return self.outputs_until(current)[:, None]
        if tasks is None:
            return self.outputs_of(current)[:, None]
        return torch.stack(
            [table[own - 1] for table, own in zip(self._outputs_of_tasks, tasks, strict=True)]
        )
