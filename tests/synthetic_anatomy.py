"""Tables of an invented two-task study, in the columns of the real ones, for tests of figures.

Three architectures, three seeds; seed 1 of vgg with EWC at strength 1000 on split-cifar10
diverges in task 2, and so does seed 2 of vgg with SGD on dilution~0.2.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from forgetting import tables

STAGES = {
    "vgg": ["stage1", "stage2", "stage3", "stage4", "stage5", "features", "head"],
    "resnet": ["stem", "stage1", "stage2", "stage3", "stage4", "features", "head"],
    "densenet": ["stem", "block1", "block2", "block3", "block4", "features", "head"],
}
FEATURES = [16, 32, 64, 128, 128, 128, 5]
SHIFTS = ["split-cifar10", "cifar100-shift"]
STRENGTHS = {
    "replay": ["0.01", "0.05", "0.1", "0.5"],
    "ewc": ["1", "10", "100", "1000", "10000"],
    "si": ["0.01", "0.1", "1"],
}
LADDERS = [f"{name}~{rung}" for name, rungs in STRENGTHS.items() for rung in rungs]
FREEZE = [f"freeze~{k}" for k in range(1, 7)]
RATES = [f"sgd-lr~{rate}" for rate in ("0.0001", "0.001", "0.01", "0.1")]
SHARES = ["0.0", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1.0"]
MIXTURES = [f"{kind}~{share}" for kind in ("dilution", "interpolation") for share in SHARES]
GROUPS = [f"{a}-{b}" for a in ("animals", "artifacts") for b in ("animals", "artifacts")]
SETUPS = {
    "setup-a-animals": ["ship", "truck"],
    "setup-a-objects": ["ship", "truck"],
    "setup-b-animals": ["deer", "dog", "ship", "truck"],
    "setup-b-objects": ["deer", "dog", "ship", "truck"],
    "setup-a-animals-other": ["ship", "truck", "other"],
    "setup-a-objects-other": ["ship", "truck", "other"],
    "setup-c": [
        "large_carnivores",
        "medium_mammals",
        "small_mammals",
        "food_containers",
        "household_electrical_devices",
        "vehicles_1",
    ],
}
SEEDS = [0, 1, 2]
EPOCHS = 10
DIVERGED = {("split-cifar10", "vgg", "ewc~1000", 1), ("dilution~0.2", "vgg", "sgd", 2)}
ONLY_SGD = [*MIXTURES, *GROUPS, *SETUPS]


def entries() -> Iterator[tuple[str, str, str]]:
    """Benchmark, architecture and strategy of every run."""
    for architecture in STAGES:
        for benchmark in SHIFTS:
            for strategy in ["sgd", "task2-only", *LADDERS, *FREEZE, *RATES]:
                yield benchmark, architecture, strategy
        for benchmark in ONLY_SGD:
            yield benchmark, architecture, "sgd"


def study() -> dict[str, pd.DataFrame]:
    """Every table by name."""
    makers = {
        "accuracy": _accuracy,
        "learning_curve": _learning_curve,
        "cka": _cka,
        "subspace": _subspace,
        "rewind": _rewind,
        "overlap": _overlap,
        "logit_change": _logit_change,
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in (*makers, "runs")}
    for number, entry in enumerate(entries()):
        for seed in SEEDS:
            diverged = (*entry, seed) in DIVERGED
            identity = dict(zip(tables.ID, (*entry, seed), strict=True))
            rows["runs"].append({**identity, **_ending(diverged)})
            for place, (name, make) in enumerate(makers.items()):
                noise = np.random.default_rng([number, seed, place])
                for row in make(entry, noise):
                    if not (diverged and row.get("after_task", row.get("task")) == 2):
                        rows[name].append({**identity, **row})
    found = {name: pd.DataFrame(table) for name, table in rows.items()}
    found["runs"] = found["runs"].astype(dict.fromkeys(["diverged_task", "diverged_step"], "Int64"))
    return found


def _ending(diverged: bool) -> dict[str, Any]:
    return {
        "status": "diverged" if diverged else "finished",
        "diverged_task": 2 if diverged else None,
        "diverged_step": 17 if diverged else None,
        "datasets": "shapes",
        "stand_in": True,
        "evidence": "stand-in",
        "scenario_metric": "task_masked",
        "tasks": 2,
    }


def _strength(strategy: str) -> float:
    """How much a strategy keeps task 1, between 0 and 1."""
    base, _, rung = strategy.partition("~")
    if base in STRENGTHS:
        return (STRENGTHS[base].index(rung) + 1) / (len(STRENGTHS[base]) + 1)
    if base == "freeze":
        return float(rung) / 12
    return 0.0


def _kept(entry: tuple[str, str, str]) -> float:
    """Share of what task 1 has gained over chance that is left after task 2."""
    benchmark, _, strategy = entry
    base, _, rung = benchmark.partition("~")
    kept = 0.3
    if base in ("dilution", "interpolation"):
        kept = 0.35 + 0.6 * float(rung) - 0.25 * np.exp(-(((float(rung) - 0.12) / 0.1) ** 2))
    if benchmark in GROUPS:
        kept = [0.5, 0.6, 0.62, 0.25][GROUPS.index(benchmark)]
    if benchmark in SETUPS:
        kept = {"setup-a-animals": 0.3, "setup-a-objects": 0.6}.get(benchmark, 0.45)
    return float(kept + (1 - kept) * 0.8 * _strength(strategy))


def _accuracy(entry: tuple[str, str, str], noise: np.random.Generator) -> Iterator[dict[str, Any]]:
    frozen = 0.0015 * float(entry[2].partition("~")[2]) ** 3 if "freeze" in entry[2] else 0.0
    for after in (0, 2) if entry[2] == "task2-only" else (0, 1, 2):
        for task in (1, 2):
            learned = 0.85 if task == 1 else 0.87 - frozen
            value = 0.5
            if after >= task and not (entry[2] == "task2-only" and task == 1):
                value = learned if after == task else 0.5 + 0.35 * _kept(entry)
            value = float(np.clip(value + noise.normal(0, 0.012), 0, 1))
            for metric, factor in (("task_masked", 1.0), ("class_incremental", 0.6)):
                about = {"metric": metric, "after_task": after, "task": task}
                yield {**about, "value": factor * value}


def _learning_curve(
    entry: tuple[str, str, str], noise: np.random.Generator
) -> Iterator[dict[str, Any]]:
    if entry[2] != "sgd":
        return
    within = [0.1, 0.25, 0.5, 1, 2, 4, 7, EPOCHS]
    moments = [(0, 0.0, 0.0)] + [
        (task, 0.0 if epoch == EPOCHS else epoch, EPOCHS * (task - 1) + epoch)
        for task in (1, 2)
        for epoch in within
    ]
    for task, epoch, done in moments:
        for of_task in (1, 2):
            classes = SETUPS.get(entry[0], ["a", "b"])
            for place, output in enumerate(["", *classes]):
                value = 0.5
                since = done - EPOCHS * (of_task - 1)
                if since > 0:
                    value += 0.36 * (1 - np.exp(-since))
                if of_task == 1 and task == 2:
                    lost = (1 - _kept(entry)) * (0.7 + 0.12 * place)
                    value -= 0.36 * lost * (1 - np.exp(-(done - EPOCHS)))
                value = float(np.clip(value + noise.normal(0, 0.01), 0, 1))
                for statistic, factor in (("task_masked", 1.0), ("class_incremental", 0.6)):
                    yield {
                        "task": task,
                        "layer": "",
                        "statistic": statistic,
                        "value": factor * value,
                        "epoch": epoch,
                        "epochs_done": done,
                        "of_task": of_task,
                        "output": output,
                    }


def _stages(entry: tuple[str, str, str]) -> Iterator[tuple[dict[str, Any], int]]:
    for depth, layer in enumerate(STAGES[entry[1]], start=1):
        yield {"layer": layer, "depth": depth}, FEATURES[depth - 1]


def _cka(entry: tuple[str, str, str], noise: np.random.Generator) -> Iterator[dict[str, Any]]:
    if entry[0] not in SHIFTS or entry[2] == "task2-only":
        return
    for about, features in _stages(entry):
        fall = 0.9 * (1 - _strength(entry[2])) * (about["depth"] / 7) ** 2
        value = float(np.clip(1 - fall + noise.normal(0, 0.015), -1, 1))
        for statistic, bias in (("cka_biased", 0.15), ("cka_debiased", 0.0)):
            biased = value + bias * (1 - value)
            yield {
                "task": 2,
                **about,
                "statistic": statistic,
                "value": biased,
                "features": features,
            }


def _subspace(entry: tuple[str, str, str], noise: np.random.Generator) -> Iterator[dict[str, Any]]:
    if entry[0] not in SHIFTS or entry[2].partition("~")[0] not in ("sgd", *STRENGTHS):
        return
    own = 1.0 if entry[2].startswith("replay") else -0.6
    falls = {
        "task1-task2": 0.9,
        "task1-task1_post_task2": 0.7 * (1 - _strength(entry[2])),
        "task2-task1_post_task2": 0.5 + 0.4 * own * _strength(entry[2]),
    }
    for about, features in _stages(entry):
        for condition, fall in falls.items():
            value = 1 - fall * (about["depth"] / 7) ** 1.5 + noise.normal(0, 0.015)
            for k in (2, 5, 10, 20):
                if k > features:
                    continue
                shared = {"task": 2, **about, "condition": condition, "k": k, "features": features}
                value = float(np.clip(value, 0, 1))
                yield {**shared, "statistic": "subspace_similarity", "value": value}
                yield {**shared, "statistic": "chance", "value": k / features}


def _rewind(entry: tuple[str, str, str], noise: np.random.Generator) -> Iterator[dict[str, Any]]:
    if entry[0] not in SHIFTS or entry[2] != "sgd":
        return
    stages = [name for name in STAGES[entry[1]] if name != "features"]
    for direction, power in (("top-down", 0.5), ("bottom-up", 3.0)):
        order = stages if direction == "bottom-up" else stages[::-1]
        for count in range(len(stages) + 1):
            value = 0.55 + 0.3 * (count / len(stages)) ** power + noise.normal(0, 0.01)
            yield {
                "task": 2,
                "direction": direction,
                "stages_reset": count,
                "layer": order[count - 1] if count else "",
                "statistic": "accuracy_task1",
                "value": float(np.clip(value, 0, 1)),
            }


def _overlap(entry: tuple[str, str, str], noise: np.random.Generator) -> Iterator[dict[str, Any]]:
    if entry[0] not in ONLY_SGD:
        return
    base, _, rung = entry[0].partition("~")
    level = float(rung) if rung else 0.2 + 0.15 * ([*GROUPS, *SETUPS].index(base) % 5)
    for task in (1, 2):
        for about, _ in _stages(entry):
            for statistic, floor in (
                ("trace_overlap_uncentred", 0.5),
                ("trace_overlap_centred", 0.1),
            ):
                value = floor + (0.98 - floor) * level + noise.normal(0, 0.012)
                value = float(np.clip(value, 0, 1))
                yield {"task": task, **about, "statistic": statistic, "value": value}


def _logit_change(
    entry: tuple[str, str, str], noise: np.random.Generator
) -> Iterator[dict[str, Any]]:
    if entry[0] not in SHIFTS or not entry[2].startswith("sgd-lr"):
        return
    rate = float(entry[2].partition("~")[2])
    agreement = {
        "cosine": 0.98 - 2 * rate**0.7 + noise.normal(0, 0.01),
        "correlation": 0.97 - 2 * rate**0.7,
        "slope": 1 + 6 * rate**0.6 + noise.normal(0, 0.05),
        "predicted_norm": 10 * rate,
        "measured_norm": 11 * rate,
    }
    for statistic, value in agreement.items():
        yield {"task": 2, "layer": "head", "statistic": statistic, "value": float(value)}
