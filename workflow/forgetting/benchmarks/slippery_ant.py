"""Slippery Ant: a simulated ant that walks on, while the friction of the ground changes.

Introduced by Dohare et al. (2024, Nature 632, 768-774) to show that an agent trained by PPO stops
adapting; used for spectra by Prakash et al. (2025, arXiv 2509.22335). The ant is Gymnasium's
``Ant-v5`` on MuJoCo (``forgetting.ants``), in the latter Brax's, another simulator; a task is a
friction, the first coefficient of every geom, and lasts a number of steps. Two protocols:

* Prakash et al.: the friction changes at exact multiples of 2,000,000 steps, in mid-episode
  (``change: exact``); every seed has the same five frictions.
* Dohare et al.: it changes when an episode ends after as many steps (``change: episode_end``);
  frictions are drawn log-uniformly from 0.02 to 2.0, others for every seed. (Their count of steps
  starts at the change before; here changes fall due at multiples, and happen with the next end of
  an episode, so they do not drift.)
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from forgetting.control import ControlBenchmark
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base

TRAINED_BY = "reinforcement"
ROOT = "slippery ant"


class Settings(Base):
    """Frictions, and when they change."""

    tasks: Annotated[int, Field(ge=1)] = 5
    """Number of frictions, one after the other."""
    steps: Annotated[int, Field(ge=1)] = 2_000_000
    """Steps of the environment with each of them."""
    change: Literal["exact", "episode_end"] = "exact"
    """Change in mid-episode, or with the next end of an episode."""
    frictions: Literal["log_uniform"] | tuple[float, ...] = "log_uniform"
    """Drawn for every seed, or a list for all seeds, as long as there are tasks or longer."""
    lowest: Annotated[float, Field(gt=0)] = 0.02
    """Least friction drawn."""
    highest: Annotated[float, Field(gt=0)] = 2.0
    """Largest friction drawn."""
    episode: Annotated[int, Field(ge=1)] = 1000
    """Steps after which an episode is cut off."""
    contact_forces: bool = True
    """Whether the ant feels contact forces (105 observations, as in Ant-v5) or not (27)."""


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ControlBenchmark:
    """The frictions of every seed; there are no data sets.

    Raises:
        UserError: A list of frictions is shorter than the number of tasks.
    """
    if settings.frictions == "log_uniform":
        low, high = np.log([settings.lowest, settings.highest])
        draws = [numpy_generator(ROOT, seed, "friction") for seed in seeds]
        frictions = np.exp(np.stack([g.uniform(low, high, settings.tasks) for g in draws]))
    else:
        if len(settings.frictions) < settings.tasks:
            raise UserError(
                f"benchmarks.{name}.settings.frictions: {len(settings.frictions)} for "
                f"{settings.tasks} tasks; list one for each"
            )
        frictions = np.tile(settings.frictions[: settings.tasks], (len(seeds), 1))
    return ControlBenchmark(
        frictions=frictions,
        steps=settings.steps,
        change=settings.change,
        episode=settings.episode,
        contact_forces=settings.contact_forces,
        name=name,
        members=tuple(seeds),
        device=device,
        dtype=dtype,
    )
