"""Damaged files: what is wrong is named and never used, and it says which job to run again."""

import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cases import CASES, result

from forgetting import resume
from forks import Server, message

CASE = CASES["replay, packed"]
SHORT = {"epochs": 1, "checkpoint_epochs": []}
Damage = Callable[[Path], None]


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flip(path: Path) -> None:
    """Flip a bit three quarters into the file: in numbers, of every format."""
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 4
    path.write_bytes(content)


damages = pytest.mark.parametrize("damage", [truncate, flip])


@pytest.fixture(scope="module")
def finished(server: Server, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert server.run(CASE.command(data, out, **SHORT)).code == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run that may be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def measure(server: Server, data: Path, run: Path):
    words = ["measure", "--run", str(run / "run.json"), "--measure", "erank", "--data", str(data)]
    words += ["--settings", json.dumps({"probe": {"images": 20}}), "--out", str(run / "a.parquet")]
    return server.run(["forgetting", *words])


def collect(server: Server, table: str, kind: str, path: Path):
    words = ["collect", "--table", table, "--study", "toy", "--preset", "quick"]
    words += [f"--{kind}", str(path), "--out", str(path.with_suffix(".csv"))]
    return server.run(["forgetting", *words])


@damages
def test_a_checkpoint(server, data, run, finished, damage) -> None:
    path = run / "checkpoints" / "task-2.safetensors"
    damage(path)
    said = message(measure(server, data, run))
    assert said.startswith(f"{path}: not a checkpoint that can be read (its checksum is not")
    assert said.endswith(f"start the workflow again with --forcerun {run}/run.json")
    assert not (run / "a.parquet").exists()
    # Which calls the same command again; it sees by itself that the run is not whole.
    ended = server.run(CASE.command(data, run, **SHORT))
    assert (ended.code, ended.shown) == (0, "")
    assert result(run) == result(finished)


@damages
@pytest.mark.parametrize("table", ["accuracy", "history"])
def test_a_table_of_a_run(server, data, run, finished, damage, table) -> None:
    path = run / f"{table}.parquet"
    damage(path)
    said = message(collect(server, table, "runs", run / "run.json"))
    assert said.startswith(f"{path}: not a table that can be read")
    assert said.endswith(f"start the workflow again with --forcerun {path}")
    # The run has a copy of its own, so it is only published again.
    ended = server.run(CASE.command(data, run, **SHORT))
    assert (ended.code, ended.shown) == (0, "finished before: published again\n")
    assert result(run) == result(finished)


@damages
@pytest.mark.parametrize("name", ["accuracy.parquet", "history.parquet", "run.json"])
def test_the_copies_that_a_run_is_published_from(server, data, run, finished, damage, name) -> None:
    (path,) = run.glob(f".resume/*/{name}")
    if name == "run.json" and damage is flip:
        path.write_bytes(path.read_bytes().replace(b'"', b"'", 1))
    else:
        damage(path)
    ended = server.run(CASE.command(data, run, **SHORT))
    assert (ended.code, ended.shown) == (0, "")
    assert result(run) == result(finished)


@damages
def test_a_measured_table(server, data, run, damage) -> None:
    path = run / "split" / "mlp" / "sgd" / "seeds0.parquet"
    path.parent.mkdir(parents=True)
    assert measure(server, data, run).code == 0
    (run / "a.parquet").rename(path)
    assert collect(server, "erank", "measures", path).code == 0
    path.with_suffix(".csv").unlink()
    damage(path)
    said = message(collect(server, "erank", "measures", path))
    assert said.startswith(f"{path}: not a table that can be read")
    assert said.endswith(f"start the workflow again with --forcerun {path}")
    assert not path.with_suffix(".csv").exists()


def test_a_record_cut_short(server, data, run, tmp_path) -> None:
    path = run / "run.json"
    truncate(path)
    child = {"name": "x", "parts": [{"component": "sgd", "settings": {}}]}
    child["starts_from"] = {"strategy": "x", "task": 1}
    more = ("--strategy", json.dumps(child), "--start", str(path))
    for ended in (
        measure(server, data, run),
        collect(server, "accuracy", "runs", path),
        server.run(CASE.command(data, tmp_path / "child", *more, **SHORT)),
    ):
        said = message(ended)
        assert said.startswith((f"{path}: damaged (", f"{path}: not a run.json"))
        assert "again" in said
    assert not (tmp_path / "child" / "run.json").exists()


@pytest.mark.parametrize("what", ["images cut short", "pixel", "description cut short", "mean"])
def test_prepared_data(server, data, run, tmp_path, what) -> None:
    folder = shutil.copytree(data.parent, tmp_path / "data")
    about, images = folder / "toy.json", folder / "toy.safetensors"
    path = images if what in ("images cut short", "pixel") else about
    if what == "mean":  # still JSON, and of the same checksum
        path.write_text(path.read_text().replace('"mean": [\n  0.', '"mean": [\n  1.'))
        assert path.read_text() != data.read_text()
    else:
        (flip if what == "pixel" else truncate)(path)
    for ended in (
        server.run(CASE.command(about, tmp_path / "new", **SHORT)),
        measure(server, about, run),
    ):
        said = message(ended)
        assert said.startswith(f"{path}: ")
        assert said.endswith(f"prepare it again: rm -f {path}, then start the workflow")
    assert not (tmp_path / "new" / "run.json").exists()


@damages
@pytest.mark.parametrize("name", ["rolling.pt", "task-1.safetensors"])
def test_what_an_interrupted_training_left(server, data, tmp_path, damage, name) -> None:
    """The state and the checkpoints of a training that is not done yet."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    kept = {"epochs": 3, "checkpoint_epochs": []}
    assert server.run(CASE.command(data, whole, **kept)).code == 0
    command = CASE.command(data, out, "--save-every", "0.01", **kept)
    assert server.run(command, die=("task-2.safetensors", "after")).code == -signal.SIGKILL
    (path,) = out.glob(f".resume/*/group-cpu-0-*/{name}")
    damage(path)
    ended = server.run(command)
    if name == "rolling.pt":
        assert (ended.code, ended.shown) == (0, "")  # not "resumed at task ..."
    else:
        said = message(ended)
        assert said.startswith(f"{path}: was damaged after it was written")
        assert said.endswith("start the same command again")
        assert server.run(command).code == 0
    assert result(out) == result(whole)


def test_no_flipped_bit_of_a_state_is_believed(tmp_path) -> None:
    state = {"weights": {"w": torch.arange(300.0)}, "position": [1, 0, 3], "text": "abc"}
    path, draw = tmp_path / "rolling.pt", random.Random(0)
    resume.save(path, state)
    content = path.read_bytes()
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        found = resume.load(path)
        if found is None:
            refused += 1
            assert not path.exists()
        else:  # between the records, or where a record's name and time stand twice
            assert torch.equal(found["weights"]["w"], state["weights"]["w"])
            assert (found["position"], found["text"]) == (state["position"], state["text"])
    assert refused > 150
