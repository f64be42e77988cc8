"""The ants of a pack: Gymnasium's ``Ant-v5`` on MuJoCo, one for every seed, stepped in turn.

The ant, its observation and its reward are Gymnasium's (Towers et al. 2024, arXiv 2407.17032); what
is written out here is ``step``, whose values are the same to the bit without the views, copies and
dictionaries that it makes in every call. An episode ends when the ant is not healthy (its torso
below 0.2 or above 1.0, or a number not finite) and is cut off after ``episode`` steps.

Friction is the first coefficient (sliding) of every geom, as in both published protocols: Prakash
et al. (2025, arXiv 2509.22335) overwrite it for all geoms, Dohare et al. (2024, Nature 632) in the
class that all geoms take it from. MuJoCo uses the larger of two touching geoms.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
import torch
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from numpy.typing import NDArray

Array = NDArray[np.float64]

ACTIONS = 8
OBSERVATIONS = {True: 105, False: 27}
"""Numbers in an observation with and without contact forces."""
CONTACT_COST = 5e-4
"""Gymnasium's, for every squared contact force."""
PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
"""All that the simulation's next step depends on."""


class Outcome(NamedTuple):
    """What a step did; arrays with a leading seed axis."""

    rewards: Array
    """(S,)."""
    forward: Array
    """(S,): the part of the reward that is for moving on."""
    terminated: NDArray[np.bool_]
    """(S,): the ant fell, and a new episode has begun."""
    truncated: NDArray[np.bool_]
    """(S,): the episode was cut off, and a new one has begun."""
    last: Array
    """(S, n): the observation that the step led to, before an episode began anew."""


class Ant(AntEnv):
    """One ant."""

    def advance(self, action: Array, observation: Array) -> tuple[float, float, bool]:
        """Take a step and write what is observed then; return reward, forward reward, health.

        Args:
            action: (8,), cut off by MuJoCo at -1 and 1, but paid for as it is.
            observation: (n,), overwritten.
        """
        data, torso = self.data, self._torso
        before_x = torso[0]
        data.ctrl[:] = action
        mujoco.mj_step(self.model, data, nstep=self.frame_skip)
        mujoco.mj_rnePostConstraint(self.model, data)
        forward = (torso[0] - before_x) / self._seconds
        low, high = self._contact_force_range
        forces = np.clip(data.cfrc_ext, low, high)
        positions = data.qpos.size - 2
        velocities = positions + data.qvel.size
        observation[:positions] = data.qpos[2:]
        observation[positions:velocities] = data.qvel
        if len(observation) > velocities:
            observation[velocities:] = forces[1:].ravel()
        bottom, top = self._healthy_z_range
        healthy = bool(bottom <= data.qpos[2] <= top) and bool(
            np.isfinite(observation[:velocities]).all() and np.isfinite(data.qpos[:2]).all()
        )
        costs = self._ctrl_cost_weight * np.sum(np.square(action))
        costs += self._contact_cost_weight * np.sum(np.square(forces))
        return float(forward + healthy - costs), float(forward), healthy

    @property
    def _torso(self) -> Array:
        return self.data.xpos[self._main_body]

    @property
    def _seconds(self) -> float:
        return self.model.opt.timestep * self.frame_skip


class Ants:
    """One ant for every seed; all randomness comes from the seeds' generators."""

    def __init__(
        self, generators: Sequence[np.random.Generator], *, episode: int, contact_forces: bool
    ) -> None:
        """Put every ant at the start of an episode.

        Args:
            generators: One for every seed; it draws where episodes start.
            episode: Steps after which an episode is cut off.
            contact_forces: Whether they are observed and paid for.
        """
        self.episode = episode
        self.ants = [
            Ant(
                include_cfrc_ext_in_observation=contact_forces,
                contact_cost_weight=CONTACT_COST if contact_forces else 0.0,
            )
            for _ in generators
        ]
        self.observations = np.zeros((len(self.ants), OBSERVATIONS[contact_forces]))
        """(S, n): what each ant observes now."""
        self.elapsed = np.zeros(len(self.ants), dtype=np.int64)
        """(S,): steps of the present episode."""
        self._due: list[float | None] = [None] * len(self.ants)
        for ant, generator in zip(self.ants, generators, strict=True):
            ant.np_random = generator
        for index in range(len(self.ants)):
            self._begin(index)

    @property
    def friction(self) -> Array:
        """(S,): the present friction."""
        return np.array([ant.model.geom_friction[0, 0] for ant in self.ants])

    def set_friction(self, values: Sequence[float], *, at_once: bool) -> None:
        """Change each ant's friction, at once or with the start of its next episode."""
        self._due = list(values)
        if at_once:
            for index in range(len(self.ants)):
                self._change(index)

    def _change(self, index: int) -> None:
        value = self._due[index]
        if value is not None:
            self.ants[index].model.geom_friction[:, 0] = value
            self._due[index] = None

    def _begin(self, index: int) -> None:
        self._change(index)
        self.observations[index] = self.ants[index].reset()[0]
        self.elapsed[index] = 0

    def step(self, actions: Array) -> Outcome:
        """Take a step with every ant; those whose episode is over begin another.

        Args:
            actions: (S, 8). Those of a seed that diverged are taken as zero.
        """
        size = len(self.ants)
        rewards, forward, healthy = np.empty(size), np.empty(size), np.empty(size, dtype=bool)
        actions = np.nan_to_num(actions, nan=0.0, posinf=0.0, neginf=0.0)
        for index, ant in enumerate(self.ants):
            rewards[index], forward[index], healthy[index] = ant.advance(
                actions[index], self.observations[index]
            )
        self.elapsed += 1
        terminated = ~healthy
        truncated = healthy & (self.elapsed >= self.episode)
        last = self.observations.copy()
        for index in np.flatnonzero(terminated | truncated).tolist():
            self._begin(index)
        return Outcome(rewards, forward, terminated, truncated, last)

    # ---------------------------------------------------------------- resume

    def state(self) -> dict[str, Any]:
        """Return all that the next steps depend on, as tensors and plain values."""
        physics = np.empty((len(self.ants), mujoco.mj_stateSize(self.ants[0].model, PHYSICS)))
        for ant, vector in zip(self.ants, physics, strict=True):
            mujoco.mj_getState(ant.model, ant.data, vector, PHYSICS)
        return {
            "physics": torch.from_numpy(physics),
            # The reward compares positions as they were before the last step's last correction.
            "torso": torch.from_numpy(np.stack([ant._torso for ant in self.ants])),
            "friction": torch.from_numpy(self.friction),
            "due": list(self._due),
            "observations": torch.from_numpy(self.observations.copy()),
            "elapsed": torch.from_numpy(self.elapsed.copy()),
            "generators": [json.dumps(ant.np_random.bit_generator.state) for ant in self.ants],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the ants where ``state`` was taken."""
        self.observations[:] = state["observations"].numpy()
        self.elapsed[:] = state["elapsed"].numpy()
        self._due = list(state["due"])
        for index, ant in enumerate(self.ants):
            ant.model.geom_friction[:, 0] = float(state["friction"][index])
            mujoco.mj_setState(ant.model, ant.data, state["physics"][index].numpy(), PHYSICS)
            ant._torso[:] = state["torso"][index].numpy()
            ant.np_random.bit_generator.state = json.loads(state["generators"][index])
