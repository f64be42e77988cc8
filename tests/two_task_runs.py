"""Small runs of two tasks, really trained, that tests of measures share."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import toy
from forgetting import datasets
from forgetting.commands import train
from forgetting.runs import RunView, open_run

SEEDS = [4, 7]
BENCHMARKS: dict[str, dict[str, Any]] = {
    # A head for each task, three classes each.
    "heads": {"component": "split", "settings": {"tasks": 2}},
    # One head, whose new outputs come with task 2.
    "growing": {
        "component": "split",
        "settings": {"tasks": 2, "scenario": "class_incremental", "class_order": "seeded"},
    },
    # One head for three superclasses, whose images change.
    "shift": {"component": "distribution_shift", "settings": {}},
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "sgd": {"component": "sgd", "settings": {}},
    # All hidden stages of a residual network, of a multilayer perceptron.
    "frozen-resnet18": {"component": "freeze", "settings": {"stages": 5, "statistics": True}},
    "frozen-mlp": {"component": "freeze", "settings": {"stages": 2}},
    "task2-only": {"component": "single_task", "settings": {"task": 2}},
    "replay": {"component": "experience_replay", "settings": {}},
}


def dataset() -> datasets.Dataset:
    """Six fine classes in three coarse ones."""
    plain = toy.dataset()
    return dataclasses.replace(
        plain,
        train_coarse_labels=np.asarray(plain.train_labels) // 2,
        test_coarse_labels=np.asarray(plain.test_labels) // 2,
        label_names=["ship", "truck", "cat", "horse", "deer", "dog"],
        coarse_label_names=["vehicles", "pets", "game"],
    )


def trained(
    home: Path,
    strategy: str = "sgd",
    *,
    benchmark: str = "shift",
    architecture: str = "resnet18",
    against: dict[str, RunView] | None = None,
    **training: Any,
) -> RunView:
    """Train both seeds in float64 below a folder, and open the run."""
    data = home / "data" / "toy.json"
    if not data.exists():
        data.parent.mkdir(parents=True)
        datasets.write(dataset(), data.with_suffix(".safetensors"), path_json=data)
    settings = {"batch_size": 8, "epochs": 2, "learning_rate": 0.05, "dtype": "float64"} | training
    words: dict[str, Any] = {
        "study": "toy",
        "preset": "quick",
        "benchmark": json.dumps({"name": benchmark, **BENCHMARKS[benchmark]}),
        "architecture": json.dumps(
            {"name": "net", "component": architecture, "settings": toy.SMALL[architecture]}
        ),
        "strategy": json.dumps({"name": strategy, "parts": [STRATEGIES[strategy]]}),
        "training": json.dumps(settings),
        "seeds": json.dumps(SEEDS),
        "data": str(data),
        "device": "cpu",
        "out": str(home / strategy),
    }
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    train.run(
        parser.parse_args([text for key, value in words.items() for text in (f"--{key}", value)])
    )
    paths = {role: run.folder / "run.json" for role, run in (against or {}).items()}
    return open_run(home / strategy / "run.json", [data], torch.device("cpu"), against=paths)


def diverged(run: RunView, seed: int, task: int) -> RunView:
    """The same run, said to have lost a seed in a task."""
    about = {**run.record["seeds"], str(seed): {"status": "diverged", "task": task, "step": 3}}
    return dataclasses.replace(run, record={**run.record, "seeds": about})
