"""One run, from its specification to its folder: build, train, publish.

The seeds of a pack are trained together where the architecture gains from it (one *group*), in
turn where it does not (a group a seed); either way the folder looks the same. Outputs appear
last and whole: checkpoints, tables, and then ``run.json``, which carries their checksums.
"""

import hashlib
import importlib
import json
import math
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
    checkpoints,
    devices,
    failure,
    parquet,
    publishing,
    resume,
    specification,
    training,
)
from forgetting.ensemble import Ensemble, Tensors
from forgetting.errors import UserError
from forgetting.loop import Loop
from forgetting.moments import LET_GO
from forgetting.moments import name as moment_name
from forgetting.results import atomic, sweep
from forgetting.strategy import Strategy
from forgetting.tasks import Benchmark
from forgetting.usage import Meter, Usage

ACCURACY = ("seed", "after_task", "task", "metric", "value")
HISTORY = ("seed", "task", "epoch", "step", "statistic", "value")
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
        parent = _parent(job)
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


def _loop(spec: dict[str, Any]) -> ModuleType:
    """Return the module whose ``Training`` and ``Settings`` a run of the benchmark has."""
    module = specification.component("benchmarks", spec["benchmark"]["component"])
    name = getattr(module, "TRAINED_BY", None)
    return training if name is None else importlib.import_module(f"forgetting.{name}")


def _train(
    job: Job,
    device: torch.device,
    described: list[dict[str, Any]],
    parent: tuple[dict[str, Any], Path] | None,
    state: Path,
    signals: resume.Signals,
    report: Callable[[str], None],
    code_now: Callable[[], str],
) -> None:
    spec, seeds = job.spec, list(job.spec["seeds"])
    loop = _loop(spec)
    settings = specification.settings(loop.Settings, spec["training"], at="training")
    everyone = building.benchmark(spec, job.sidecars, seeds=seeds, device=device)
    _check_parent(job, parent, everyone)
    together = building.vectorises(spec, device) if job.vectorise is None else job.vectorise
    if together and len(seeds) > 1 and everyone.rectangular():
        groups = [list(range(len(seeds)))]
    else:
        groups = [[position] for position in range(len(seeds))]
    homes = [state / f"group-{number}" for number in range(len(groups))]
    packs = [[seeds[position] for position in positions] for positions in groups]
    facts = []
    for number, (positions, own, home) in enumerate(zip(groups, packs, homes, strict=True)):
        kept: dict[str, str] = {}
        benchmark = everyone if len(groups) == 1 else everyone.alone(positions[0])

        def fresh(
            task: int, benchmark: Benchmark = benchmark, own: Any = own
        ) -> dict[str, torch.Tensor]:
            role = ("fresh", task)
            return Ensemble(building.networks(spec, benchmark, seeds=own, role=role)).state()

        run = loop.Training(
            benchmark,
            building.networks(spec, benchmark, seeds=own),
            Strategy.from_entry(spec["strategy"]),
            settings,
            name=spec["benchmark"]["name"],
            seeds=own,
            keep=_keeper(home, own, kept),
            start=_start(spec, parent, positions, everyone),
            fresh=fresh,
        )
        place = (number, len(groups))
        facts.append(_train_group(job, run, home, kept, signals, place, report))
    # From here until the new record is there, nothing says that the folder holds a finished run.
    (job.folder / "run.json").unlink(missing_ok=True)
    (state / LET_GO).unlink(missing_ok=True)
    kept_by_group = [fact["checkpoints"] for fact in facts]
    hashes, moments = publishing.join_checkpoints(job.folder, homes, kept_by_group, packs)
    if parent is not None:
        facts.append(_inherited(spec, parent))
    diverged = {int(seed): at for fact in facts for seed, at in fact["diverged"].items()}
    rows = sorted((row for fact in facts for row in fact["accuracy"]), key=lambda row: row[:4])
    publishing.write_table(state / "accuracy.parquet", ACCURACY, rows)
    history = sorted((r for f in facts for r in f["history"]), key=lambda row: row[:5])
    publishing.write_table(state / "history.parquet", HISTORY, history)
    now = code_now()
    if now != job.code:
        raise UserError(
            "the code of this job changed while it ran, so its result is not kept; "
            "run the workflow again (it resumes only if the code is as it was)"
        )
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
                for seed in seeds
            },
            "datasets": described,
            "tasks": everyone.described(),
            "parent": None if parent is None else os.path.relpath(parent[1], job.folder),
            "checkpoints": hashes,
            "checkpoint_tasks": moments,
            "device": devices.describe(device),
            "threads": torch.get_num_threads(),
            "versions": publishing.versions(),
            "commit": publishing.commit(),
            **sum((Usage(**fact["usage"]) for fact in facts), Usage()).record(device),
        },
    )


def _keeper(
    home: Path, seeds: list[int], kept: dict[str, str]
) -> Callable[[str, int, float, Tensors], None]:
    """Return a function that keeps a group's checkpoint in ``home`` and its checksum in ``kept``.

    With the checksum the checkpoint is known again when the run is published, perhaps days later.
    """

    def keep(name: str, task: int, epoch: float, tensors: Tensors) -> None:
        path = home / f"{name}.safetensors"
        kept[name] = checkpoints.write(path, tensors, seeds=seeds, task=task, epoch=epoch)

    return keep


