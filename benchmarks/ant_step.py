"""One step of the ants of a pack: ours against the simulator alone and against Gymnasium's.

All take the same actions; an episode that ends begins anew, which counts in none but ``collecting``
and ``ours``. ``simulator`` is what MuJoCo computes: ``mj_step`` with all its substeps and
``mj_rnePostConstraint``, called from a bare loop: it is the floor, too. ``gymnasium`` is
``AntEnv.step``; ``ours`` is ``Ants.step``; ``collecting`` is ``Ants.step`` with what the training
loop does beside it: the policy's means, the drawn actions, writing the step down.
"""

import functools
from collections.abc import Iterator

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv

from benchmarks._harness import Goal, Row, Scale, now
from forgetting.ants import ACTIONS, OBSERVATIONS, Ants
from forgetting.architectures import actor_critic
from forgetting.ensemble import Ensemble
from forgetting.randomness import torch_generator
from forgetting.rollouts import Rollout

EPISODE, SEEDS = 1000, 3


def rows(scale: Scale) -> Iterator[Row]:
    steps = scale.of(2000, 10)
    for what, mine, goal in (
        ("", ours, Goal(1.25, "at most")),
        (", with policy and rollout", collecting, None),
        (", by `AntEnv.step` of gymnasium", gymnasium, None),
    ):
        yield Row(
            f"one step of an ant in a pack of {SEEDS}{what}",
            "MuJoCo alone, in a bare loop",
            functools.partial(mine, steps, SEEDS),
            functools.partial(simulator, steps, SEEDS),
            goal=goal,
            value="cost",
            unit="a step",
        )


def actions(steps: int, seeds: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, seeds, ACTIONS))


def generators(seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(seeds)]


def gymnasiums(seeds: int) -> list[AntEnv]:
    """Return ants at the start of an episode."""
    ants = [AntEnv() for _ in range(seeds)]
    for ant, generator in zip(ants, generators(seeds), strict=True):
        ant.np_random = generator
        ant.reset()
    return ants


def simulator(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants, drawn, spent = gymnasiums(seeds), actions(steps, seeds), 0.0
    low, high = ants[0]._healthy_z_range
    for step in range(steps):
        started = now()
        for index, ant in enumerate(ants):
            ant.data.ctrl[:] = drawn[step, index]
            mujoco.mj_step(ant.model, ant.data, nstep=ant.frame_skip)
            mujoco.mj_rnePostConstraint(ant.model, ant.data)
        spent += now() - started
        for ant in ants:
            if not low <= ant.data.qpos[2] <= high:
                ant.reset()
    return spent / steps / seeds


def gymnasium(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants, drawn, spent = gymnasiums(seeds), actions(steps, seeds), 0.0
    for step in range(steps):
        started = now()
        over = [ant.step(drawn[step, index])[2] for index, ant in enumerate(ants)]
        spent += now() - started
        for ant, ended in zip(ants, over, strict=True):
            if ended:
                ant.reset()
    return spent / steps / seeds


def ours(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants = Ants(generators(seeds), episode=EPISODE, contact_forces=True)
    drawn = actions(steps, seeds)
    started = now()
    for step in range(steps):
        ants.step(drawn[step])
    return (now() - started) / steps / seeds


def collecting(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    observed = OBSERVATIONS[True]
    networks = [
        actor_critic.build((observed,), ACTIONS, actor_critic.Settings(), torch_generator("a", s))
        for s in range(seeds)
    ]
    ensemble = Ensemble(networks)
    policy = actor_critic.acting(ensemble.network, ensemble.state())
    ants = Ants(generators(seeds), episode=EPISODE, contact_forces=True)
    rollout, drawn = Rollout(seeds, steps, observed), actions(steps, seeds)
    started = now()
    for step in range(steps):
        observations = ants.observations.copy()
        means, deviations = policy(observations)
        taken = drawn[step] + 0 * means * deviations  # the same actions as the others take
        rollout.add(observations, taken, ants.step(taken.astype(np.float64)))
    return (now() - started) / steps / seeds
