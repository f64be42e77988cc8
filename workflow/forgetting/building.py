"""From a run's specification to the objects it names: data sets, benchmark, networks.

Training and measuring both build from here, so that a checkpoint is always looked at through the
network and the images it was trained with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from forgetting import datasets, specification
from forgetting.randomness import torch_generator
from forgetting.results import read_json
from forgetting.stages import Stages
from forgetting.tasks import Benchmark

Spec = dict[str, Any]


def read_sidecars(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the descriptions (data/KEY.json) of prepared data sets.

    Raises:
        UserError: One is missing or damaged.
    """
    return [read_json(path, otherwise=datasets.again(path)) for path in paths]


def benchmark(
    spec: Spec, sidecars: Sequence[Path], *, seeds: Sequence[int], device: torch.device
) -> Benchmark:
    """Return the run's benchmark for these seeds; sidecars are in the order of its data sets."""
    entry = spec["benchmark"]
    module = specification.component("benchmarks", entry["component"])
    loaded = [datasets.read(path.with_suffix(".safetensors"), described=path) for path in sidecars]
    return module.build(
        loaded,
        specification.settings(module.Settings, entry["settings"], at=entry["name"]),
        name=entry["name"],
        seeds=list(seeds),
        device=device,
        dtype=getattr(torch, spec["training"]["dtype"]),
    )


def networks(
    spec: Spec,
    of: Benchmark,
    *,
    seeds: Sequence[int],
    role: Sequence[str | int] = ("initialisation",),
) -> list[Stages]:
    """Return the run's network for each seed, as it is before training, on the benchmark's device.

    The initialisation depends on benchmark, seed and ``role`` only, so strategies share it.
    """
    entry = spec["architecture"]
    module = specification.component("architectures", entry["component"])
    settings = specification.settings(module.Settings, entry["settings"], at=entry["name"])
    return [
        module.build(
            of.input_shape,
            of.outputs,
            settings,
            torch_generator(spec["benchmark"]["name"], seed, *role),
        ).to(of.device, of.dtype)
        for seed in seeds
    ]


def vectorises(spec: Spec, device: torch.device) -> bool:
    """Whether the run is faster with its seeds as a batch axis than in turn.

    The architecture says so. On a CPU a step of one sample is all overhead, and mapping over seeds
    adds more than it saves.
    """
    if device.type == "cpu" and spec["training"].get("batch_size") == 1:
        return False
    module = specification.component("architectures", spec["architecture"]["component"])
    return bool(module.VECTORISE)
