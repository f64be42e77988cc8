"""One step of the ants of a pack, as in training: ours against the simulator alone and Gymnasium's.

All three take the same actions in the same friction and reset where an episode ends. ``simulator``
is what MuJoCo computes: ``mj_step`` of all substeps and ``mj_rnePostConstraint``, called from a
bare loop. ``gymnasium`` is ``AntEnv.step``. ``ours`` is ``Ants.step`` and what the training loop
adds to it: the policy's means, the drawn actions, writing the step into the rollout. They alternate
in one process; the table gives medians for a step of one ant, and ratios.

    python -m benchmarks.ant_step
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

import mujoco
import numpy as np
import torch
from gymnasium.envs.mujoco.ant_v5 import AntEnv

from forgetting.ants import ACTIONS, OBSERVATIONS, Ants
from forgetting.architectures import actor_critic
from forgetting.ensemble import Ensemble
from forgetting.randomness import torch_generator
from forgetting.rollouts import Rollout

EPISODE = 1000


def actions(steps: int, seeds: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((steps, seeds, ACTIONS))


def generators(seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(seeds)]


def simulator(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants = [AntEnv() for _ in range(seeds)]
    for ant, generator in zip(ants, generators(seeds), strict=True):
        ant.np_random = generator
        ant.reset()
    drawn, spent = actions(steps, seeds), 0.0
    low, high = ants[0]._healthy_z_range
    for step in range(steps):
        started = time.perf_counter()
        for index, ant in enumerate(ants):
            ant.data.ctrl[:] = drawn[step, index]
            mujoco.mj_step(ant.model, ant.data, nstep=ant.frame_skip)
            mujoco.mj_rnePostConstraint(ant.model, ant.data)
        spent += time.perf_counter() - started
        for ant in ants:
            if not low <= ant.data.qpos[2] <= high:
                ant.reset()
    return spent / steps / seeds


def gymnasium(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants = [AntEnv() for _ in range(seeds)]
    for ant, generator in zip(ants, generators(seeds), strict=True):
        ant.np_random = generator
        ant.reset()
    drawn, spent = actions(steps, seeds), 0.0
    for step in range(steps):
        started = time.perf_counter()
        over = [ant.step(drawn[step, index])[2] for index, ant in enumerate(ants)]
        spent += time.perf_counter() - started
        for ant, ended in zip(ants, over, strict=True):
            if ended:
                ant.reset()
    return spent / steps / seeds


def ours(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant; resets counted, as in training."""
    observed = OBSERVATIONS[True]
    networks = [
        actor_critic.build((observed,), ACTIONS, actor_critic.Settings(), torch_generator("a", s))
        for s in range(seeds)
    ]
    ensemble = Ensemble(networks)
    policy = actor_critic.acting(ensemble.network, ensemble.state())
    ants = Ants(generators(seeds), episode=EPISODE, contact_forces=True)
    rollout, drawn = Rollout(seeds, steps, observed), actions(steps, seeds)
    started = time.perf_counter()
    for step in range(steps):
        observations = ants.observations.copy()
        means, deviations = policy(observations)
        taken = means + deviations * drawn[step]
        rollout.add(observations, taken, ants.step(taken.astype(np.float64)))
    return (time.perf_counter() - started) / steps / seeds


def main() -> None:
    """Alternate the three and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, Callable[[int, int], float]] = {
        "simulator": simulator,
        "gymnasium": gymnasium,
        "ours": ours,
    }
    for seeds in arguments.seeds:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(arguments.repeats + 1):
            for name, run in runs.items():
                seconds = run(arguments.steps, seeds)
                if repeat:  # the first round warms up
                    times[name].append(seconds)
        medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
        pairs = zip(times["ours"], times["simulator"], strict=True)
        over = [a / b for a, b in pairs]
        shown = "   ".join(f"{name} {value:5.0f} us" for name, value in medians.items())
        print(
            f"{seeds} ants   {shown}   ours over simulator {statistics.median(over):.2f} "
            f"({min(over):.2f} to {max(over):.2f})"
        )


if __name__ == "__main__":
    main()
