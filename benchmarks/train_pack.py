"""Ten seeds of an MLP trained as one pack, against ten jobs of one seed each.

Both go through ``forgetting.execute``, from the specification of a run to its folder, in this
process: what a job of its own would spend on starting up counts for neither. Whether the seeds of
a pack are trained side by side or in turn is what the workflow decides itself.
"""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks._harness import Floor, Goal, Row, Scale, now
from benchmarks._images import random_images
from benchmarks.train_mlp import BATCH, operations
from forgetting import datasets
from forgetting.execute import Job, execute

SEEDS = 10


def rows(scale: Scale) -> Iterator[Row]:
    gpu = torch.cuda.is_available()
    for device, width, goal in (("cpu", 400, 1.0), ("cpu", 100, 1.3), ("cuda", 400, 8.0)):
        missing = device == "cuda" and not gpu
        images, hidden = (400, 8) if missing else (scale.of(12_800, 400), scale.of(width, 8))
        batches = max(images // BATCH, 1)
        run = functools.partial(seconds, hidden, images, "cpu" if missing else device)
        yield Row(
            f"train 10 seeds in a pack, MLP 784-{width}-{width}-10, batch {BATCH}"
            f"{', on a GPU' * (device == 'cuda')}",
            "10 single runs",
            functools.partial(run, packs=[list(range(SEEDS))], batches=batches),
            functools.partial(run, packs=[[seed] for seed in range(SEEDS)], batches=batches),
            goal=Goal(goal),
            unit="a batch of each seed",
            floor=Floor(SEEDS * BATCH * operations("sgd", hidden), device=device),
            hardware="no GPU here" if missing else "",
        )


def seconds(width: int, images: int, device: str, *, packs: list[list[int]], batches: int) -> float:
    """Return seconds for a batch of every seed."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data = home / "data.json"
        datasets.write(random_images(images), data.with_suffix(".safetensors"), path_json=data)
        started = now()
        for seeds in packs:
            job = Job(
                spec=specification(width, seeds),
                folder=home / f"seeds{seeds[0]}",
                sidecars=[data],
                parent=None,
                code="",
                device=torch.device(device),
            )
            execute(job, report=lambda line: None, code_now=lambda: "")
        return (now() - started) / batches


def specification(width: int, seeds: list[int]) -> dict:
    return {
        "study": "benchmarks",
        "preset": "quick",
        "benchmark": {
            "name": "split",
            "component": "split",
            "settings": {"tasks": 2, "scenario": "class_incremental", "mask": "none"},
        },
        "architecture": {"component": "mlp", "settings": {"hidden": [width, width]}},
        "strategy": {"name": "sgd", "parts": [{"component": "sgd", "settings": {}}]},
        "training": {
            "learning_rate": 0.01,
            "batch_size": BATCH,
            "evaluate": "current",
            "checkpoints": [],
            "dtype": "float32",
        },
        "seeds": seeds,
    }
