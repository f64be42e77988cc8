"""Control benchmarks: an environment that changes from task to task, instead of images.

Shapes: S seeds of a pack, T tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetting import ants
from forgetting.randomness import numpy_generator
from forgetting.stages import Stages


@dataclass(frozen=True)
class ControlBenchmark:
    """An ant for each seed of a pack, and a sequence of frictions."""

    frictions: NDArray[np.float64]
    """(S, T)."""
    steps: int
    """Steps of the environment in every task."""
    change: Literal["exact", "episode_end"]
    """When the friction changes: in mid-episode, or with the next end of an episode."""
    episode: int
    """Steps after which an episode is cut off."""
    contact_forces: bool
    """Whether the ant observes them."""
    name: str
    """The benchmark's name: the root of the seed tree."""
    members: tuple[int, ...]
    """The seeds."""
    device: torch.device
    dtype: torch.dtype
    reset_head: bool = False
    """A policy's head is never cleared."""

    @property
    def tasks(self) -> int:
        """Number of tasks T."""
        return self.frictions.shape[1]

    @property
    def seeds(self) -> int:
        """Number of seeds S."""
        return len(self.members)

    @property
    def input_shape(self) -> tuple[int]:
        """Shape of an observation."""
        return (ants.OBSERVATIONS[self.contact_forces],)

    @property
    def outputs(self) -> int:
        """Number of actions."""
        return ants.ACTIONS

    def rectangular(self) -> bool:
        """Whether all seeds have tasks of equal sizes: they do."""
        return True

    def alone(self, seed: int) -> "ControlBenchmark":
        """Return the benchmark of one seed (by position in the pack)."""
        one = slice(seed, seed + 1)
        return replace(self, frictions=self.frictions[one], members=self.members[one])

    def same_task(self, other: "ControlBenchmark", task: int) -> bool:
        """Whether a task of another benchmark of as many seeds is the same."""
        mine, theirs = (
            (b.frictions[:, task - 1].tolist(), b.steps, b.change, b.episode, b.contact_forces)
            for b in (self, other)
        )
        return mine == theirs

    def described(self) -> list[dict[str, Any]]:
        """Return what run.json says of each task."""
        return [{"friction": column.tolist()} for column in self.frictions.T]

    def start(self, *path: str | int) -> ants.Ants:
        """Return every seed's ant at the start of an episode; ``path`` tells uses apart."""
        return ants.Ants(
            [numpy_generator(self.name, seed, "environment", *path) for seed in self.members],
            episode=self.episode,
            contact_forces=self.contact_forces,
        )

    def enter(self, environment: ants.Ants, task: int, *, at_once: bool | None = None) -> None:
        """Change an environment to a task (from 1), as the protocol has it or ``at_once``."""
        if at_once is None:
            at_once = self.change == "exact" or task == 1
        environment.set_friction(self.frictions[:, task - 1].tolist(), at_once=at_once)

    def experience(
        self, network: Stages, task: int, steps: int, role: str, training: dict[str, Any]
    ) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Return what one seed's network meets in a task; see ``reinforcement.experience``."""
        from forgetting import reinforcement  # which imports this module

        settings = reinforcement.Settings(**training)
        return reinforcement.experience(self, network, task, steps, role, settings)
