"""A disk without space: one message that names the file, nothing cut short, the same end later."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cases import CASES, result

import synthetic_runs
from forgetting import checkpoints, parquet, resume, sources
from forks import Ended, Server, message

REPLAY = CASES["replay, packed"]
SHORT = {"epochs": 2, "checkpoint_epochs": [0.5]}
FULL = r"No space left on device; free some space, then start the same command again"


def named(ended: Ended, cause: str = FULL) -> Path:
    """Return the file that the one message names."""
    match = re.fullmatch(rf"(.*): {cause}", message(ended))
    assert match, ended.shown
    return Path(match[1])


def leave(disk: Path, space: int) -> None:
    """Fill a disk until so many bytes are left."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    status = os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - space)))


def nothing_cut_short(folder: Path) -> None:
    """Check that every file below a folder is whole."""
    for path in folder.rglob("*"):
        if path.suffix == ".safetensors":
            checkpoints.read(path)
        elif path.suffix == ".parquet":
            parquet.read(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pt":
            assert resume.load(path) is not None


@pytest.mark.parametrize("largest", [5_000, 12_000])
def test_a_training_that_may_not_write_more_goes_on_later(server, data, tmp_path, largest) -> None:
    """Without a disk of its own to fill: no file of the process can grow beyond a size."""
    command = REPLAY.command(data, tmp_path / "run", "--save-every", "0.01", **SHORT)
    ended = server.run(command, largest=largest)
    path = named(ended, "File too large; see to the disk, then start the same command again")
    assert path.name == ("task-0.safetensors" if largest == 5_000 else "rolling.pt")
    assert not path.exists()
    nothing_cut_short(tmp_path / "run")
    assert server.run(command).code == 0
    assert server.run(REPLAY.command(data, tmp_path / "whole", **SHORT)).code == 0
    assert result(tmp_path / "run") == result(tmp_path / "whole")


@pytest.mark.faults
@pytest.mark.parametrize("name", ["replay, packed", "lwf, in turn"])
def test_training_as_the_disk_fills(server, data, disk, tmp_path, name) -> None:
    """With a little more space each time, it fails in ever later files and then finishes."""
    folder, failed = disk("4m"), set()
    short = SHORT if name == "replay, packed" else {"epochs": 1}
    command = CASES[name].command(data, folder / "run", "--save-every", "0.01", **short)
    space = 0
    while True:
        leave(folder, space)
        ended = server.run(command)
        if ended.code == 0:
            break
        path = named(ended)
        failed.add(path.name)
        assert path.is_relative_to(folder)
        nothing_cut_short(folder / "run")
        space += 8192
    assert {"rolling.pt", "task-0.safetensors"} <= failed
    assert server.run(CASES[name].command(data, tmp_path / "whole", **short)).code == 0
    assert result(folder / "run") == result(tmp_path / "whole")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, server: Server, data: Path) -> dict[str, Any]:
    """Return commands, by what they make: a list of files that end in ``--out`` and so on."""
    home = tmp_path_factory.mktemp("study")
    records, measures = synthetic_runs.write_study(home)
    assert server.run(REPLAY.command(data, home / "run", **SHORT)).code == 0
    of = ["--study", "collapse", "--preset", "quick"]

    def collect(table: str, *given: Any) -> list[str]:
        return ["collect", "--table", table, *of, *map(str, given)]

    runs = collect("runs", "--about", json.dumps(synthetic_runs.ABOUT), "--runs", *records)
    accuracy = collect("accuracy", "--runs", *records)
    scores = collect("scores", "--tables", home / "accuracy.csv")
    for table, command in (("runs", runs), ("accuracy", accuracy), ("scores", scores)):
        out = ["--out", str(home / f"{table}.csv")]
        assert server.run(["forgetting", *command, *out]).code == 0
    claims = {
        "forgets": {
            "statement": "SGD forgets",
            "source": "nowhere",
            "statistic": "value",
            "settings": {"table": "scores", "column": "forgetting", "where": {"strategy": "sgd"}},
            "holds": {"above": 0.05},
        }
    }
    draw = ["draw", "--study", "collapse", "--figure", "a", "--component", "average_accuracy"]
    draw += ["--settings", json.dumps({"benchmark": "split-long"})]
    draw += ["--tables", str(home / "scores.csv"), "--runs-table", str(home / "runs.csv")]
    judge = ["judge", "--claims", json.dumps(claims), "--tables", str(home / "scores.csv")]
    digits = sources.to_json(sources.resolve("digits", home))
    return {
        "measure": ["measure", "--run", str(home / "run" / "run.json"), "--measure", "erank",
                    "--data", str(data), "--settings", json.dumps({"probe": {"images": 20}})],
        "table": collect("erank", "--measures", *measures),
        "figure": draw,
        "claims": judge,
        "data": ["prepare", "--source", digits, "--data-dir", str(home)],
    }  # fmt: skip


OUTPUTS = {
    "measure": ["seeds0.parquet"],
    "table": ["erank.csv"],
    "figure": ["a.pdf", "a.png", "a.csv"],
    "claims": ["claims.csv", "claims.json"],
    "data": ["digits.safetensors", "digits.json"],
}


@pytest.mark.faults
@pytest.mark.parametrize("what", OUTPUTS)
def test_what_is_made_of_runs_is_whole_or_not_there(server, disk, study, tmp_path, what) -> None:
    def command(folder: Path) -> list[str]:
        places = ["--out", str(folder / OUTPUTS[what][0])]
        second = {"data": "--out-json", "claims": "--out-basis"}
        if what in second:
            places += [second[what], str(folder / OUTPUTS[what][1])]
        return ["forgetting", *study[what], *places]

    expected = server.run(command(tmp_path))
    assert expected.code == 0, expected.shown
    folder, failed, space = disk("8m"), set(), 0
    while True:
        leave(folder, space)
        ended = server.run(command(folder))
        if ended.code == 0:
            break
        failed.add(named(ended).name)
        there = {path.name for path in folder.iterdir()} - {"ballast"}
        assert there < {*OUTPUTS[what]}
        for name in there:
            assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
        space = space * 2 or 4096
    assert failed >= {OUTPUTS[what][0]}
    assert {path.name for path in folder.iterdir()} == {"ballast", *OUTPUTS[what]}
    for name in OUTPUTS[what]:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.faults
def test_a_disk_that_is_read_only(server, data, disk, tmp_path) -> None:
    folder, cause = disk("1m"), "Read-only file system; make it writable, then start the same .*"
    command = REPLAY.command(data, folder / "run", **SHORT)
    for writable in (False, True):
        mode = "rw" if writable else "ro"
        subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)
        ended = server.run(command)
        if not writable:
            assert named(ended, cause).is_relative_to(folder)
    assert server.run(REPLAY.command(data, tmp_path / "whole", **SHORT)).code == 0
    assert result(folder / "run") == result(tmp_path / "whole")
