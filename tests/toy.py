"""Small benchmarks and trainings that tests of the engine share."""

import importlib

import numpy as np
import torch

from forgetting.benchmarks import split
from forgetting.datasets import Dataset
from forgetting.ensemble import Ensemble
from forgetting.randomness import torch_generator
from forgetting.strategy import Strategy
from forgetting.training import Settings, Training

CPU = torch.device("cpu")
SMALL = {
    "mlp": {"hidden": [12, 12]},
    "mnist_cnn": {"width": 3, "hidden": 12},
    "convgru": {"channels": 3, "steps": 4},
    "bi_convgru": {"channels": 3, "steps": 4},
    "resnet18": {"width": 2},
    "vgg": {"layers": 11, "width": 2},
    "densenet": {"blocks": [1, 1, 1, 1], "growth": 2},
}


def dataset(classes: int = 6, per_class: int = 30, size: int = 8, channels: int = 1) -> Dataset:
    """Noisy prototypes, five sixths for training; the same at every call."""
    rng = np.random.default_rng(0)
    labels = np.arange(classes * per_class) % classes
    prototypes = rng.integers(0, 255, (classes, size, size, channels))
    images = np.clip(
        prototypes[labels] + rng.normal(0, 60, (len(labels), size, size, channels)), 0, 255
    )
    images, labels = images.astype(np.uint8), labels.astype(np.int64)
    cut = len(labels) * 5 // 6 // classes * classes
    return Dataset(
        name="toy",
        train_images=images[:cut],
        train_labels=labels[:cut],
        test_images=images[cut:],
        test_labels=labels[cut:],
        stand_in=True,
    )


def benchmark(seeds, *, dtype=torch.float64, data: Dataset | None = None, **settings):
    return split.build(
        [data or dataset()],
        split.Settings(**{"tasks": 3, "class_order": "seeded", **settings}),
        name="toy",
        seeds=list(seeds),
        device=CPU,
        dtype=dtype,
    )


def networks(of, seeds, architecture="mlp", role=("initialisation",)):
    module = importlib.import_module(f"forgetting.architectures.{architecture}")
    return [
        module.build(
            of.input_shape,
            of.outputs,
            module.Settings(**SMALL[architecture]),
            torch_generator("toy", seed, *role),
        ).to(of.pool.mean.dtype)
        for seed in seeds
    ]


def training(
    parts,
    seeds=(0,),
    *,
    architecture="mlp",
    dtype="float64",
    scenario="class_incremental",
    of=None,
    **settings,
):
    """Return a training that has not begun; its checkpoints are collected in ``.kept``.

    ``of`` is the benchmark, by default the one of this module.
    """
    of = of or benchmark(seeds, dtype=getattr(torch, dtype), scenario=scenario)
    kept: dict[str, dict[str, torch.Tensor]] = {}

    def keep(name, task, epoch, tensors):
        kept[name] = {n: t.detach().clone() for n, t in tensors.items()}

    def fresh(task):
        return Ensemble(networks(of, seeds, architecture, ("fresh", task))).state()

    result = Training(
        of,
        networks(of, seeds, architecture),
        Strategy.from_entry({"parts": parts}),
        Settings(**{"batch_size": 8, "epochs": 2, "momentum": 0.9, "dtype": dtype, **settings}),
        name="toy",
        seeds=list(seeds),
        keep=keep,
        fresh=fresh,
    )
    result.kept = kept
    return result


def trained(*arguments, **keywords):
    result = training(*arguments, **keywords)
    result.run()
    return result
