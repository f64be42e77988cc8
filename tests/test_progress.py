"""What status says of a run, from the files that its processes leave."""

import argparse
import fcntl
import json
import re
from pathlib import Path
from typing import Any

import pytest

from forgetting.commands import prune, status
from forgetting.commands.status import clock, line
from forgetting.errors import UserError
from forgetting.progress import Progress, of_run
from studies import tiny, write

LATEST = {
    "pid": 1, "task": 2, "tasks": 5, "progress": 0.25, "accuracy": 0.5, "elapsed": 60.0,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    home = tmp_path / ".resume"
    home.mkdir()
    (home / "lock").touch()
    (home / "progress.json").write_text(json.dumps(LATEST))
    return tmp_path


def test_a_run_that_was_never_begun_waits(tmp_path: Path) -> None:
    assert of_run(tmp_path / "nothing").state == "waiting"


def test_a_run_whose_lock_is_held_is_running(begun: Path) -> None:
    with (begun / ".resume" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = of_run(begun)
    assert found == Progress("running", 2, 5, 0.5, 60.0, 180.0, "cpu")
    assert line(found).split() == ["running", "task", "2/5", "50.0", "%", "0:01:00", "0:03:00",
                                   "left", "cpu"]  # fmt: skip


def test_a_run_that_nobody_is_at_has_stopped(begun: Path) -> None:
    found = of_run(begun)
    assert (found.state, found.left) == ("stopped", None)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_finished_run(begun: Path, status: str) -> None:
    (begun / "run.json").write_text(
        json.dumps({"status": status, "wall_seconds": 3725.4, "device": "cpu"})
    )
    assert of_run(begun) == Progress(state=status, seconds=3725.4, device="cpu")


def test_a_file_that_is_being_written_is_no_obstacle(begun: Path) -> None:
    (begun / ".resume" / "progress.json").write_text('{"task": ')
    assert of_run(begun).state == "waiting"


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]


@pytest.mark.parametrize("command", [status, prune])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"preset:\tquick\n\tseeds: 1\n", "config.yaml, line 2, column 1: not valid YAML"),
        (b"preset: \xff\n", "config.yaml, line 1: not UTF-8"),
        (None, "config.yaml: cannot be read"),
    ],
)
def test_a_broken_configuration_is_a_message(
    tmp_path: Path, command: Any, written: bytes | None, message: str
) -> None:
    root = write(tmp_path, tiny())
    (root / "config.yaml").unlink()
    if written is not None:
        (root / "config.yaml").write_bytes(written)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(UserError, match=re.escape(message)):
        command.run(parser.parse_args(["--root", str(root)]))
