"""Command lines of small trainings, and what such a training leaves."""

import json
import os
import sys
from pathlib import Path

import toy
from forgetting import datasets

PACKAGE = Path(__file__).parents[1] / "workflow"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE), "OMP_NUM_THREADS": "1"}
BENCHMARK = {
    "name": "toy",
    "component": "split",
    "settings": {"tasks": 3, "scenario": "class_incremental", "class_order": "seeded"},
}
STRATEGIES = {
    "sgd": [{"component": "sgd", "settings": {}}],
    "lwf": [{"component": "lwf", "settings": {"alpha": 1.0}}],
    "experience_replay": [{"component": "experience_replay", "settings": {"buffer": 40}}],
}


def prepare(folder: Path) -> Path:
    """Write the prepared toy images below a folder; return their description."""
    home = folder / "data"
    home.mkdir(parents=True)
    datasets.write(toy.dataset(), home / "toy.safetensors", path_json=home / "toy.json")
    return home / "toy.json"


def command(
    data, out, *, strategy="sgd", seeds=(0,), architecture="mlp", start=(), more=(), **training
) -> list[str]:
    values = {
        "--study": "toy",
        "--preset": "quick",
        "--benchmark": json.dumps(BENCHMARK),
        "--architecture": json.dumps(
            {"name": architecture, "component": architecture, "settings": toy.SMALL[architecture]}
        ),
        "--strategy": json.dumps(
            strategy
            if isinstance(strategy, dict)
            else {"name": strategy, "parts": STRATEGIES[strategy]}
        ),
        "--training": json.dumps({"batch_size": 4, "dtype": "float32", **training}),
        "--seeds": json.dumps(list(seeds)),
        "--data": str(data),
        "--device": "cpu",
        "--out": str(out),
    }
    flat = [text for pair in values.items() for text in pair]
    return [sys.executable, "-m", "forgetting", "train", *flat, "--start", *map(str, start), *more]


def facts(out: Path) -> tuple:
    """What a run says of its training: everything but time, place and provenance."""
    record = json.loads((out / "run.json").read_text())
    tables = [(out / f"{name}.parquet").read_bytes() for name in ("accuracy", "history")]
    return record["checkpoints"], record["seeds"], record["status"], *tables
