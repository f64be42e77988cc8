"""A finished study is read back as it was written, and only as far as it is asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from forgetting import checkpoints, tables
from forgetting.errors import UserError
from forgetting.fingerprint import closure
from forgetting.results import load
from studies import REPOSITORY

RUN = "split-mnist/mlp/sgd/seeds0-1"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results folder with one table and one run."""
    home = tmp_path / "quick" / "collapse"
    folder = home / "runs" / RUN / "checkpoints"
    moments = {"task-0": (0, 0), "task-1-epoch-0.5": (1, 0.5), "task-1": (1, 0)}
    kept = {}
    for number, (name, (task, epoch)) in enumerate(moments.items()):
        weights = {"head.weight": torch.full((2, 3), float(number))}
        path = folder / f"{name}.safetensors"
        checkpoints.write(path, weights, seeds=[0, 1], task=task, epoch=epoch)
        kept[name] = checkpoints.checksum(path)
    at = {name: {"task": task, "epoch": epoch} for name, (task, epoch) in moments.items()}
    record = {"spec": {"seeds": [0, 1]}, "checkpoints": kept, "checkpoint_tasks": at}
    (folder.parent / "run.json").write_text(json.dumps(record))
    (home / "tables").mkdir()
    rows = pd.DataFrame({"strategy": ["none"], "seed": [0], "value": [0.25]})
    tables.write(rows, home / "tables" / "accuracy.csv")
    tables.write(pd.DataFrame({"claim": ["a"], "verdict": ["not run"]}), home / "claims.csv")
    return tmp_path


def test_tables_claims_and_runs(results: Path) -> None:
    study = load("collapse", results=results)
    assert list(study.tables) == ["accuracy"]
    assert study.tables["accuracy"].to_dict("records") == [
        {"strategy": "none", "seed": 0, "value": 0.25}
    ]
    assert study.tables["accuracy"] is study.tables["accuracy"]
    assert list(study.claims["verdict"]) == ["not run"]
    assert list(study.runs) == [RUN]
    assert study.runs[RUN]["spec"]["seeds"] == [0, 1]


def test_checkpoints_come_in_the_order_of_training(results: Path) -> None:
    kept = load("collapse", results=results).checkpoints(RUN)
    assert list(kept) == ["task-0", "task-1-epoch-0.5", "task-1"]
    assert torch.equal(kept["task-1"]["head.weight"], torch.full((2, 3), 2.0))


def test_a_changed_checkpoint_is_refused(results: Path) -> None:
    kept = load("collapse", results=results).checkpoints(RUN)
    path = next(results.rglob("task-0.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="checksum"):
        kept["task-0"]


def test_what_is_not_there_is_said(results: Path) -> None:
    with pytest.raises(UserError, match=r"--config preset=small.*There are quick/collapse"):
        load("collapse", "small", results=results)
    with pytest.raises(UserError, match="there are accuracy"):
        load("collapse", results=results).tables["scores"]
    with pytest.raises(UserError, match=f"no run 'mlp'; there are {RUN}"):
        load("collapse", results=results).checkpoints("mlp")


def test_tables_are_read_without_torch(results: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv[1])\n"
        "from forgetting.results import load\n"
        "study = load('collapse', results=sys.argv[2])\n"
        "print(len(study.tables['accuracy']), len(study.claims), len(study.runs))"
    )
    workflow = str(REPOSITORY / "workflow")
    ended = subprocess.run(
        [sys.executable, "-c", script, workflow, results], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["1", "1", "1"]), ended.stderr


def test_no_job_reaches_the_reader() -> None:
    for command in ("train", "measure", "collect", "draw", "judge", "scorecard"):
        assert "forgetting.finished" not in closure(command, [])
