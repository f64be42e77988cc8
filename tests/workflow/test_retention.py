"""Checkpoints that outlive their measures, and those that do not."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
RUNS = "results/quick/collapse/runs/split-digits"
NONE = ("--config", "keep_checkpoints=none")
ALL = {"task-0", "task-1", "task-5"}


def add_a_run_that_starts_from_sgd(study: dict[str, Any]) -> None:
    study["strategies"]["later"] = {
        "component": "sgd",
        "starts_from": {"strategy": "sgd", "task": 1},
    }
    study["runs"]["narrow"]["strategies"] += ["later"]


def add_a_measure(study: dict[str, Any]) -> None:
    add_a_run_that_starts_from_sgd(study)
    study["measures"]["norms"] = {}


def measure_otherwise(study: dict[str, Any]) -> None:
    add_a_run_that_starts_from_sgd(study)
    study["measures"]["erank"]["settings"]["probe"]["images"] = 30


def kept(clone: Any, run: str) -> set[str]:
    folder = clone.path(f"{RUNS}/{run}/seeds0/checkpoints")
    return {path.stem for path in folder.iterdir()}


def prune(clone: Any, *arguments: str, rc: int = 0) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "forgetting", "prune", "--root", str(clone.root), *arguments],
        env={"PYTHONPATH": str(clone.path("workflow"))},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == rc, ended.stderr
    return ended.stdout + ended.stderr


def test_checkpoints_are_let_go_when_nothing_needs_them(clone: Any, tmp_path: Path) -> None:
    copied = type(clone)(tmp_path / "copy")
    shutil.copytree(clone.root, copied.root)
    # By default nothing is deleted.
    assert kept(copied, "mlp/lwf") == ALL
    assert "keep_checkpoints is all" in prune(copied, rc=1)
    # What has still to be measured is not, and neither is what today's code would train again.
    copied.study(measure_otherwise)
    assert "let go of 0 checkpoints" in prune(copied, "--keep-checkpoints", "none")
    copied.study()
    copied.edit("workflow/forgetting/strategies/lwf.py", "def ", "UNUSED = 1\n\n\ndef ")
    assert "6 checkpoints of 2 runs" in prune(copied, "--keep-checkpoints", "none")
    assert kept(copied, "mlp/lwf") == ALL
    shutil.copytree(clone.path("workflow"), copied.path("workflow"), dirs_exist_ok=True)
    # A run that others start from lost what they need: it is named, and nothing is begun.
    copied.study(add_a_run_that_starts_from_sgd)
    shown = copied.snakemake(*NONE, rc=1)
    assert "1 runs have to be trained again" in shown
    assert "Traceback" not in shown
    follow(copied, shown, f"{RUNS}/mlp/sgd/seeds0")
    # From now on it keeps that, and at the end of the workflow all others go.
    shown = copied.snakemake(*NONE)
    assert "collapse: let go of 7 checkpoints of 3 runs" in shown
    assert kept(copied, "mlp/sgd") == {"task-1"}
    assert kept(copied, "mlp/lwf") == kept(copied, "mlp/later") == set()
    assert copied.jobs() == set()
    # A measure that comes later names the runs.
    copied.study(add_a_measure)
    shown = copied.snakemake(*NONE, rc=1)
    assert "4 runs have to be trained again" in shown
    assert not copied.path("results/quick/collapse/measures/norms").exists()
    runs = ("mlp/sgd", "mlp/lwf", "mlp/later", "wide/sgd")
    follow(copied, shown, *(f"{RUNS}/{run}/seeds0" for run in runs))
    copied.snakemake("--config", "keep_checkpoints=last")
    assert kept(copied, "wide/sgd") == {"task-5"}
    assert kept(copied, "mlp/sgd") == {"task-1", "task-5"}
    assert copied.jobs() == set()


def follow(clone: Any, shown: str, *folders: str) -> None:
    """Do what the message says, which is to delete these folders."""
    (command,) = (line for line in shown.splitlines() if line.startswith("rm -r "))
    named = shlex.split(command)[2:]
    assert sorted(named) == sorted(str(clone.path(folder)) for folder in folders)
    subprocess.run(shlex.split(command), check=True)
