"""What agents met: the steps of a pack's environments, and what a policy and a critic make of them.

Shapes: S seeds, T steps of a rollout.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetting import ppo
from forgetting.ants import ACTIONS, Outcome
from forgetting.ppo import Transitions

if TYPE_CHECKING:
    from forgetting.reinforcement import Settings

Policy = Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]
"""Means and standard deviations (S, actions) for observations (S, n)."""


class Rollout:
    """Up to T steps of every environment."""

    def __init__(self, seeds: int, length: int, observed: int) -> None:
        self.length = length
        # How many steps there are, and of how many of them the values are known.
        self.filled, self.judged = 0, 0
        self._tensors = {
            "observations": torch.zeros(seeds, length, observed),
            "led_to": torch.zeros(seeds, length, observed),
            "actions": torch.zeros(seeds, length, ACTIONS),
            "rewards": torch.zeros(seeds, length, dtype=torch.float64),
            "terminated": torch.zeros(seeds, length, dtype=torch.bool),
            "truncated": torch.zeros(seeds, length, dtype=torch.bool),
            "log_probabilities": torch.zeros(seeds, length),
            "values": torch.zeros(seeds, length, dtype=torch.float64),
            "following": torch.zeros(seeds, length, dtype=torch.float64),
        }
        self._arrays = {name: tensor.numpy() for name, tensor in self._tensors.items()}

    @property
    def full(self) -> bool:
        """Whether there is no room for another step."""
        return self.filled == self.length

    def clear(self) -> None:
        """Begin anew."""
        self.filled, self.judged = 0, 0

    def add(self, observations: NDArray[Any], actions: NDArray[Any], outcome: Outcome) -> None:
        """Add a step: what was observed (S, n), done (S, actions), and what came of it."""
        at, arrays = (slice(None), self.filled), self._arrays
        arrays["observations"][at] = observations
        arrays["actions"][at] = actions
        arrays["led_to"][at] = outcome.last
        arrays["rewards"][at] = outcome.rewards
        arrays["terminated"][at] = outcome.terminated
        arrays["truncated"][at] = outcome.truncated
        self.filled += 1

    @torch.no_grad()
    def judge(self, outputs: Callable[[Tensor], Tensor], settings: "Settings") -> None:
        """Note what the present networks make of the steps added since this was last done.

        ``outputs`` returns what every seed's network puts out for observations (S, n, ...).
        """
        if self.judged == self.filled:
            return
        window = slice(self.judged, self.filled)
        tensors = {name: values[:, window] for name, values in self._tensors.items()}
        found, later = (ppo.split(outputs(tensors[name])) for name in ("observations", "led_to"))
        actions = tensors["actions"].to(found.means)
        tensors["log_probabilities"].copy_(ppo.log_probability(found, actions))
        tensors["values"].copy_(found.values)
        nothing = tensors["terminated"]
        if settings.cut_off == "terminal":
            nothing = nothing | tensors["truncated"]
        tensors["following"].copy_(later.values).masked_fill_(nothing, 0.0)
        self.judged = self.filled

    def transitions(self, settings: "Settings") -> Transitions:
        """Return all T steps as the loss sees them, (S, T, ...) on the CPU; they are judged."""
        tensors, arrays = self._tensors, self._arrays
        gains = ppo.advantages(
            arrays["rewards"],
            arrays["values"],
            arrays["following"],
            arrays["terminated"] | arrays["truncated"],
            discount=settings.discount,
            smoothing=settings.smoothing,
        )
        advantages = torch.from_numpy(gains)
        normalise = settings.normalise_advantages == "rollout"
        return Transitions(
            inputs=tensors["observations"],
            actions=tensors["actions"],
            log_probabilities=tensors["log_probabilities"],
            values=tensors["values"],
            advantages=ppo.normalised(advantages) if normalise else advantages,
            returns=advantages + tensors["values"],
        )

    def state(self) -> dict[str, Any]:
        """Return all of it as tensors and plain values."""
        return {"tensors": self._tensors, "counts": [self.filled, self.judged]}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        for name, values in state["tensors"].items():
            self._tensors[name].copy_(values)
        self.filled, self.judged = state["counts"]


def noise(generator: np.random.Generator, length: int) -> NDArray[np.float32]:
    """Draw what is added to the policy's means, in standard deviations, (length, actions)."""
    return generator.standard_normal((length, ACTIONS), dtype=np.float32)