def _train_group(
    job: Job,
    training: Loop,
    home: Path,
    kept: dict[str, str],
    signals: resume.Signals,
    place: tuple[int, int],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train one group to its end and return its facts; resume where it was left."""
    done = resume.load(home / "facts.pt")
    if done is not None:
        return done
    saved = resume.load(home / "rolling.pt")
    meter = Meter(training.device, None if saved is None else saved["usage"])
    if saved is not None:
        training.restore(saved["training"])
        kept.update(saved["checkpoints"])
        report(f"resumed at task {training.phase + 1}, epoch {training.epoch + 1}")

    def progress() -> None:
        meter.look()
        share = (place[0] + training.progress) / place[1]
        last = training.record.accuracy[-1][1] if training.record.accuracy else 0
        metric = job.spec["benchmark"].get("metric", "task_masked")
        latest = [row[4] for row in training.record.accuracy if row[1] == last and row[3] == metric]
        resume.write_json(
            home.parent.parent / "progress.json",
            {
                "pid": os.getpid(),
                "task": min(training.phase + 1, len(training.phases)),
                "tasks": len(training.phases),
                "progress": share,
                "accuracy": sum(latest) / len(latest) if latest else None,
                "elapsed": meter.total().wall_seconds,
                "device": devices.describe(training.device),
            },
        )

    saver = resume.Saver(
        home / "rolling.pt",
        lambda: {
            "training": training.state(),
            "checkpoints": kept,
            "usage": meter.total().state(),
        },
        signals,
        every=job.save_every,
        report=progress,
    )
    training.run(saver)
    for seed, (task, step) in training.record.diverged.items():
        report(f"seed {seed} diverged in task {task} at step {step}")
    facts = {
        "accuracy": training.record.accuracy,
        "history": training.record.history,
        "diverged": {str(seed): list(at) for seed, at in training.record.diverged.items()},
        "checkpoints": kept,
        "usage": meter.total().state(),
    }
    resume.save(home / "facts.pt", facts)
    (home / "rolling.pt").unlink(missing_ok=True)
    return facts


def _parent(job: Job) -> tuple[dict[str, Any], Path] | None:
    if job.parent is None:
        return None
    if not job.parent.exists():
        raise UserError(f"{job.parent}: not there; train the run that this one starts from again")
    return specification.read(job.parent), job.parent


def _start(
    spec: dict[str, Any],
    parent: tuple[dict[str, Any], Path] | None,
    positions: list[int],
    everyone: Benchmark,
) -> tuple[int, Tensors] | None:
    """Return the task to start after and the parent's weights of these seeds.

    A parent whose seeds had all diverged by then kept none: they are not a number.
    """
    if parent is None:
        return None
    start, (record, run_json) = spec["strategy"]["starts_from"], parent
    moment = moment_name(start["task"], start.get("epoch"))
    if moment in record["checkpoints"]:
        path = run_json.parent / "checkpoints" / f"{moment}.safetensors"
        tensors, _ = checkpoints.read(path, expected=record["checkpoints"][moment])
        return start["task"], {name: tensor[positions] for name, tensor in tensors.items()}
    if any(about["status"] != "diverged" for about in record["seeds"].values()):
        raise UserError(
            f"{run_json}: kept no checkpoint {moment} to start from; there are "
            f"{', '.join(record['checkpoints'])}"
        )
    seeds = [spec["seeds"][position] for position in positions]
    state = Ensemble(building.networks(spec, everyone, seeds=seeds)).state()
    return start["task"], {
        name: torch.full_like(t, torch.nan) if t.is_floating_point() else t
        for name, t in state.items()
    }


def _check_parent(job: Job, parent: tuple[dict[str, Any], Path] | None, mine: Benchmark) -> None:
    """Refuse a parent of another benchmark whose tasks up to the start are not this run's."""
    if parent is None or parent[0]["spec"]["benchmark"] == job.spec["benchmark"]:
        return
    seeds, first = job.spec["seeds"], job.spec["strategy"]["starts_from"]["task"]
    theirs = building.benchmark(parent[0]["spec"], job.sidecars, seeds=seeds, device=mine.device)
    if theirs.outputs != mine.outputs or not all(
        mine.same_task(theirs, task) for task in range(1, first + 1)
    ):
        names = [spec["benchmark"]["name"] for spec in (job.spec, parent[0]["spec"])]
        raise UserError(
            f"strategies.{job.spec['strategy']['name']}.starts_from: {names[0]} cannot continue "
            f"{names[1]}, whose tasks up to {first} or number of outputs are others"
        )


def _inherited(spec: dict[str, Any], parent: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    """Return the parent's rows from before the start, which are this run's too.

    A parent that diverged before the start has no weights to start from: so has this run. (Whether
    one that starts within a task did is seen by the weights.)
    """
    task, epoch = (spec["strategy"]["starts_from"].get(part) for part in ("task", "epoch"))
    folder = parent[1].parent
    accuracy = parquet.read(folder / "accuracy.parquet").to_pylist()
    history = parquet.read(folder / "history.parquet").to_pylist()
    # A parent of another benchmark shares the tasks up to the start and no later ones.
    same = parent[0]["spec"]["benchmark"] == spec["benchmark"]
    return {
        "accuracy": [
            [row[name] for name in ACCURACY]
            for row in accuracy
            if row["after_task"] < task and (same or row["task"] <= task)
        ],
        "history": [
            [row[name] for name in HISTORY]
            for row in history
            if row["task"] < task or (row["task"] == task and row["epoch"] <= (epoch or math.inf))
        ],
        "diverged": {
            seed: [about["task"], about["step"]]
            for seed, about in parent[0]["seeds"].items()
            if about["status"] == "diverged" and about["task"] <= task - (epoch is not None)
        },
        "usage": {},
    }


def _key(
    job: Job, described: list[dict[str, Any]], parent: tuple[dict[str, Any], Path] | None
) -> str:
    identity = {
        "spec": job.spec,
        "code": job.code,
        "data": [about["checksum"] for about in described],
        "parent": None if parent is None else parent[0]["checkpoints"],
        "vectorise": job.vectorise,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
