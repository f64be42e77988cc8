"""A copy of the repository with a tiny study, run to its end once for all tests of the workflow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from studies import REPOSITORY, tiny

TARGETS = ("all", "collapse", "figures", "tables", "scorecard", "partial", "cost")
# Every process of the copy writes down which of our modules it loaded: not part of the package's
# fingerprint, because the dispatcher of commands is in no command's closure.
RECORD = """
import atexit, os, sys
def _record():
    names = sorted(m for m in sys.modules if m.split('.')[0] == 'forgetting')
    folder = os.path.join(os.path.dirname(__file__), '..', '..', 'loaded')
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f'{os.getpid()}.txt'), 'w') as file:
        file.write('\\n'.join([*sys.argv[1:2], *names]))
atexit.register(_record)
"""


@dataclass(frozen=True)
class Clone:
    """A copy of the repository."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def snakemake(self, *arguments: str, rc: int | None = 0) -> str:
        """Run Snakemake in the copy and return what it printed."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        ended = subprocess.run(
            [*command, *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            env={**environment, "OMP_NUM_THREADS": "1"},
        )
        shown = ended.stdout + ended.stderr
        assert rc is None or ended.returncode == rc, shown + self.logs()
        return shown

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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a copy whose tiny study has been run to its end."""
    clone = copy_repository(tmp_path_factory.mktemp("workflow") / "clone with space")
    main = clone.path("workflow/forgetting/__main__.py")
    main.write_text(main.read_text() + "\n")
    main.write_text(RECORD + main.read_text().replace("from __future__", "# from __future__"))
    clone.snakemake()
    return clone


@pytest.fixture
def clone(finished: Clone) -> Iterator[Clone]:
    """Return the finished copy for a test that edits its sources; they are put back."""
    kept = {p: p.read_bytes() for p in finished.path("workflow").rglob("*") if p.is_file()}
    kept[finished.path("config.yaml")] = finished.path("config.yaml").read_bytes()
    yield finished
    for path in finished.path("workflow").rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, content in kept.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
