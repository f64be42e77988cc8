"""Tables of an invented study of plasticity, in the columns of the real ones, for tests of figures.

Benchmark ``permuted-mnist`` with every strategy (``layer_norm_l2`` on a network of its own) and
``permuted-digits`` with SGD on a network whose spectrum is known. Twenty tasks, measured at their
start every fourth. Seed 1 of SGD on permuted-mnist diverges in task 15. On ``slippery-ant``, which
has no data set, agents learn from rollouts that tasks cut in two; there seed 2 of Adam diverges in
task 3.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from forgetting import spectra, tables
from forgetting.tables.of_measures import EIGENVALUES
from forgetting.tables.performance import rank_and_performance

PLASTIC = {  # how much of what a strategy learned at first it learns at last
    "sgd": 0.3,
    "l2": 0.55,
    "effective_rank": 0.4,
    "l2_effective_rank": 0.95,
    "replace_most_useful": 0.7,
    "continual_backprop": 0.85,
    "layer_norm_l2": 0.75,
    "spectral_norm": 0.9,
    "redo": 0.65,
    "shrink_perturb_l2": 0.8,
    "reset": 1.0,
}
BENCHMARKS = {"permuted-mnist": list(PLASTIC), "permuted-digits": ["sgd"]}
TASKS = 20
MEASURED = [1, 5, 9, 13, 17, 20]
SEEDS = [0, 1, 2]
DIVERGED = ("permuted-mnist", "sgd", 1, 15)
AGENTS = {  # the return that a strategy comes to in its first task, what it loses with every other
    "adam_same_betas": (900.0, 150.0),
    "l2": (900.0, 80.0),
    "l2_effective_rank": (950.0, 10.0),
    "replace_most_useful_l2": (800.0, 40.0),
}
CHANGES = [1000, 2000, 3000, 4000]  # steps after which a task ends; the last is the end
ROLLOUT = 64
EPS = [0.0001, 0.01, 0.1, 1.0]
DIM = {"permuted-mnist": 1000, "permuted-digits": 120}
STEPS = {"permuted-mnist": [40], "permuted-digits": [10, 40]}
UNITS = 300
GRID = np.linspace(-5, 5, 9)

Row = dict[str, Any]


def architecture(benchmark: str, strategy: str) -> str:
    if benchmark == "permuted-digits":
        return "mlp-tiny"
    return "mlp-ln" if strategy == "layer_norm_l2" else "mlp"


def health(strategy: str, task: int) -> float:
    """1 on the first task, falling towards what is left at last."""
    done = (task - 1) / (TASKS - 1)
    return float(1 - (1 - PLASTIC[strategy]) * done**0.7)


def study() -> dict[str, pd.DataFrame]:
    """Every table by name."""
    makers = {
        "performance": _performance,
        "curvature": _curvature,
        "dead_units": _dead_units,
        "feature_rank": _feature_rank,
        "norms": _norms,
        "kfac": _kfac,
        "landscape": _landscape,
    }
    rows: dict[str, list[Row]] = {name: [] for name in (*makers, "runs")}
    entries = [
        (benchmark, strategy) for benchmark, all_of in BENCHMARKS.items() for strategy in all_of
    ]
    for number, (benchmark, strategy) in enumerate(entries):
        for seed in SEEDS:
            entry = (benchmark, architecture(benchmark, strategy), strategy, seed)
            identity = dict(zip(tables.ID, entry, strict=True))
            until = DIVERGED[3] if (benchmark, strategy, seed) == DIVERGED[:3] else None
            rows["runs"].append({**identity, **_ending(number, until)})
            for place, (name, make) in enumerate(makers.items()):
                noise = np.random.default_rng([number, seed, place])
                for row in make(benchmark, strategy, noise):
                    started = name == "performance" or row["moment"] == "end"
                    if (
                        until is None
                        or row["task"] < until
                        or (row["task"] == until and not started)
                    ):
                        rows[name].append({**identity, **row})
    rows["history"] = list(_agents(rows["runs"]))
    found = {name: pd.DataFrame(table) for name, table in rows.items()}
    curvature = found.pop("curvature")
    nodes = curvature["statistic"].isin(EIGENVALUES)
    found["spectra"] = (
        curvature[nodes].drop(columns=["eps", "layer", "samples"]).reset_index(drop=True)
    )
    found["hessian"] = curvature[~nodes].reset_index(drop=True)
    found["rank_and_performance"] = rank_and_performance(found["hessian"], found["performance"])
    found["runs"] = found["runs"].astype(dict.fromkeys(["diverged_task", "diverged_step"], "Int64"))
    return found


def _agents(runs: list[Row]) -> Iterator[Row]:
    """Yield the history of agents and add them to the runs."""
    for number, (strategy, (reached, lost)) in enumerate(AGENTS.items()):
        for seed in SEEDS:
            noise = np.random.default_rng([100 + number, seed])
            entry = ("slippery-ant", "actor-critic", strategy, seed)
            identity = dict(zip(tables.ID, entry, strict=True))
            until = 3 if (strategy, seed) == ("adam_same_betas", 2) else None
            about = {"datasets": "", "stand_in": False, "evidence": "reduced"}
            about |= {"scenario_metric": "return", "tasks": len(CHANGES)}
            runs.append({**identity, **_ending(number, until), **about})
            for update in range(1, CHANGES[-1] // ROLLOUT + 1):
                step = update * ROLLOUT
                task = int(np.searchsorted(CHANGES, step)) + 1
                if until is not None and task >= until:
                    break
                within = (step - 1) % 1000 / 1000
                value = (reached - lost * (task - 1)) * (0.3 + 0.7 * within) + noise.normal(0, 20)
                about = {"task": task, "epoch": 10 * update, "step": step}
                for statistic, shown in (("return", value), ("friction", 0.1 * task)):
                    yield {**identity, **about, "statistic": statistic, "value": float(shown)}


def _ending(number: int, until: int | None) -> Row:
    return {
        "status": "finished" if until is None else "diverged",
        "diverged_task": until,
        "diverged_step": None if until is None else 3,
        "datasets": "digits",
        "stand_in": True,
        "evidence": "stand-in",
        "scenario_metric": "online",
        "tasks": TASKS,
        "wall_seconds": 100.0 + 12 * number,
        "fingerprint": "0",
    }


def _performance(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    for task in range(1, TASKS + 1):
        value = 0.6 + 0.35 * health(strategy, task) + noise.normal(0, 0.004)
        yield {"task": task, "metric": "online", "value": float(value)}


def _eigenvalues(
    benchmark: str, strategy: str, task: int, noise: np.random.Generator
) -> np.ndarray:
    dim, alive = DIM[benchmark], health(strategy, task)
    spread = int(dim * 0.6 * alive)
    values = np.zeros(dim)
    values[:spread] = 10 ** noise.uniform(-3.5, 0.5, spread) * noise.choice([1, 1, 1, -0.3], spread)
    values[-5:] = 10 + 400 * (1 - alive) * noise.uniform(0.5, 1, 5)
    return np.sort(values)


def _curvature(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    for task in MEASURED:
        exact = _eigenvalues(benchmark, strategy, task, noise)
        nodes = {
            steps: [_quadrature(exact, steps, noise) for _ in range(2)]
            for steps in STEPS[benchmark]
        }
        for moment, split in (("init", "train"), ("end", "train"), ("init", "held_out")):
            if (moment, split) != ("init", "train") and strategy != "l2":
                continue
            shared = {"task": task, "layer": "all", "moment": moment, "split": split}
            shared |= {"dim": len(exact), "samples": 100}
            yield from ({**shared, **row} for row in _spectrum(nodes))
            if benchmark == "permuted-digits":
                none = {"steps": 0, "probe": -1, "index": -1, "eps": np.nan}
                for index, value in enumerate(exact):
                    about = {**none, "index": index, "statistic": "eigenvalue"}
                    yield {**shared, **about, "value": float(value)}
                for eps in EPS:
                    about = {**none, "eps": eps, "statistic": "epsilon_rank_exact"}
                    yield {**shared, **about, "value": float(np.mean(np.abs(exact) > eps))}


def _quadrature(exact: np.ndarray, steps: int, noise: np.random.Generator) -> Any:
    """Nodes in the middle of as many groups of eigenvalues, with the groups' weights, perturbed."""
    groups = np.array_split(exact, steps)
    weights = np.array([len(group) for group in groups]) * noise.uniform(0.7, 1.3, steps)
    return np.array([group.mean() for group in groups]), weights / weights.sum()


