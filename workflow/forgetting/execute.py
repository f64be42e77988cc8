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
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet
import torch

from forgetting import building, checkpoints, publishing, resume, specification, training
from forgetting.devices import describe
from forgetting.ensemble import Ensemble, Tensors
from forgetting.errors import UserError
from forgetting.loop import Loop
from forgetting.results import atomic
from forgetting.strategy import Strategy
from forgetting.tasks import Benchmark

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
    device: torch.device
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
    with (
        resume.Signals() as signals,
        resume.locked(store, waiting=lambda: report("another process trains this run: waiting")),
    ):
        described = building.read_sidecars(job.sidecars)
        parent = _parent(job)
        key = _key(job, described, parent)
        state = store / key
        for stale in store.iterdir():
            if stale.is_dir() and stale != state:
                shutil.rmtree(stale)
        if publishing.intact(job.folder, state / "run.json"):
            report("finished before: published again")
        else:
            _train(job, described, parent, state, signals, report=report, code_now=code_now)
        for name in SMALL:
            with atomic(job.folder / name) as temporary:
                shutil.copyfile(state / name, temporary)
        (store / "progress.json").unlink(missing_ok=True)


def _loop(spec: dict[str, Any]) -> ModuleType:
    """Return the module whose ``Training`` and ``Settings`` a run of the benchmark has."""
    module = specification.component("benchmarks", spec["benchmark"]["component"])
    name = getattr(module, "TRAINED_BY", None)
    return training if name is None else importlib.import_module(f"forgetting.{name}")


def _train(
    job: Job,
    described: list[dict[str, Any]],
    parent: tuple[dict[str, Any], Path] | None,
    state: Path,
    signals: resume.Signals,
    *,
    report: Callable[[str], None],
    code_now: Callable[[], str],
) -> None:
    spec, seeds = job.spec, list(job.spec["seeds"])
    loop = _loop(spec)
    settings = specification.settings(loop.Settings, spec["training"], at="training")
    everyone = building.benchmark(spec, job.sidecars, seeds=seeds, device=job.device)
    _check_parent(job, parent, everyone)
    together = building.vectorises(spec, job.device) if job.vectorise is None else job.vectorise
    if together and len(seeds) > 1 and everyone.rectangular():
        groups = [list(range(len(seeds)))]
    else:
        groups = [[position] for position in range(len(seeds))]
    facts = []
    for number, positions in enumerate(groups):
        own = [seeds[position] for position in positions]
        home = state / f"group-{number}"
        benchmark = everyone if len(groups) == 1 else everyone.alone(positions[0])

        def keep(
            name: str, task: int, epoch: float, tensors: Tensors, home: Path = home, own: Any = own
        ) -> None:
            path = home / f"{name}.safetensors"
            checkpoints.write(path, tensors, seeds=own, task=task, epoch=epoch)

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
            keep=keep,
            start=_start(spec, parent, positions, everyone),
            fresh=fresh,
        )
        facts.append(_train_group(job, run, home, signals, (number, len(groups)), report))
    if parent is not None:
        facts.append(_inherited(spec, parent))
    hashes, moments = publishing.join_checkpoints(job.folder, state, groups, seeds)
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
            "device": describe(job.device),
            "threads": torch.get_num_threads(),
            "versions": publishing.versions(),
            "commit": publishing.commit(),
            "wall_seconds": round(sum(fact["elapsed"] for fact in facts), 3),
        },
    )
    for number in range(len(groups)):
        shutil.rmtree(state / f"group-{number}", ignore_errors=True)


def _train_group(
    job: Job,
    training: Loop,
    home: Path,
    signals: resume.Signals,
    place: tuple[int, int],
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train one group to its end and return its facts; resume where it was left."""
    done = resume.load(home / "facts.pt")
    if done is not None:
        return done
    before, started = 0.0, time.monotonic()
    saved = resume.load(home / "rolling.pt")
    if saved is not None:
        training.restore(saved["training"])
        before = saved["elapsed"]
        report(f"resumed at task {training.phase + 1}, epoch {training.epoch + 1}")

    def elapsed() -> float:
        return before + time.monotonic() - started

    def progress() -> None:
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
                "elapsed": elapsed(),
                "device": describe(job.device),
            },
        )

    saver = resume.Saver(
        home / "rolling.pt",
        lambda: {"training": training.state(), "elapsed": elapsed()},
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
        "elapsed": elapsed(),
    }
    resume.save(home / "facts.pt", facts)
    (home / "rolling.pt").unlink(missing_ok=True)
    return facts


def _parent(job: Job) -> tuple[dict[str, Any], Path] | None:
    if job.parent is None:
        return None
    if not job.parent.exists():
        raise UserError(f"{job.parent}: not there; train the run that this one starts from")
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
    moment = checkpoints.name(start["task"], start.get("epoch"))
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
    theirs = building.benchmark(parent[0]["spec"], job.sidecars, seeds=seeds, device=job.device)
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
    accuracy = pyarrow.parquet.read_table(folder / "accuracy.parquet").to_pylist()
    history = pyarrow.parquet.read_table(folder / "history.parquet").to_pylist()
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
        "elapsed": 0.0,
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
