"""Copies of the repository with a tiny study, in which Snakemake is run."""

import atexit
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from forks import Server
from studies import REPOSITORY, tiny

TARGETS = ("all", "collapse", "figures", "tables", "scorecard", "partial", "cost", "across")


@dataclass(frozen=True)
class Clone:
    """A copy of the repository."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def snakemake(self, *arguments: str, rc: int | None = 0) -> str:
        """Run Snakemake in the copy and return what it printed."""
        command = ["snakemake", "--cores", "2", "--scheduler", "greedy", *arguments]
        ended = _snakemake().run(
            command, seconds=3600, folder=str(self.root), environment=_environment()
        )
        assert rc is None or ended.code == rc, ended.shown + self.logs()
        return ended.shown

    def start(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start Python with these arguments in the copy; ``options`` are Popen's."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            **options,
        )

    def jobs(self, *arguments: str) -> set[str]:
        """Return the jobs that a dry run would do: "rule" or "rule what"."""
        shown = self.snakemake("--dry-run", *arguments)
        found = set()
        for block in re.split(r"\n(?=(?:local)?rule )", shown):
            head = re.match(r"(?:local)?rule (\w+):", block)
            if head is None or head[1] in TARGETS:
                continue
            wildcards = re.search(r"wildcards: (.*)", block)
            values = dict(p.split("=", 1) for p in wildcards[1].split(", ")) if wildcards else {}
            shown_of = ("key", "measure", "architecture", "strategy", "pack", "table", "figure")
            what = "/".join(values[key] for key in shown_of if key in values)
            found.add(f"{head[1].split('_')[0]} {what}".strip())
        return found

    def logs(self) -> str:
        """Return the logs of the jobs, for a failed test."""
        return "\n".join(p.read_text()[-800:] for p in self.root.glob("results/**/*.log"))

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the copy."""
        text = self.path(name).read_text()
        assert old in text, f"{name} has no {old!r}"
        self.path(name).write_text(text.replace(old, new, 1))

    def study(self, change: Any = None) -> None:
        """Write the tiny study, changed."""
        study = tiny()
        if change is not None:
            change(study)
        path = self.path("workflow/studies/collapse.yaml")
        path.write_text(yaml.safe_dump(study, sort_keys=False))


def _environment() -> dict[str, str]:
    """Return the variables of processes in a copy, which finds its own code."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**environment, "OMP_NUM_THREADS": "1"}


@functools.cache
def _snakemake() -> Server:
    """Return the server of Snakemakes of this process, which ends with it."""
    home = tempfile.TemporaryDirectory()
    server = Server(Path(home.name), "snakemake", _environment())

    def end() -> None:
        server.close()
        home.cleanup()

    atexit.register(end)
    return server


def copy_repository(target: Path) -> Clone:
    """Copy what a clone of the repository would have; the tiny study is its only one."""
    skip = shutil.ignore_patterns("__pycache__", "results", "*.egg-info")
    shutil.copytree(REPOSITORY / "workflow", target / "workflow", ignore=skip)
    (target / "envs").mkdir()
    for name in ("Snakefile", "config.yaml", "envs/forgetting.yaml"):
        shutil.copy(REPOSITORY / name, target / name)
    for study in (target / "workflow/studies").glob("*.yaml"):
        study.unlink()
    clone = Clone(target)
    clone.study()
    return clone
