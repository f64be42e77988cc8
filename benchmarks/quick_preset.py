"""The quick preset of all studies, by Snakemake on two cores into an empty folder.

One run gives four rows. Start-up is what a job spends before its work begins: for every rule, the
processor seconds of ``python -m forgetting COMMAND --help``, which imports what the command
imports, times the number of its jobs; what a command imports later on is not in it. The seconds of
all processes are those that the system counts for Snakemake and its jobs.
"""

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks._harness import NotMeasured, Row, Scale

ROOT = Path(__file__).parents[1]
ONE_RUN = "quick/collapse/runs/split-mnist/mlp/sgd/seeds0-2/run.json"
COMMANDS = ("collect", "draw", "judge", "measure", "prepare", "scorecard", "train")


@dataclass(frozen=True)
class Spent:
    """What a command cost."""

    wall: float
    cpu: float
    shown: str


def rows(scale: Scale) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        config = ["--config", f"results={folder}/results"]
        targets = [ONE_RUN] if scale.tiny else []
        found: list[Spent] = []

        def whole() -> float:
            found.append(snakemake("--cores", "2", *targets, *config))
            return found[0].wall

        def starts() -> dict[str, float]:
            """Start-up seconds of all jobs, by rule."""
            counts = jobs(found[0].shown)
            each = {name: starting(command) for name in counts if (command := command_of(name))}
            return {name: counts[name] * seconds for name, seconds in each.items()}

        def a_job() -> float:
            counts, spent = jobs(found[0].shown), starts()
            return sum(spent.values()) / sum(counts[name] for name in spent)

        def share() -> float:
            return sum(starts().values()) / found[0].cpu

        def again() -> float:
            return snakemake("--cores", "2", *targets, *config).wall

        about = f"the quick preset, {'one run' if scale.tiny else 'all studies'}"
        yield Row.alone(
            f"{about}, 2 cores, clean results",
            whole,
            18 * 60,
            most=1,
            remark=lambda: f"{sum(jobs(found[0].shown).values())} jobs, {found[0].cpu:.0f} CPU s",
        )
        yield Row.alone(f"{about}: start-up, CPU seconds a job", a_job, 2.5, most=1)
        yield Row.alone(
            f"{about}: start-up, share of all CPU time", share, 0.25, value="share", most=1
        )
        yield Row.alone(f"{about}, nothing to do", again, 10.0, most=1)


def snakemake(*arguments: str) -> Spent:
    """Run Snakemake in this repository.

    Raises:
        NotMeasured: It failed.
    """
    return run([sys.executable, "-m", "snakemake", "--scheduler", "greedy", *arguments])


def run(command: list[str]) -> Spent:
    """Run a command in this repository and count what it and its children spent."""
    before, started = processor_seconds(), time.perf_counter()
    ended = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wall, cpu = time.perf_counter() - started, processor_seconds() - before
    if ended.returncode:
        lines = [line for line in ended.stdout.splitlines() if line.strip()]
        raise NotMeasured(f"`{' '.join(command[1:])}` failed: {' '.join(lines[-3:])}")
    return Spent(wall, cpu, ended.stdout)


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def jobs(shown: str) -> dict[str, int]:
    """Return the number of jobs by rule from the table that Snakemake prints."""
    table = shown.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def command_of(rule: str) -> str | None:
    """Return the command that a rule's jobs call; None where it calls none."""
    first = rule.split("_")[0]
    return first if first in COMMANDS else None


_starting: dict[str, float] = {}


def starting(command: str) -> float:
    """Return the processor seconds that a command takes to start."""
    if command not in _starting:
        help_of = [sys.executable, "-m", "forgetting", command, "--help"]
        _starting[command] = statistics.median(
            run(["/usr/bin/env", f"PYTHONPATH={ROOT / 'workflow'}", *help_of]).cpu for _ in "123"
        )
    return _starting[command]
