"""One step of the ants of a pack: ours against the simulator alone and against Gymnasium's.

All take the same actions; an episode that ends begins anew, which counts in none but ``collecting``
and ``ours``. ``simulator`` is what MuJoCo computes: ``mj_step`` with all its substeps and
``mj_rnePostConstraint``, called from a bare loop. ``gymnasium`` is ``AntEnv.step``; ``ours`` is
``Ants.step``; ``collecting`` is ``Ants.step`` with what the training loop does beside it: the
policy's means, the drawn actions, writing the step down. They alternate in one process, on one
thread; the table gives medians of processor time for a step of one ant, and ratios.

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
        started = time.process_time()
        for index, ant in enumerate(ants):
            ant.data.ctrl[:] = drawn[step, index]
            mujoco.mj_step(ant.model, ant.data, nstep=ant.frame_skip)
            mujoco.mj_rnePostConstraint(ant.model, ant.data)
        spent += time.process_time() - started
        for ant in ants:
            if not low <= ant.data.qpos[2] <= high:
                ant.reset()
    return spent / steps / seeds


def gymnasium(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants, drawn, spent = gymnasiums(seeds), actions(steps, seeds), 0.0
    for step in range(steps):
        started = time.process_time()
        over = [ant.step(drawn[step, index])[2] for index, ant in enumerate(ants)]
        spent += time.process_time() - started
        for ant, ended in zip(ants, over, strict=True):
            if ended:
                ant.reset()
    return spent / steps / seeds


def ours(steps: int, seeds: int) -> float:
    """Return seconds for a step of one ant."""
    ants = Ants(generators(seeds), episode=EPISODE, contact_forces=True)
    drawn = actions(steps, seeds)
    started = time.process_time()
    for step in range(steps):
        ants.step(drawn[step])
    return (time.process_time() - started) / steps / seeds


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
    started = time.process_time()
    for step in range(steps):
        observations = ants.observations.copy()
        means, deviations = policy(observations)
        taken = drawn[step] + 0 * means * deviations  # the same actions as the others take
        rollout.add(observations, taken, ants.step(taken.astype(np.float64)))
    return (time.process_time() - started) / steps / seeds


def main() -> None:
    """Alternate them and print medians and ratios."""
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
        "collecting": collecting,
    }
    for seeds in arguments.seeds:
        times: dict[str, list[float]] = {name: [] for name in runs}
        for repeat in range(arguments.repeats + 1):
            for name, run in runs.items():
                seconds = run(arguments.steps, seeds)
                if repeat:  # the first round warms up
                    times[name].append(seconds)
        medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
        shown = "   ".join(f"{name} {value:5.0f} us" for name, value in medians.items())
        ratios = {
            name: [a / b for a, b in zip(times[name], times["simulator"], strict=True)]
            for name in list(runs)[1:]
        }
        over = "   ".join(
            f"{name} {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
            for name, found in ratios.items()
        )
        print(f"{seeds} ants   {shown}\n   over the simulator:   {over}")


if __name__ == "__main__":
    main()
