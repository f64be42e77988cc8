"""What a preset has cost: jobs, time, memory and bytes of every study, by rule and measure.

It is read from what lies in the results folder: Snakemake's record of every finished job
(``logs/**/*.jsonl``), and ``run.json``, which also counts the processes that were interrupted.
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetting.results import atomic

MARGIN = 3
"""A job may take so many times as long as the longest one did, on a slower machine."""
NAMES = {"scorecard": "score", "tune": "propose"}
"""Rules whose records are not called by their name."""


@dataclass(frozen=True)
class Done:
    """One finished job."""

    study: str
    """Empty for what is not a study's own: data sets and the scorecard."""
    rule: str
    measure: str
    """Entry of the study; empty for other rules."""
    wall_seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    gpu_peak_memory_mb: float = 0.0


@dataclass(frozen=True)
class Cost:
    """The jobs of one study, rule and measure: a row of the table."""

    study: str
    rule: str
    measure: str
    jobs: int
    wall_seconds: float
    """Sum over the jobs."""
    cpu_seconds: float
    """Sum over the jobs, of all threads."""
    longest_seconds: float
    """Wall time of the longest job."""
    peak_memory_mb: float
    """Of the job that took most."""
    gpu_peak_memory_mb: float
    bytes: int
    """What its files take on the disk now."""
    runtime: int
    """Minutes to ask a scheduler for: ``MARGIN`` times the longest job's, in tens."""


def table(results: Path, preset: str) -> list[Cost]:
    """Return the rows of a preset, the data sets (of all presets) first."""
    home = results / preset
    found: dict[tuple[str, str, str], list[Done]] = {}
    for job in [*_prepared(results), *_recorded(home), *_trained(home)]:
        found.setdefault((job.study, job.rule, job.measure), []).append(job)
    rows = []
    for key, jobs in sorted(found.items()):
        longest = max(job.wall_seconds for job in jobs)
        row = Cost(
            *key,
            jobs=len(jobs),
            wall_seconds=round(sum(job.wall_seconds for job in jobs), 1),
            cpu_seconds=round(sum(job.cpu_seconds for job in jobs), 1),
            longest_seconds=round(longest, 1),
            peak_memory_mb=round(max(job.peak_memory_mb for job in jobs)),
            gpu_peak_memory_mb=round(max(job.gpu_peak_memory_mb for job in jobs)),
            bytes=sum(map(_size, _made(results, home, *key))),
            runtime=10 * max(1, math.ceil(MARGIN * longest / 600)),
        )
        rows.append(row)
    return rows


def write(rows: Iterable[Cost], path: Path) -> None:
    """Write the table as CSV."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(Cost.__dataclass_fields__), lineterminator="\n")
        table.writeheader()
        table.writerows(vars(row) for row in rows)


def runtimes(rows: Iterable[Cost]) -> dict[str, dict[str, int]]:
    """Return the minutes that each study's training and measuring jobs should ask for."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.rule in ("train", "measure"):
            kinds = found.setdefault(row.study, {})
            kinds[row.rule] = max(kinds.get(row.rule, 0), row.runtime)
    return found


def _prepared(results: Path) -> Iterator[Done]:
    for path in results.glob("logs/prepare/*.jsonl"):
        yield Done("", "prepare", "", *_record(path))


def _recorded(home: Path) -> Iterator[Done]:
    """Yield the jobs of all rules but training."""
    for path in home.rglob("logs/**/*.jsonl"):
        place = path.relative_to(home).with_suffix("").parts
        before, (kind, *rest) = place[: place.index("logs")], place[place.index("logs") + 1 :]
        if kind != "train":
            study = "" if before[:1] in ((), ("partial",)) else before[0]
            measure = rest[0] if kind == "measure" else ""
            yield Done(study, NAMES.get(kind, kind), measure, *_record(path))


def _trained(home: Path) -> Iterator[Done]:
    """Yield trainings, the longer account of each: its start is in one, its past in the other."""
    for rule, above in {"train": "*", "tune": "*/tune"}.items():
        for path in home.glob(f"{above}/runs/*/*/*/*/run.json"):
            of_run = _read(path)
            run, folder = path.parent.relative_to(path.parents[4]), path.parents[5]
            wall, cpu, memory = _record(folder / "logs" / "train" / f"{run}.jsonl")
            yield Done(
                path.relative_to(home).parts[0],
                rule,
                "",
                max(wall, of_run.get("wall_seconds", 0.0)),
                max(cpu, of_run.get("cpu_seconds", 0.0)),
                max(memory, of_run.get("peak_memory_mb", 0.0)),
                (of_run.get("gpu") or {}).get("peak_memory_mb", 0.0),
            )


def _record(path: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak MiB of a job; a short one has only the first."""
    said = _read(path)
    wall, cpu, memory = (
        float(said[name]) if isinstance(said.get(name), int | float) else 0.0
        for name in ("s", "cpu_time", "max_rss")
    )
    return wall, cpu, memory


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # no such file, or one that is being written
        return {}


def _made(results: Path, home: Path, study: str, rule: str, measure: str) -> list[Path]:
    """Return the files and folders that a rule's jobs left."""
    if rule == "prepare":
        return [results / "data"]
    scopes = [home / study, home / study / "partial" / "only"]
    left = {
        "train": "runs",
        "tune": "tune/runs",
        "propose": "tune/*.*",
        "measure": f"measures/{measure}",
        "collect": "tables",
        "draw": "figures",
        "judge": "claims.csv",
        "score": "scorecard.*",
        "gather": "tables/[!p]*.csv",
        "predict": "tables/prediction.csv",
    }
    return [path for scope in scopes for path in scope.glob(left[rule])] if rule in left else []


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())
