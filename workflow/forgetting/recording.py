"""The raw facts of a training: accuracies, the online curve, and which seeds diverged.

Losses stay on the device until a *chunk* of steps is over, so looking at them costs no
synchronisation inside a step. A seed whose loss stops being finite has diverged: its task and
step are recorded, and from there on it has no facts. That is a result, not an error.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

TOTAL = "total"
"""The fact that divergence is read from; the history leaves it out."""
ACCURACY = ("seed", "after_task", "task", "metric", "value")
HISTORY = ("seed", "task", "epoch", "step", "statistic", "value")


class Record:
    """Facts of the seeds of one training.

    ``accuracy`` holds rows of ``ACCURACY``, ``history`` rows of ``HISTORY``, ``diverged`` (task,
    step) by seed.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self.accuracy: list[list[Any]] = []
        self.history: list[list[Any]] = []
        self.diverged: dict[int, tuple[int, int]] = {}
        self._chunk: list[dict[str, Tensor]] = []

    @property
    def all_diverged(self) -> bool:
        """Whether no seed is left."""
        return len(self.diverged) == len(self.seeds)

    def _alive(self) -> list[tuple[int, int]]:
        """Return (position, seed) of the seeds that have not diverged."""
        return [(i, seed) for i, seed in enumerate(self.seeds) if seed not in self.diverged]

    def add_step(self, facts: dict[str, Tensor]) -> None:
        """Keep one step's facts, each (S,) on the device; ``TOTAL`` is among them."""
        self.add_steps({name: fact[None] for name, fact in facts.items()})

    def add_steps(self, facts: dict[str, Tensor]) -> None:
        """Keep the facts of n steps, each (n, S)."""
        self._chunk.append(facts)

    def close_chunk(self, *, task: int, epoch: int, step: int, at_once: bool = False) -> None:
        """Write the chunk's means to the history and note losses that are not finite.

        ``epoch`` and ``step`` (in the epoch, from 1) are those of the chunk's last step;
        ``at_once``: of all of them.
        """
        stacked = {name: torch.cat([f[name] for f in self._chunk]) for name in self._chunk[0]}
        means = {n: values.mean(dim=0).tolist() for n, values in stacked.items() if n != TOTAL}
        self.history += [
            [seed, task, epoch, step, name, values[position]]
            for position, seed in self._alive()
            for name, values in means.items()
        ]
        broken = ~stacked[TOTAL].isfinite()
        first = step if at_once else step - len(broken) + 1 + broken.int().argmax(dim=0)
        self._chunk = []
        self.note_divergence(broken.any(dim=0), task, first)

    def add_facts(
        self, task: int, epoch: int, step: int, values: Iterable[tuple[int, str, float]]
    ) -> None:
        """Write facts of single seeds, (position, statistic, value), to the history."""
        alive = dict(self._alive())
        self.history += [
            [alive[position], task, epoch, step, name, value]
            for position, name, value in values
            if position in alive
        ]

    def note_divergence(self, broken: Tensor, task: int, step: Tensor | int) -> None:
        """Note which seeds (S,) are not finite at a step; the first time counts."""
        for position, seed in self._alive():
            if broken[position]:
                at = int(step[position]) if isinstance(step, Tensor) else step
                self.diverged[seed] = (task, at)

    def add_accuracies(self, after: int, found: Iterable[tuple[int, str, list[float]]]) -> None:
        """Add (task, metric, values of the seeds), taken after training on task ``after``."""
        self.accuracy += [
            [seed, after, task, metric, values[position]]
            for task, metric, values in found
            for position, seed in self._alive()
        ]

    def training_accuracy(self, task: int, epoch: int) -> float:
        """Return the accuracy of one seed's batches, each before its step, mean over an epoch.

        Raises:
            ValueError: There are several seeds.
        """
        if len(self.seeds) > 1:
            raise ValueError("several seeds, each with an accuracy of its own")
        values, before = [], 0
        for _, _, _, step, _, value in (
            row
            for row in self.history
            if row[1] == task and row[2] == epoch and row[4] == "accuracy"
        ):
            values.append((step - before) * value)
            before = step
        return sum(values) / before

    def state(self) -> dict[str, Any]:
        """Return all of it as plain data and tensors."""
        return {
            "chunk": self._chunk,
            "accuracy": self.accuracy,
            "history": self.history,
            "diverged": {str(seed): list(at) for seed, at in self.diverged.items()},
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take over what ``state`` returned."""
        self._chunk = tree_map(lambda tensor: tensor.to(device), state["chunk"])
        self.accuracy, self.history = state["accuracy"], state["history"]
        self.diverged = {int(seed): tuple(at) for seed, at in state["diverged"].items()}
