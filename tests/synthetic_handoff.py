"""Tables of an invented study of two data sets in turn, in the columns of the real ones.

Four seeds; seed 1 of adam-reset on mnist-fashion diverges in task 2. Joint training has no
accuracy after task 1. Planes are those of two seeds of adam on mnist-fashion.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from forgetting import tables
from forgetting.tables.scores import scores

KEPT = {"mnist-fashion": 0.35, "fashion-to-mnist": 0.15, "mnist-fashion-own-heads": 0.8}
STRATEGIES = ["adam", "adam-reset", "joint"]
ENTRIES = [
    *(("mnist-fashion", strategy) for strategy in STRATEGIES),
    ("fashion-to-mnist", "adam"),
    ("mnist-fashion-own-heads", "adam"),
]
SEEDS = [0, 1, 2, 3]
EPOCHS = 8
WITHIN = [0.25, 0.5, 1, 2, 4, 8]
CLASSES = [str(place) for place in range(10)]
DIVERGED = ("mnist-fashion", "adam-reset", 1)
GRID = np.linspace(-0.5, 1.5, 9)
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

Row = dict[str, Any]


def study() -> dict[str, pd.DataFrame]:
    """Every table by name."""
    makers = {
        "accuracy": _accuracy,
        "history": _history,
        "learning_curve": _learning_curve,
        "landscape": _landscape,
    }
    rows: dict[str, list[Row]] = {name: [] for name in (*makers, "runs")}
    for number, (benchmark, strategy) in enumerate(ENTRIES):
        for seed in SEEDS:
            diverged = (benchmark, strategy, seed) == DIVERGED
            entry = (benchmark, "mnist_cnn", strategy, seed)
            identity = dict(zip(tables.ID, entry, strict=True))
            rows["runs"].append({**identity, **_ending(benchmark, diverged)})
            for place, (name, make) in enumerate(makers.items()):
                noise = np.random.default_rng([number, seed, place])
                for row in make(benchmark, strategy, seed, noise):
                    if not (diverged and row.get("after_task", row.get("task")) == 2):
                        rows[name].append({**identity, **row})
    found = {name: pd.DataFrame(table) for name, table in rows.items()}
    found["runs"] = found["runs"].astype({"diverged_task": "Int64", "diverged_step": "Int64"})
    found["scores"] = scores(found["accuracy"])
    return found


def _ending(benchmark: str, diverged: bool) -> Row:
    first, second = "digits", "fashion_mnist"
    if benchmark == "fashion-to-mnist":
        first, second = second, first
    return {
        "status": "diverged" if diverged else "finished",
        "diverged_task": 2 if diverged else None,
        "diverged_step": 17 if diverged else None,
        "datasets": f"{first}+{second}",
        "stand_in": True,
        "evidence": "stand-in",
        "scenario_metric": "task_masked",
        "tasks": 2,
    }


def class_kept(benchmark: str, seed: int) -> np.ndarray:
    """What is left after task B of the accuracy on each class of task A."""
    other = np.random.default_rng([list(KEPT).index(benchmark), seed, 9])
    spread = 0.1 * (1 + np.arange(10) % 4)
    return np.clip(KEPT[benchmark] + spread * other.normal(size=10), 0, 1)


def _accuracy(
    benchmark: str, strategy: str, seed: int, noise: np.random.Generator
) -> Iterator[Row]:
    left = float(class_kept(benchmark, seed).mean()) + 0.04 * (strategy == "adam-reset")
    for after in (0, 2) if strategy == "joint" else (0, 1, 2):
        for task in (1, 2):
            value = 0.1
            if after >= task:
                value = 0.99 if task == 1 else 0.91
            if after == 2 and task == 1 and strategy != "joint":
                value *= left
            value = float(np.clip(value + noise.normal(0, 0.002), 0, 1))
            for metric, factor in (("task_masked", 1.0), ("class_incremental", 0.9)):
                about = {"metric": metric, "after_task": after, "task": task}
                yield {**about, "value": factor * value}


def _history(benchmark: str, strategy: str, seed: int, noise: np.random.Generator) -> Iterator[Row]:
    if strategy == "joint":
        return
    for task in (1, 2):
        for epoch in range(1, EPOCHS + 1):
            loss = 0.6 * np.exp(-0.9 * epoch) * np.exp(noise.normal(0, 0.3)) * task
            about = {"task": task, "epoch": epoch}
            yield {**about, "statistic": "loss", "value": float(loss)}
            yield {**about, "statistic": "accuracy", "value": float(np.exp(-loss))}


def _learning_curve(
    benchmark: str, strategy: str, seed: int, noise: np.random.Generator
) -> Iterator[Row]:
    if strategy == "joint":
        return
    moments = [(0, 0.0, 0.0)]
    for task in (1, 2):
        moments += [(task, float(e), EPOCHS * (task - 1) + e) for e in WITHIN]
        moments.append((task, 0.0, float(EPOCHS * task)))
    left = class_kept(benchmark, seed)
    for task, epoch, done in moments:
        for of_task, learned in ((1, 0.99), (2, 0.91)):
            since = max(done - EPOCHS * (of_task - 1), 0)
            values = np.full(10, 0.1 + (learned - 0.1) * (1 - np.exp(-3 * since)))
            if of_task == 1 and task == 2:
                values *= 1 - (1 - left) * (1 - np.exp(-1.5 * (done - EPOCHS)))
            for output, value in zip(["", *CLASSES], [values.mean(), *values], strict=True):
                shared = {"task": task, "layer": "", "epoch": epoch, "epochs_done": done}
                shared |= {"of_task": of_task, "output": output, "images": 100}
                for statistic, factor in (("task_masked", 1.0), ("class_incremental", 0.9)):
                    yield {**shared, "statistic": statistic, "value": float(factor * value)}


def loss(of_task: int, x: float, y: float) -> float:
    """A bowl around where the task was learned last."""
    low, narrow = (CORNERS[1], 1.4) if of_task == 1 else (CORNERS[2], 2.6)
    return float(0.003 + narrow * (x - low[0]) ** 2 + 2.2 * (y - low[1]) ** 2)


def checkpoints() -> list[tuple[int, float, float, float]]:
    """Task, epoch, x, y of every checkpoint, in the order of training."""
    found = [(0, 0.0, 0.0, 0.0)]
    for task in (1, 2):
        begin, end = CORNERS[task - 1], CORNERS[task]
        for epoch in (1.0, 2.0, 4.0, 0.0):
            share = 1 - 0.4**epoch if epoch else 1.0
            found.append((task, epoch, *(begin + share * (end - begin)).tolist()))
    return found


def _landscape(
    benchmark: str, strategy: str, seed: int, noise: np.random.Generator
) -> Iterator[Row]:
    if (benchmark, strategy) != ENTRIES[0] or seed > 1:
        return
    for kind in ("checkpoint", "random"):
        shared = {"layer": "all", "split": "held_out", "samples": 500}
        if kind == "checkpoint":
            shared |= {"task": 1, "moment": "init"}
            shared |= {"direction_x": "checkpoint task-1", "direction_y": "checkpoint task-2"}
            scale = 1.0
        else:
            shared |= {"task": 2, "moment": "end", "direction_x": "random"}
            shared |= {"direction_y": "random"}
            scale = 1e-3
        for of_task in (1, 2):
            about = {**shared, "of_task": of_task}
            for x in GRID:
                for y in GRID:
                    place = {"x": float(x), "y": float(y), "path_task": None, "path_epoch": None}
                    for statistic, value in (("loss", loss(of_task, x, y)), ("accuracy", 0.5)):
                        yield {**about, **place, "statistic": statistic, "value": value}
            for task, epoch, x, y in checkpoints():
                origin = (task, epoch) == ((0, 0.0) if kind == "checkpoint" else (2, 0.0))
                off = 0.3 + 0.05 * task + 0.01 * epoch if epoch else 0.0
                if scale < 1:
                    off = 0.0 if origin else 1 - 1e-6 * (2 + task)
                place = {"x": scale * x, "y": scale * y, "path_task": task, "path_epoch": epoch}
                its = 0.2 * loss(of_task, x, y) if epoch else loss(of_task, x, y)
                for statistic, value in (
                    ("path", off),
                    ("path_loss", its),
                    ("path_accuracy", 0.5),
                ):
                    yield {**about, **place, "statistic": statistic, "value": value}
