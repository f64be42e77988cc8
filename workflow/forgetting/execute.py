"""One run, from its specification to its folder: build, train, publish.

The seeds of a pack are trained together where the architecture gains from it (one *group*), in
turn where it does not (a group a seed); either way the folder looks the same. Outputs appear
last and whole: checkpoints, tables, and then ``run.json``, which carries their checksums.
"""

import functools
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from forgetting import (
    building,
    devices,
    failure,
    groups,
    publishing,
    resume,
    specification,
    training,
)
from forgetting.ensemble import Ensemble, Tensors
from forgetting.errors import UserError
from forgetting.loop import Loop
from forgetting.moments import LET_GO
from forgetting.parents import Parent
from forgetting.recording import ACCURACY, HISTORY
from forgetting.results import atomic, sweep
from forgetting.settings import Settings
from forgetting.strategy import Strategy
from forgetting.tasks import Benchmark
from forgetting.usage import Usage

SMALL = ("accuracy.parquet", "history.parquet", "run.json")


@dataclass(frozen=True)
class Job:
    """What a training job was asked to do."""

    spec: dict[str, Any]
    """study, preset, benchmark, architecture, strategy, training, seeds."""
    folder: Path
    """The run's folder."""
    sidecars: Sequence[Path]
    """Descriptions of the prepared data sets (data/KEY.json), in the benchmark's order."""
    parent: Path | None
    """run.json of the run that this one starts from."""
    code: str
    """Fingerprint of the code."""
    device: devices.Request
    """A GPU is leased when there is something to train."""
    save_every: float = 60.0
    """Seconds between rolling states."""
    vectorise: bool | None = None
    """Seeds as a batch axis; None: as the architecture says."""


def execute(job: Job, *, report: Callable[[str], None], code_now: Callable[[], str]) -> None:
    """Train the run, or finish it, or publish it again if it was finished; write its folder.

    ``report`` receives lines for the log; ``code_now`` computes the fingerprint anew, so that a
    result is never stored under code that changed meanwhile.
    """
    store = job.folder / ".resume"

    def waiting() -> None:
        report("another process trains this run: waiting")

    with (
        resume.Signals() as signals,
        resume.locked(store, signals, waiting=waiting),
        failure.noted(store),
    ):
        sweep(job.folder)
        described = building.read_sidecars(job.sidecars)
        parent = None if job.parent is None else Parent.read(job.parent)
        key = _key(job, described, parent)
        state = store / key
        for stale in store.iterdir():
            if stale.is_dir() and stale != state:
                shutil.rmtree(stale)
        if publishing.intact(job.folder, state):
            report("finished before: published again")
        else:
            device = devices.resolve(job.device, report=report, look=signals.end_if_asked)
            with devices.memory_explained(device, job.device):
                _train(job, device, described, parent, state, signals, report, code_now)
        for name in SMALL:
            with atomic(job.folder / name) as temporary:
                shutil.copyfile(state / name, temporary)
        (store / "progress.json").unlink(missing_ok=True)
        for home in state.glob("group-*"):
            shutil.rmtree(home)


def _train(
    job: Job,
    device: torch.device,
    described: list[dict[str, Any]],
    parent: Parent | None,
    state: Path,
    signals: resume.Signals,
    report: Callable[[str], None],
    code_now: Callable[[], str],
) -> None:
    """Train all groups of the pack and leave the finished run in ``state``."""
    spec, loop = job.spec, _loop(job.spec)
    settings = specification.settings(loop.Settings, spec["training"], at="training")
    everyone = building.benchmark(spec, job.sidecars, seeds=spec["seeds"], device=device)
    if parent is not None:
        parent.check(spec, everyone, job.sidecars)
    together = building.vectorises(spec, device) if job.vectorise is None else job.vectorise
    together = together and everyone.rectangular()
    pack = groups.split(spec["seeds"], state, together=together, device=device)
    begin = functools.partial(_begin, loop, settings, spec, everyone, parent)
    facts = [
        groups.train(
            group,
            begin,
            signals,
            metric=spec["benchmark"].get("metric", "task_masked"),
            save_every=job.save_every,
            report=report,
        )
        for group in pack
    ]
    # From here until the new record is there, nothing says that the folder holds a finished run.
    (job.folder / "run.json").unlink(missing_ok=True)
    (state / LET_GO).unlink(missing_ok=True)
    hashes, moments = publishing.join_checkpoints(
        job.folder,
        [group.home for group in pack],
        [fact["checkpoints"] for fact in facts],
        [group.seeds for group in pack],
    )
    if parent is not None:
        facts.append(parent.facts(spec))
    rows = sorted((row for fact in facts for row in fact["accuracy"]), key=lambda row: row[:4])
    publishing.write_table(state / "accuracy.parquet", ACCURACY, rows)
    history = sorted((row for fact in facts for row in fact["history"]), key=lambda row: row[:5])
    publishing.write_table(state / "history.parquet", HISTORY, history)
    now = code_now()
    if now != job.code:
        raise UserError(
            "the code of this job changed while it ran, so its result is not kept; "
            "run the workflow again (it resumes only if the code is as it was)"
        )
    diverged = {int(seed): at for fact in facts for seed, at in fact["diverged"].items()}
    resume.write_json(
        state / "run.json",
        {
            "spec": spec,
            "fingerprint": job.code,
            "status": "diverged" if diverged else "finished",
            "seeds": {
                str(seed): (
                    {"status": "diverged", "task": diverged[seed][0], "step": diverged[seed][1]}
                    if seed in diverged
                    else {"status": "finished"}
                )
                for seed in spec["seeds"]
            },
            "datasets": described,
            "tasks": everyone.described(),
            "parent": None if parent is None else os.path.relpath(parent.path, job.folder),
            "checkpoints": hashes,
            "checkpoint_tasks": moments,
            "device": devices.describe(device),
            "threads": torch.get_num_threads(),
            "versions": publishing.versions(),
            "commit": publishing.commit(),
            **sum((Usage(**fact["usage"]) for fact in facts), Usage()).record(device),
        },
    )


def _begin(
    loop: ModuleType,
    settings: Settings,
    spec: dict[str, Any],
    everyone: Benchmark,
    parent: Parent | None,
    group: groups.Group,
    keep: groups.Keep,
) -> Loop:
    """Return the training of a group, at its start."""
    benchmark = everyone if group.of == 1 else everyone.alone(group.positions[0])

    def fresh(task: int) -> Tensors:
        role = ("fresh", task)
        return Ensemble(building.networks(spec, benchmark, seeds=group.seeds, role=role)).state()

    return loop.Training(
        benchmark,
        building.networks(spec, benchmark, seeds=group.seeds),
        Strategy.from_entry(spec["strategy"]),
        settings,
        name=spec["benchmark"]["name"],
        seeds=group.seeds,
        keep=keep,
        start=None if parent is None else parent.start(spec, everyone, group.positions),
        fresh=fresh,
    )


def _loop(spec: dict[str, Any]) -> ModuleType:
    """Return the module whose ``Training`` and ``Settings`` a run of the benchmark has."""
    module = specification.component("benchmarks", spec["benchmark"]["component"])
    name = getattr(module, "TRAINED_BY", None)
    return training if name is None else importlib.import_module(f"forgetting.{name}")


def _key(job: Job, described: list[dict[str, Any]], parent: Parent | None) -> str:
    """Return what the state of this very run is called; see :mod:`forgetting.resume`."""
    identity = {
        "spec": job.spec,
        "code": job.code,
        "data": [about["checksum"] for about in described],
        "parent": None if parent is None else parent.record["checkpoints"],
        "vectorise": job.vectorise,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
