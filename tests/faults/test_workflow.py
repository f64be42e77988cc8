"""Faults while Snakemake runs, or between two of its runs: what it says, and that it goes on."""

import fcntl
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_damage import flip, truncate
from test_full_disks import leave

import trainings
from clones import Clone, copy_repository

pytestmark = pytest.mark.faults
LWF, SGD, WIDE = (f"split-digits/{run}/seeds0" for run in ("mlp/lwf", "mlp/sgd", "wide/sgd"))
HOME = "quick/collapse"


def on_pictures(study: dict[str, Any]) -> None:
    """Let the tiny study use images of the user, and one network that is large."""
    study["benchmarks"]["split-digits"]["dataset"] = "pictures"
    study["architectures"]["wide"]["settings"]["hidden"] = [4096]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, disks: Callable[[str], Path]) -> Clone:
    """Return a copy whose study has been run: images on a read-only disk, results on another."""
    clone = copy_repository(tmp_path_factory.mktemp("clone") / "forgetting")
    clone.study(on_pictures)
    images, results = disks("1m"), disks("64m")
    draw = np.random.default_rng(0)
    arrays = {
        f"{part}_{what}": values
        for part, each in (("train", 12), ("test", 4))
        for what, values in (
            ("images", draw.integers(0, 256, (10 * each, 8, 8), dtype=np.uint8)),
            ("labels", np.arange(10).repeat(each)),
        )
    }
    np.savez(images / "pictures.npz", **arrays)
    subprocess.run(["mount", "-o", "remount,ro", str(images)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        (images / "x").write_text("")
    clone.edit("config.yaml", "data_dir: data", f"data_dir: {images}")
    clone.edit("config.yaml", "results: results", f"results: {results}/results")
    snakemake(clone)
    return clone


def snakemake(clone: Clone, *arguments: str, rc: int = 0) -> str:
    """Run Snakemake with the profile for one machine; return what is on the screen."""
    shown = clone.snakemake(
        "--workflow-profile", "workflow/profiles/local", "--retries", "0", *arguments, rc=rc
    )
    assert "Traceback" not in shown
    return shown


def results(clone: Clone) -> Path:
    """Return the results folder, which lies on a disk of its own."""
    (line,) = (x for x in clone.path("config.yaml").read_text().splitlines() if "results: /" in x)
    return Path(line.removeprefix("results: "))


def said(shown: str, path: Path | str) -> str:
    """Return the line on the screen that begins with a file."""
    lines = {line.strip() for line in shown.splitlines() if line.strip().startswith(f"{path}: ")}
    assert len(lines) == 1, shown
    return lines.pop()


def follow(clone: Clone, line: str) -> None:
    """Do what a message says."""
    option = line.partition("start the workflow again with ")[2].split()
    assert option[0] == "--forcerun"
    snakemake(clone, *option)
    assert clone.jobs() == set()


def test_images_on_a_read_only_disk_and_results_on_another(clone: Clone) -> None:
    assert results(clone).stat().st_dev not in {
        clone.root.stat().st_dev,
        Path("/tmp").stat().st_dev,
    }
    assert (results(clone) / "quick/scorecard.html").exists()
    assert (results(clone) / f"{HOME}/figures/average_accuracy.pdf").exists()
    assert clone.jobs() == set()


def test_a_damaged_checkpoint(clone: Clone) -> None:
    run, measure = f"{HOME}/runs/{SGD}", f"{HOME}/measures/erank/{SGD}.parquet"
    before = trainings.facts(results(clone) / run)
    flip(results(clone) / run / "checkpoints" / "task-1.safetensors")
    shown = snakemake(clone, "--forcerun", measure, rc=1)
    line = said(shown, f"{run}/checkpoints/task-1.safetensors")
    assert "its checksum is not the one in run.json" in line
    follow(clone, line)
    assert trainings.facts(results(clone) / run) == before


@pytest.mark.parametrize(
    ("path", "table"),
    [
        (f"{HOME}/measures/erank/{SGD}.parquet", "erank"),
        (f"{HOME}/runs/{LWF}/accuracy.parquet", "accuracy"),
    ],
)
def test_a_damaged_table(clone: Clone, path: str, table: str) -> None:
    before = (results(clone) / path).read_bytes()
    truncate(results(clone) / path)
    shown = snakemake(clone, "--forcerun", f"{HOME}/tables/{table}.csv", rc=1)
    follow(clone, said(shown, path))
    assert (results(clone) / path).read_bytes() == before


def test_damaged_images_and_a_change_that_could_not_be_trained(clone: Clone) -> None:
    """The failed job takes the old run with it; the next call knows that it is still to be done."""
    run = results(clone) / HOME / "runs" / LWF
    before = trainings.facts(run)
    (images,) = (results(clone) / "data").glob("pictures*.safetensors")
    flip(images)

    def changed(study: dict[str, Any]) -> None:
        on_pictures(study)
        study["strategies"]["lwf"]["settings"]["alpha"] = 5.0

    clone.study(changed)
    line = said(snakemake(clone, rc=1), f"data/{images.name}")
    assert f"rm -f {images}, then start the workflow" in line
    images.unlink()
    snakemake(clone)
    assert trainings.facts(run) != before
    assert clone.jobs() == set()
    clone.study(on_pictures)
    snakemake(clone)
    assert trainings.facts(run) == before


@pytest.mark.parametrize("job", ["runs", "measures/erank"])
@pytest.mark.parametrize("target", [[], ["figures"], ["tables"], ["scorecard"], ["collapse"]])
def test_what_is_missing_is_made_again_by_every_target(clone: Clone, job: str, target) -> None:
    suffix = "/run.json" if job == "runs" else ".parquet"
    path = results(clone) / HOME / job / f"{LWF}{suffix}"
    hidden = path.rename(path.with_suffix(".hidden"))
    try:
        redone = {job.split()[0] for job in clone.jobs(*target)}
    finally:
        hidden.rename(path)
    assert redone >= {"measure" if suffix == ".parquet" else "train", "collect"}


def test_a_disk_that_fills_while_a_run_is_trained(clone: Clone) -> None:
    disk, run = results(clone).parent, results(clone) / HOME / "runs" / WIDE
    other = results(clone) / HOME / "runs" / LWF / "run.json"
    before = trainings.facts(run)
    shutil.rmtree(run)
    other.unlink()
    leave(disk, 700_000)  # less than a checkpoint of this network
    shown = snakemake(clone, rc=1)
    (line,) = {x.strip() for x in shown.splitlines() if "No space left on device" in x}
    assert ".safetensors: No space left on device; free some space" in line
    assert [path.name for path in run.iterdir()] == [".resume"]
    assert other.exists()  # the profile goes on with the others
    (disk / "ballast").unlink()
    snakemake(clone)
    assert trainings.facts(run) == before
    assert clone.jobs() == set()


def test_two_controllers(clone: Clone) -> None:
    """The second is refused; when the first is killed its job trains on, and nothing is lost."""
    run = results(clone) / HOME / "runs" / LWF
    log = results(clone) / HOME / "logs/train" / f"{LWF}.log"
    before = trainings.facts(run)
    shutil.rmtree(run)
    log.unlink()
    (run / ".resume").mkdir(parents=True)
    with (run / ".resume" / "lock").open("w") as lock:  # the job gets no further than this
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = clone.start(["-m", "snakemake", "--cores", "1"], stdout=subprocess.DEVNULL)
        soon(lambda: log.exists() and "another process trains this run" in log.read_text())
        locked = clone.snakemake(rc=1)
        assert "Directory cannot be locked" in locked
        assert "--unlock" in locked
        first.kill()
        first.wait()
        assert "Directory cannot be locked" in clone.snakemake(rc=1)
        clone.snakemake("--unlock")
    soon(lambda: (run / "run.json").exists())  # the job of the killed controller
    incomplete = clone.snakemake(rc=1)
    assert "--rerun-incomplete" in incomplete
    clone.snakemake("--rerun-incomplete")
    assert "published again" in log.read_text()
    assert trainings.facts(run) == before
    assert clone.jobs() == set()


def soon(happens: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    started = time.monotonic()
    while not happens():
        time.sleep(0.05)
        assert time.monotonic() - started < 600
