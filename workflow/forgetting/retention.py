"""Which checkpoints outlive their measures: all, a run's last, or none.

A run's checkpoints are let go when every measure of the study that looks at them has been taken: of
these very weights, by today's code, with today's settings. Those that another run of
the plan starts from stay. What was let go is noted beside the run's state: without them the run
still counts as finished, and it is trained again only when its folder has been deleted.
"""

import fcntl
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetting.configuration import Keep
from forgetting.errors import UserError
from forgetting.moments import LET_GO, identity, let_go, name
from forgetting.pipeline import Pipeline
from forgetting.results import atomic
from forgetting.run_table import RunSpec

PARTS = ("benchmark", "architecture", "strategy", "training")
Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Freed:
    """What one run's folder lost."""

    folder: Path
    checkpoints: int
    bytes: int


def release(pipeline: Pipeline, study: str, keep: Keep) -> Iterator[Freed]:
    """Let go of a study's checkpoints that nothing needs any more; yield what each run lost.

    A run that a process is at is left alone, and so is one that today's code would train again.

    Raises:
        UserError: The study's data are not there, so its plan is not known.
    """
    home, runs = pipeline.results / pipeline.preset / study, pipeline.plan(study).runs
    current = _current(pipeline, study, home / "runs", runs)
    awaited = _awaited(pipeline, study, current)
    for path, record in current.items():
        if path not in awaited:
            wanted = _starts(runs.values(), path) | _kept(record, keep)
            yield from _delete(home / "runs" / path, set(record["checkpoints"]) - wanted)
    grids = home / "tune" / "runs"
    if study in pipeline.tuned and grids.is_dir():  # nothing measures these, or starts from them
        for path, record in _current(pipeline, study, grids, pipeline.tuning(study).runs).items():
            yield from _delete(grids / path, set(record["checkpoints"]) - _kept(record, keep))


def check(jobs: Iterable[Any], results: Path) -> None:
    """Refuse jobs that need checkpoints which were let go, of runs that are not trained again.

    ``jobs`` are those that Snakemake is about to run.

    Raises:
        UserError: It names the runs.
    """
    jobs = list(jobs)
    trainings = [job for job in jobs if job.rule.name == "train"]
    needed: list[tuple[str, str | None]] = []
    for job in trainings:
        start = json.loads(job.params.strategy).get("starts_from", {})
        needed += [(path, name(start["task"], start.get("epoch"))) for path in job.input.start]
    for job in jobs:
        if job.rule.name.startswith("measure"):
            needed += [(path, None) for path in (job.input.run, *job.input.against)]
    anew = {str(job.output.run) for job in trainings if _is_another(job, results)}
    lacking: dict[str, None] = {}
    for path, moment in dict.fromkeys(needed):
        gone = _noted(results / Path(path).parent)
        if path not in anew and gone and moment in (None, *gone):
            lacking[str((results / path).parent)] = None
    if lacking:
        raise UserError(
            f"{len(lacking)} runs have to be trained again: checkpoints that are needed now were "
            "let go when all measures had been taken (keep_checkpoints). Delete these runs, then "
            f"start the same command again:\nrm -r {shlex.join(lacking)}"
        )


def _is_another(job: Any, results: Path) -> bool:
    """Whether a training job is not of the run that lies in its folder, only to be published."""
    asked = {p: json.loads(getattr(job.params, p)) for p in (*PARTS, "seeds")}
    for state in (results / job.output.run).parent.glob(".resume/*/run.json"):
        record = json.loads(state.read_text())
        if record["fingerprint"] == job.params.code and record["spec"].items() >= asked.items():
            return False
    return True


def _current(
    pipeline: Pipeline, study: str, home: Path, runs: Mapping[str, RunSpec]
) -> dict[str, dict[str, Any]]:
    """Return run.json of the finished runs that are as planned, and trained by today's code."""
    found = {}
    for path, run in runs.items():
        spec = {part: json.loads(text) for part, text in run.parts.items()}
        spec |= {"study": study, "preset": pipeline.preset, "seeds": list(run.seeds)}
        try:
            record = json.loads((home / path / "run.json").read_text())
        except (FileNotFoundError, ValueError):
            continue
        code = pipeline.code("train", run.components)
        if (record["spec"], record["fingerprint"]) == (spec, code):
            found[path] = record
    return found


def _awaited(pipeline: Pipeline, study: str, current: Records) -> set[str]:
    """Return the runs whose weights some measure has still to look at."""
    plan, home = pipeline.plan(study), pipeline.results / pipeline.preset / study / "measures"
    found: set[str] = set()
    for entry, measure in plan.own.items():  # the others may never be asked for
        for path in measure.needs:
            run = plan.runs[path]
            seen = {"run": path, **measure.compared(run)}
            if current.keys() >= set(seen.values()):
                expected = {
                    "settings": json.loads(measure.settings),
                    "fingerprint": pipeline.code("measure", [*run.built, *measure.components]),
                    "weights": {role: identity(current[other]) for role, other in seen.items()},
                }
                said = _described(home / entry / f"{path}.parquet")
                if all(said.get(key) == value for key, value in expected.items()):
                    continue
            found.update(seen.values())
    return found


def _described(path: Path) -> dict[str, Any]:
    """Return what a measure's file says of itself; nothing where there is none to read."""
    import pyarrow.parquet  # only where checkpoints are let go

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata
    except (OSError, pyarrow.ArrowInvalid):
        return {}
    return json.loads((metadata or {}).get(b"forgetting", b"{}"))


def _starts(runs: Iterable[RunSpec], path: str) -> set[str]:
    """Return the names of the checkpoints of a run that others start from."""
    starts = [json.loads(run.parts["strategy"])["starts_from"] for run in runs if run.start == path]
    return {name(start["task"], start.get("epoch")) for start in starts}


def _kept(record: Mapping[str, Any], keep: Keep) -> set[str]:
    """Return the names of the checkpoints that the setting keeps."""
    moments = record["checkpoint_tasks"]
    if keep == "all":
        return set(moments)
    ends = {at["task"]: moment for moment, at in moments.items() if not at["epoch"]}
    return {ends[max(ends)]} if keep == "last" and ends else set()


def _noted(folder: Path) -> set[str]:
    return set().union(*(let_go(note.parent) for note in folder.glob(f".resume/*/{LET_GO}")))


def _delete(folder: Path, names: set[str]) -> Iterator[Freed]:
    """Delete checkpoints of a run that no process is at; note it first, so that none is missed."""
    states = [path.parent for path in folder.glob(".resume/*/run.json")]
    there = [path for path in (folder / "checkpoints").glob("*.safetensors") if path.stem in names]
    if len(states) != 1 or not there:
        return
    with (folder / ".resume" / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if (states[0] / "run.json").read_bytes() != (folder / "run.json").read_bytes():
            return
        with atomic(states[0] / LET_GO) as temporary:
            temporary.write_text(json.dumps(sorted(let_go(states[0]) | names)))
        size = sum(path.stat().st_size for path in there)
        for path in there:
            path.unlink()
    yield Freed(folder, len(there), size)