def _spectrum(nodes: dict[int, list[Any]]) -> Iterator[Row]:
    none = {"probe": -1, "index": -1, "eps": np.nan}
    for steps, probes in nodes.items():
        for probe, both in enumerate(probes):
            for name, column in zip(("ritz_value", "ritz_weight"), both, strict=True):
                for index, value in enumerate(column):
                    about = {"steps": steps, "probe": probe, "index": index, "eps": np.nan}
                    yield {**about, "statistic": name, "value": float(value)}
        shared = {**none, "steps": steps}
        yield {**shared, "statistic": "lambda_max", "value": max(v[-1] for v, _ in probes)}
        for eps in EPS:
            sound = np.mean([spectra.epsilon_rank(*probe, 1, eps) for probe in probes])
            # In the manner of the published estimator: follows the extent of the spectrum.
            smooth = 0.5 + 0.7 * sound - 0.1 * np.log10(probes[0][0][-1])
            for name, value in (("epsilon_rank", sound), ("epsilon_rank_published", smooth)):
                yield {**shared, "eps": eps, "statistic": name, "value": float(value)}


def _dead(strategy: str, task: int) -> int:
    return round(0.7 * UNITS * (1 - health(strategy, task)))


def _dead_units(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    for task in MEASURED:
        dead = _dead(strategy, task) + int(noise.integers(0, 4))
        dim = DIM[benchmark]
        for moment in ("init", "end"):
            shared = {"task": task, "moment": moment, "split": "train", "parameters": dim}
            for layer, share, units in (
                ("stage1", 0.5, 150),
                ("stage2", 0.5, 150),
                ("all", 1, 300),
            ):
                about = {**shared, "layer": layer, "units": units}
                yield {**about, "statistic": "exact_zero", "value": share * dead}
                yield {**about, "statistic": "redo_score", "value": share * dead + 5}
            if strategy != "layer_norm_l2":
                bound = float(dim - dim // UNITS * dead)
                about = {**shared, "layer": "all", "units": UNITS}
                yield {**about, "statistic": "rank_bound", "value": bound}


def _feature_rank(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    for task in MEASURED:
        value = 20 + 200 * health(strategy, task) + noise.normal(0, 4)
        for moment in ("init", "end"):
            for layer, share in (("stage1", 0.6), ("stage2", 0.4), ("all", 1.0)):
                shared = {"task": task, "moment": moment, "split": "train", "units": UNITS}
                about = {**shared, "layer": layer, "statistic": "effective_rank"}
                yield {**about, "value": float(share * value)}


def _norms(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    for task in MEASURED:
        value = 20 + 60 * (1 - health(strategy, task)) + noise.normal(0, 1)
        for layer, share in (("stage1", 0.7), ("all", 1.0)):
            about = {"task": task, "moment": "init", "split": "", "layer": layer}
            yield {**about, "statistic": "weight_norm", "value": float(share * value)}
            yield {**about, "statistic": "weight_mean_magnitude", "value": 0.01}


def _kfac(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    if benchmark != "permuted-digits":
        return
    for task in MEASURED:
        for place, layer in enumerate(["head", "stage1.linear", "stage2.linear", "all"]):
            grown = 1 - health(strategy, task)
            found = {"error_hessian": 0.2 + 0.1 * place + grown, "error_ggn": 0.1 + grown / 2}
            if layer != "all":
                found |= {
                    "effective_rank_inputs": 12 - 3 * place - 4 * grown,
                    "effective_rank_gradients": 5 - 2 * grown,
                }
            for statistic, value in found.items():
                about = {"task": task, "layer": layer, "moment": "init", "split": "train"}
                value = float(value * (1 + noise.normal(0, 0.03)))
                yield {**about, "statistic": statistic, "value": value}


def _landscape(benchmark: str, strategy: str, noise: np.random.Generator) -> Iterator[Row]:
    if benchmark == "permuted-digits" or strategy in ("redo", "reset"):
        return
    for task in (1, TASKS):
        narrow = 0.05 + 3 * (1 - health(strategy, task))
        shared = {"task": task, "of_task": task, "layer": "all", "moment": "init", "split": "train"}
        shared |= {"direction_x": "eigenvector", "direction_y": "eigenvector"}
        for x in GRID:
            for y in GRID:
                loss = 0.4 + narrow * (x - 0.3) ** 2 + 0.05 * y**2 + 0.01 * noise.random()
                place = {"x": float(x), "y": float(y)}
                yield {**shared, **place, "statistic": "loss", "value": float(loss)}
                yield {**shared, **place, "statistic": "accuracy", "value": 0.5}
