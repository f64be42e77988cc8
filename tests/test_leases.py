"""GPUs lent to jobs, with make-believe ids: no GPU is needed, nor looked for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forgetting import leases

WORKFLOW = Path(__file__).parents[1] / "workflow"
# Takes a place, says on which GPU and from when to when, and dies without giving it back.
JOB = """
import os, sys, time
from forgetting import leases
ids, places, seconds = sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3])
lease = leases.take(ids, places, waiting=lambda line: print(line, file=sys.stderr), pause=0.02)
begun = time.monotonic()
print(lease.gpu, begun, flush=True)
time.sleep(seconds)
print(lease.gpu, time.monotonic(), flush=True)
os._exit(0)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock files of the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def job(ids: str, places: int, seconds: float, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, ids, str(places), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(WORKFLOW), **environment},
    )


@pytest.mark.parametrize("places", [1, 2])
def test_eight_jobs_share_two_gpus(places: int) -> None:
    jobs = [job("0,3", places, 0.4) for _ in range(8)]
    shown = [each.communicate(timeout=60)[0] for each in jobs]
    held = []
    for text in shown:
        (gpu, begun), (_, ended) = (line.split() for line in text.splitlines())
        held.append((gpu, float(begun), float(ended)))
    assert {gpu for gpu, _, _ in held} == {"0", "3"}
    for gpu, begun, _ in held:
        at_once = [1 for other, start, end in held if other == gpu and start <= begun < end]
        assert len(at_once) <= places


def test_a_killed_job_gives_its_place_back_at_once() -> None:
    first = job("0", 1, 600)
    assert first.stdout is not None
    assert first.stdout.readline().startswith("0 ")
    second = job("0", 1, 0)
    assert second.stderr is not None
    assert "all places on GPU 0 are taken" in second.stderr.readline()
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    assert second.stdout is not None
    _, begun = second.stdout.readline().split()
    assert float(begun) - killed < 2
    assert second.wait(timeout=10) == 0
    first.communicate()
    second.communicate()


def test_gpus_that_are_idle_come_first() -> None:
    taken = [leases.take(["0", "1"], 2, waiting=print) for _ in range(4)]
    assert [lease.gpu for lease in taken] == ["0", "1", "0", "1"]
    for lease in taken:
        os.close(lease.descriptor)


def test_waiting_can_be_ended() -> None:
    held = leases.take(["0"], 1, waiting=pytest.fail)

    def asked_to_end() -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        leases.take(["0"], 1, waiting=print, look=asked_to_end)
    os.close(held.descriptor)


def test_each_slurm_job_numbers_its_gpus_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were lent a GPU called 0, which are two: neither waits for the other."""
    taken = []
    for number in ("17", "18"):
        monkeypatch.setenv("SLURM_JOB_ID", number)
        taken.append(leases.take(["0"], 1, waiting=pytest.fail))
    for lease in taken:
        os.close(lease.descriptor)


def test_every_user_can_lock_the_files(place: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(leases.take(["GPU-1a/2b"], 1, waiting=pytest.fail).descriptor)
    finally:
        os.umask(before)
    (file,) = place.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_link_is_not_followed(place: Path) -> None:
    os.close(leases.take(["0"], 1, waiting=pytest.fail).descriptor)
    (file,) = place.iterdir()
    file.unlink()
    file.symlink_to(place / "elsewhere")
    with pytest.raises(leases.UserError, match=r"cannot be opened.*delete it"):
        leases.take(["0"], 1, waiting=pytest.fail)
    assert not (place / "elsewhere").exists()


@pytest.mark.parametrize(
    ("setting", "count", "ids"),
    [
        (None, 0, []),
        (None, 2, ["0", "1"]),
        ("1", 1, ["1"]),
        ("3, 1", 2, ["3", "1"]),
        ("", 0, []),
        ("0,-1,1", 1, ["0"]),
        ("NoDevFiles", 0, []),
        ("GPU-8932f937-d72c,MIG-41b36325", 2, ["GPU-8932f937-d72c", "MIG-41b36325"]),
        ("0,7", 1, ["0"]),
    ],
)
def test_the_ids_that_cuda_would_see(setting: str | None, count: int, ids: list[str]) -> None:
    assert leases.visible(setting, count) == ids
