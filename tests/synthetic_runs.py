"""Run folders and measure files of an invented study, shaped like real ones, for tests.

Two benchmarks, two architectures, four strategies, three seeds. Accuracies decay at a rate of
the strategy's, effective ranks shrink with them; ``joint`` is evaluated once, at its end, and
seed 1 of conv-gru sgd on the long benchmark diverges in its fourth task.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

BENCHMARKS = {"split-short": (5, "task_masked"), "split-long": (10, "class_incremental")}
ABOUT = {name: {"metric": m, "evidence": "reduced"} for name, (_, m) in BENCHMARKS.items()}
ARCHITECTURES = {"mlp": 1.0, "conv-gru": 0.55}
STRATEGIES = {"sgd": 0.55, "lwf": 0.3, "experience-replay": 0.08, "joint": 0.0}
SEEDS = [0, 1, 2]
LAYERS = ["stage1", "stage2", "stage3", "stage4", "stage5", "head"]
DIVERGED = ("split-long", "conv-gru", "sgd", 1, 4)


def write_study(root: Path, *, stand_in: bool = True) -> tuple[list[Path], list[Path]]:
    """Write every run and measure below ``root``; return the run.json and parquet paths."""
    records, measures = [], []
    for benchmark in BENCHMARKS:
        for architecture in ARCHITECTURES:
            for strategy in STRATEGIES:
                entry = Path(benchmark, architecture, strategy)
                folder = root / "runs" / entry / "seeds0-2"
                records.append(_write_run(folder, entry.parts, stand_in=stand_in))
                parquet = root / "measures" / "erank" / entry / "seeds0-2.parquet"
                parquet.parent.mkdir(parents=True)
                _erank(entry.parts).to_parquet(parquet)
                measures.append(parquet)
    return records, measures


def _rows_taken(entry: tuple[str, ...], seed: int) -> list[int]:
    tasks = BENCHMARKS[entry[0]][0]
    if entry[2] == "joint":
        return [0, tasks]
    if (*entry, seed) == DIVERGED[:4]:
        return list(range(DIVERGED[4]))
    return list(range(tasks + 1))


def _generator(entry: tuple[str, ...], role: int) -> np.random.Generator:
    numbers = [
        list(BENCHMARKS).index(entry[0]),
        list(ARCHITECTURES).index(entry[1]),
        list(STRATEGIES).index(entry[2]),
    ]
    return np.random.default_rng([*numbers, role])


def _write_run(folder: Path, entry: tuple[str, ...], *, stand_in: bool) -> Path:
    benchmark, architecture, strategy = entry
    tasks, _ = BENCHMARKS[benchmark]
    folder.mkdir(parents=True)
    _accuracy(entry).to_parquet(folder / "accuracy.parquet")
    seeds = {str(seed): {"status": "finished"} for seed in SEEDS}
    if entry == DIVERGED[:3]:
        seeds[str(DIVERGED[3])] = {"status": "diverged", "task": DIVERGED[4], "step": 17}
    record = {
        "spec": {
            "benchmark": {"name": benchmark, "component": "split"},
            "architecture": {"name": architecture, "component": "mlp"},
            "strategy": {"name": strategy, "component": "sgd"},
        },
        "fingerprint": "0123456789abcdef",
        "device": "cpu",
        "commit": "89abcdef",
        "wall_seconds": 12.5,
        "status": "finished",
        "seeds": seeds,
        "tasks": [{"outputs": [[2 * t, 2 * t + 1]] * len(SEEDS)} for t in range(tasks)],
        "datasets": [{"name": "digits", "stand_in": stand_in, "train_images": 1437}],
    }
    path = folder / "run.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


def _accuracy(entry: tuple[str, ...]) -> pd.DataFrame:
    tasks = BENCHMARKS[entry[0]][0]
    decay = STRATEGIES[entry[2]] * ARCHITECTURES[entry[1]]
    chance = {"task_masked": 0.5, "class_incremental": 0.0}
    draw = _generator(entry, 0)
    rows = []
    for seed in SEEDS:
        for after in _rows_taken(entry, seed):
            for task in range(1, tasks + 1):
                for metric, floor in chance.items():
                    learnt = 0.97 if metric == "task_masked" else 0.9
                    seen = task <= after
                    value = floor + seen * (learnt - floor) * np.exp(-decay * (after - task))
                    value = float(np.clip(value + draw.normal(0, 0.015), 0, 1))
                    rows.append((seed, after, task, metric, value))
    return pd.DataFrame(rows, columns=["seed", "after_task", "task", "metric", "value"])


def _erank(entry: tuple[str, ...]) -> pd.DataFrame:
    decay = 0.2 * STRATEGIES[entry[2]] * ARCHITECTURES[entry[1]]
    draw = _generator(entry, 1)
    rows = []
    for seed in SEEDS:
        for task in _rows_taken(entry, seed):
            for depth, layer in enumerate(LAYERS):
                full = {"weight": 120.0 / (depth + 1), "activation": 60.0 / (depth + 1)}
                for matrix, rank in full.items():
                    rise = 1.3 if matrix == "activation" and task == 1 else 1.0
                    shrunk = rank * ARCHITECTURES[entry[1]] * rise * np.exp(-decay * task)
                    value = float(shrunk * np.exp(draw.normal(0, 0.02)))
                    rows.append(
                        (seed, task, layer, "erank_sigma_uncentred", value, matrix, depth, 200, 100)
                    )
    columns = ["seed", "task", "layer", "statistic", "value", "matrix", "depth", "rows", "columns"]
    return pd.DataFrame(rows, columns=columns)
