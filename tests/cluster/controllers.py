"""Snakemake with the shipped SLURM profile, and what SLURM says of the jobs it submitted."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm import shell, until

from clones import Clone, copy_repository
from studies import REPOSITORY

SNAKEMAKE = str(Path(__file__).with_name("looking_often.py"))
PROFILE = ("--workflow-profile", "workflow/profiles/slurm")
SLOW = "split-digits/mlp/experience_replay/seeds0-1"
"""A run of about ten seconds: long enough to be disturbed on the way."""
ASKED = {"gpu": 1, "mem_mb": 1234, "runtime": 77, "threads": 2}
"""What the other two runs ask for."""
SUBMITTED = re.compile(r"SLURM jobid (\d+) \(log: .*/rule_(\w+)/([^/]*)/")


def copy_for_slurm(target: Path) -> Clone:
    """Copy the repository, and add to the profile what the README tells a user to add."""
    clone = copy_repository(target)
    section = (REPOSITORY / "README.md").read_text().split("### On a SLURM cluster\n")[1]
    settings = re.findall(r"```yaml\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    profile = clone.path("workflow/profiles/slurm/profile.v9+.yaml")
    profile.write_text("\n".join([profile.read_text(), *settings]))
    return clone


@dataclass
class Job:
    """A job in SLURM's queue."""

    number: str
    rule: str
    wildcards: str
    """Their values, joined by underscores."""

    @property
    def facts(self) -> dict[str, str]:
        """What SLURM knows of it, by SLURM's names."""
        shown = shell(f"scontrol show job --oneliner {self.number}")
        return dict(part.split("=", 1) for part in shown.split() if "=" in part)

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED, ..."""
        return self.facts["JobState"]

    def runs(self, *, again: bool = False) -> None:
        """Wait until it runs, ``again`` after SLURM queued it again (it need not hold it back)."""

        def started() -> bool:
            facts = self.facts
            if facts["JobState"] == "PENDING" and again:
                shell(f"scontrol update JobId={self.number} StartTime=now", check=False)
            return facts["JobState"] == "RUNNING" and facts["Restarts"] == str(int(again))

        until(started, f"job {self.number} running", every=1)


class Controller:
    """A Snakemake that gives its jobs to SLURM."""

    def __init__(self, clone: Clone, results: Path, *targets: str) -> None:
        """Start it; it makes ``targets``."""
        results.mkdir(parents=True, exist_ok=True)
        self.results = results
        self._log = results.parent / f"controller-{len(list(results.parent.glob('*.txt')))}.txt"
        with self._log.open("w") as log:
            self._process = clone.start(
                [SNAKEMAKE, *targets, *PROFILE, "--config", f"results={results}"],
                stdout=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it printed."""
        return self._log.read_text()

    def jobs(self, rule: str = "train") -> list[Job]:
        """Return the jobs of a rule that it submitted."""
        return [Job(*found) for found in SUBMITTED.findall(self.said) if found[1] == rule]

    def job(self, number: int = 1) -> Job:
        """Return the n-th training that it submits, once it has."""
        until(lambda: len(self.jobs()) >= number or self.ended, f"{number} jobs of training")
        assert len(self.jobs()) >= number, self.said
        return self.jobs()[number - 1]

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def ends(self, status: int = 0, *, seconds: float = 600) -> None:
        """Wait for its end, which has this status."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        assert self._process.poll() == status, f"status {self._process.poll()}:\n{self.said}"

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it and what it started here, as kill -9 does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Run:
    """The folder of a run."""

    results: Path
    path: str

    @property
    def folder(self) -> Path:
        return self.results / "quick/collapse/runs" / self.path

    @property
    def target(self) -> str:
        return f"quick/collapse/runs/{self.path}/run.json"

    @property
    def said(self) -> str:
        """Its log."""
        path = self.results / f"quick/collapse/logs/train/{self.path}.log"
        return path.read_text() if path.exists() else ""

    @property
    def progress(self) -> dict[str, Any]:
        """What the job that trains it last said of itself; nothing before."""
        path = self.folder / ".resume/progress.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def is_amid(self) -> None:
        """Wait until it is in the midst of training and has saved a state."""

        def amid() -> bool:
            at = self.progress
            assert not at or at["task"] < at["tasks"], f"too fast to be disturbed: {at}"
            saved = any(self.folder.glob(".resume/*/group-*/rolling.pt"))
            return saved and at["task"] > 1

        until(amid, f"the midst of {self.path}")

    def says(self, line: str) -> None:
        """Wait until its log has a line."""
        until(lambda: line in self.said, f"{self.path} says {line!r}")

    @property
    def outcome(self) -> dict[str, Any]:
        """Return what must be equal bit for bit."""
        record = json.loads((self.folder / "run.json").read_text())
        files = [*self.folder.glob("*.parquet"), *self.folder.glob("checkpoints/*")]
        return {
            "status": record["status"],
            "checkpoints": record["checkpoints"],
            "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)},
        }
