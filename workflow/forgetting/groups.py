"""The seeds of a pack in groups, and one group trained to its end, however often it is interrupted.

Seeds are trained together where the architecture gains from it (one group), in turn where it does
not (a group a seed). On the way a group keeps its checkpoints and a rolling state in its home;
when it is done its *facts* replace the state:

- ``accuracy`` and ``history``: rows as in :class:`forgetting.recording.Record`;
- ``diverged``: task and step by seed;
- ``checkpoints``: checksums by name, by which they are known again when the run is published,
  perhaps days later;
- ``usage``: of all processes that worked on it, as :class:`forgetting.usage.Usage` has it.

On another kind of device a group begins anew: which seeds are trained together may be otherwise
there, and the state of a generator of one kind means nothing to one of another.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from forgetting import checkpoints, devices, resume
from forgetting.ensemble import Tensors
from forgetting.loop import Loop
from forgetting.usage import Meter

Keep = Callable[[str, int, float, Tensors], None]
"""Called with (checkpoint's name, task, epoch, tensors with a leading seed axis)."""


@dataclass(frozen=True)
class Group:
    """Seeds that are trained together."""

    number: int
    """Which one, from 0."""
    of: int
    """How many there are."""
    positions: list[int]
    """Where in the pack its seeds are."""
    seeds: list[int]
    home: Path


def split(seeds: list[int], state: Path, *, together: bool, device: torch.device) -> list[Group]:
    """Return the groups of a pack, with homes in the folder of the run's state.

    A home's name says on what kind of device, and by number and count which of the seeds. So what
    another kind of device left, or seeds in other groups, is never found there.
    """
    everyone = list(range(len(seeds)))
    positions = [everyone] if together and len(seeds) > 1 else [[each] for each in everyone]
    name = f"group-{device.type}-{{}}-of-{len(positions)}"
    return [
        Group(number, len(positions), mine, [seeds[i] for i in mine], state / name.format(number))
        for number, mine in enumerate(positions)
    ]


def train(
    group: Group,
    begin: Callable[[Group, Keep], Loop],
    signals: resume.Signals,
    *,
    metric: str,
    save_every: float,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train a group to its end and return its facts; go on where it was left.

    Args:
        group: The group.
        begin: Makes its training; it is given what keeps a checkpoint.
        signals: What tells to save, or to save and end.
        metric: The accuracy that ``status`` is told of.
        save_every: Seconds between rolling states.
        report: Receives lines for the log.
    """
    done = resume.load(group.home / "facts.pt")
    if done is not None:
        return done
    kept: dict[str, str] = {}
    loop = begin(group, _keeper(group, kept))
    saved = resume.load(group.home / "rolling.pt")
    meter = Meter(loop.device, None if saved is None else saved["usage"])
    if saved is not None:
        loop.restore(saved["training"])
        kept.update(saved["checkpoints"])
        report(f"resumed at task {loop.phase + 1}, epoch {loop.epoch + 1}")

    def state() -> dict[str, Any]:
        return {"training": loop.state(), "checkpoints": kept, "usage": meter.total().state()}

    def progress() -> None:
        meter.look()
        _tell(group, loop, metric, seconds=meter.total().wall_seconds)

    rolling = group.home / "rolling.pt"
    loop.run(resume.Saver(rolling, state, signals, every=save_every, report=progress))
    for seed, (task, step) in loop.record.diverged.items():
        report(f"seed {seed} diverged in task {task} at step {step}")
    facts = {
        "accuracy": loop.record.accuracy,
        "history": loop.record.history,
        "diverged": {str(seed): list(at) for seed, at in loop.record.diverged.items()},
        "checkpoints": kept,
        "usage": meter.total().state(),
    }
    resume.save(group.home / "facts.pt", facts)
    rolling.unlink(missing_ok=True)
    return facts


def _keeper(group: Group, kept: dict[str, str]) -> Keep:
    """Return what keeps a checkpoint in the group's home, and its checksum in ``kept``."""

    def keep(name: str, task: int, epoch: float, tensors: Tensors) -> None:
        path = group.home / f"{name}.safetensors"
        kept[name] = checkpoints.write(path, tensors, seeds=group.seeds, task=task, epoch=epoch)

    return keep


def _tell(group: Group, loop: Loop, metric: str, *, seconds: float) -> None:
    """Write how far the run is, which :mod:`forgetting.progress` reads."""
    accuracy = loop.record.accuracy
    last = accuracy[-1][1] if accuracy else 0
    latest = [row[4] for row in accuracy if row[1] == last and row[3] == metric]
    resume.write_json(
        group.home.parent.parent / "progress.json",
        {
            "pid": os.getpid(),
            "task": min(loop.phase + 1, len(loop.phases)),
            "tasks": len(loop.phases),
            "progress": (group.number + loop.progress) / group.of,
            "accuracy": sum(latest) / len(latest) if latest else None,
            "elapsed": seconds,
            "device": devices.describe(loop.device),
        },
    )
