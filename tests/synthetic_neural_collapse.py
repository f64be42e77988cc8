"""Tables of an invented study of neural collapse, in the columns of the real ones.

Benchmark ``permuted-mnist``: SGD over the tasks, task 1 alone for many epochs, and runs that go on
from some of these epochs. Benchmark ``warm-start``: half of the images for some epochs, then all of
them, by arm; with weight decay for seed 0 alone. Seed 2 of arm ``nc1`` is at chance after warm-ups
of more than 60 epochs and has diverged before those of more than 100; seed 1 of SGD diverges in
task 9.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from forgetting import tables

MNIST, WARM = ("permuted-mnist", "mlp"), ("warm-start", "resnet18")
PARENTS = {"full": "warm-up", "shrink-perturb": "warm-up", "nc1": "warm-up-nc1"}
DECAYS = ["0.001", "0.01", "0.1"]
ARMS = [*PARENTS, *(f"wd-{strength}" for strength in DECAYS)]
LONGEST = [1, 5, 20, 100]  # epochs of task 1
TASKS = 12
EPOCHS = tuple(range(10, 151, 10))
SEEDS = (0, 1, 2)
DIVERGED = 9  # task in which seed 1 of SGD diverges
WHOLE = ["diverged_task", "diverged_step", "started_task"]
FAILING = ("nc1", 2)
CHANCE, GONE = 60, 100  # epochs of warm-up

Row = dict[str, Any]


def study(
    *, tasks: int = TASKS, epochs: Sequence[int] = EPOCHS, seeds: Sequence[int] = SEEDS
) -> dict[str, pd.DataFrame]:
    """Every table by name."""
    rows: dict[str, list[Row]] = {
        name: [] for name in ("runs", "accuracy", "online", "neural_collapse", "continued")
    }
    for seed in seeds:
        _permuted(rows, np.random.default_rng([seed, 0]), seed=seed, tasks=tasks)
        for arm in ARMS:
            if not arm.startswith("wd") or seed == seeds[0]:
                noise = np.random.default_rng([seed, 1 + ARMS.index(arm)])
                for epoch in epochs:
                    _continued(rows, noise, seed=seed, arm=arm, epoch=epoch)
        identity = _run(rows, WARM, "scratch", seed, tasks=2)
        value = 0.66 + 0.004 * np.random.default_rng([seed, 9]).normal()
        about = {"after_task": 2, "task": 2, "metric": "class_incremental", "value": value}
        rows["accuracy"].append({**identity, **about})
    found = {name: pd.DataFrame(table) for name, table in rows.items()}
    found["runs"] = found["runs"].astype(dict.fromkeys(WHOLE, "Int64"))
    return found


def _run(
    rows: dict[str, list[Row]],
    entry: tuple[str, str],
    strategy: str,
    seed: int,
    *,
    tasks: int,
    diverged: int | None = None,
    started: tuple[str, int, float] = ("", 0, 0.0),
) -> Row:
    identity = dict(zip(tables.ID, (*entry, strategy, seed), strict=True))
    about = {
        "status": "finished" if diverged is None else "diverged",
        "diverged_task": diverged,
        "diverged_step": None if diverged is None else 7,
        "datasets": "digits",
        "stand_in": True,
        "evidence": "stand-in",
        "scenario_metric": "online" if entry == MNIST else "class_incremental",
        "tasks": tasks,
    }
    parent, task, epoch = started if started[0] else (None, None, None)
    about |= {"started_strategy": parent, "started_task": task, "started_epoch": epoch}
    rows["runs"].append({**identity, **about})
    return identity


def _permuted(
    rows: dict[str, list[Row]], noise: np.random.Generator, *, seed: int, tasks: int
) -> None:
    def measured(identity: Row, task: int, epoch: float, nc1: float) -> None:
        about = {"task": task, "epoch": epoch, "layer": "stage3", "mode": "eval", "samples": 1000}
        for statistic, value in (("nc1", nc1), ("nc2", 0.3), ("class_distance", 3.0)):
            row = {**identity, **about, "statistic": statistic, "value": float(value)}
            rows["neural_collapse"].append(row)

    until = DIVERGED if seed == 1 and tasks >= DIVERGED else None
    identity = _run(rows, MNIST, "sgd", seed, tasks=tasks, diverged=until)
    for task in range(1, min(tasks + 1, until or tasks + 1)):
        lost = ((task - 1) / tasks) ** 0.8
        value = 0.924 - 0.1 * lost + 0.003 * noise.normal()
        rows["online"].append({**identity, "task": task, "value": float(value)})
        measured(identity, task, 0, 0.23 + 0.12 * lost + 0.006 * noise.normal())
    first = _run(rows, MNIST, "first-task", seed, tasks=tasks)
    for epochs in LONGEST:
        after = 0.165 + 0.055 * epochs**-0.8 + 0.002 * noise.normal()
        measured(first, 1, float(epochs), after)
        started = ("first-task", 1, float(epochs))
        strategy = f"task-1-epochs~{epochs}"
        identity = _run(rows, MNIST, strategy, seed, tasks=tasks, started=started)
        for task in range(1, tasks + 1):
            value = 0.99 - 0.065 / epochs
            if task > 1:
                value = 0.926 - 0.006 * np.log(epochs) - 0.1 * ((task - 1) / tasks) ** 0.8
            value += 0.002 * noise.normal()
            rows["online"].append({**identity, "task": task, "value": float(value)})


def _continued(
    rows: dict[str, list[Row]], noise: np.random.Generator, *, seed: int, arm: str, epoch: int
) -> None:
    gone = (arm, seed) == FAILING and epoch > GONE
    chance = (arm, seed) == FAILING and epoch > CHANCE and not gone
    parent = PARENTS.get(arm, f"warm-up-{arm}")
    started = (parent, 1, float(epoch))
    until = 1 if gone else None
    strategy = f"{arm}~{epoch}"
    identity = _run(rows, WARM, strategy, seed, tasks=2, diverged=until, started=started)
    early, decay = np.exp(-epoch / 40), 5 * float(arm[3:]) if arm.startswith("wd") else 0.0
    above = {"shrink-perturb": 0.02 + 0.04 * early, "nc1": 0.01}.get(arm, 0.2 * decay)
    before = 0.56 - 0.25 * np.exp(-epoch / 12) + 0.1 * decay
    reached = {
        "accuracy_before": 0.1 if chance else float(before + 0.004 * noise.normal()),
        "accuracy": float(0.578 + 0.035 * early + above + 0.003 * noise.normal()),
    }
    status = "diverged" if gone else "chance" if chance else "finished"
    about = {"arm": arm, "started_strategy": parent, "task": 1, "epoch": float(epoch)}
    shared = {**identity, **about, "training_accuracy_before": float(1 - 0.7 * early)}
    for mode, much in (("eval", 1.0), ("train", 1.15)):
        found = {
            "nc1": much * (0.4 + 20 * np.exp(-epoch / 13) - min(0.3, decay))
            + 0.02 * noise.normal(),
            "nc2": much * (0.2 + 0.16 * early) + 0.004 * noise.normal(),
            "nc3": much * (0.42 + 0.6 * early) + 0.01 * noise.normal(),
            "nc4": 1 - 0.5 * np.exp(-epoch / 25) / much - 0.004 * noise.random(),
        }
        values = {name: float(value) for name, value in found.items()} | reached
        if not gone:
            rows["continued"].append({**shared, "mode": mode, **values, "status": status})
        elif mode == "eval":  # there was nothing to measure
            none = {"mode": None, "training_accuracy_before": np.nan, "status": status}
            rows["continued"].append({**shared, **dict.fromkeys(values, np.nan), **none})
