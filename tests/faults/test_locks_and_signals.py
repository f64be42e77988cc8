"""One folder, two processes; and processes that are asked to save, or to end."""

import fcntl
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import CASES, result

from forks import Server
from trainings import ENVIRONMENT

KINDS = [
    pytest.param("replay, packed"),
    pytest.param("lwf, in turn", marks=pytest.mark.faults),
    pytest.param("l2, one by one, written out", marks=pytest.mark.faults),
    pytest.param("sgd, agents", marks=pytest.mark.faults),
]


def soon(happens: Callable[[], object]) -> None:
    """Wait for something."""
    started = time.monotonic()
    while not happens():
        time.sleep(0.005)
        assert time.monotonic() - started < 300


@pytest.mark.parametrize("name", KINDS)
def test_signals_save_and_end(server: Server, data: Path, tmp_path: Path, name: str) -> None:
    """SIGUSR1 saves and trains on, SIGTERM saves and ends; the state is that of the moment."""
    out, case = tmp_path / "run", CASES[name]
    fork = server.start(case.command(data, out))
    soon(lambda: list(out.glob(".resume/*/group-cpu-0-*/task-0.safetensors")))
    fork.send(signal.SIGUSR1)
    soon(
        lambda: list(out.glob(".resume/*/group-cpu-0-*/rolling.pt"))
    )  # without, only after a minute
    assert fork.wait(0) is None
    assert fork.signal(signal.SIGTERM).code == 128 + signal.SIGTERM
    again = server.run(case.command(data, out))
    assert (again.code, again.shown[:15]) == (0, "resumed at task")
    assert server.run(case.command(data, tmp_path / "whole")).code == 0
    assert result(out) == result(tmp_path / "whole")


def test_a_process_that_waits_for_another(server, data, tmp_path) -> None:
    """SIGTERM ends the waiting; without it the process takes over when the other has gone."""
    out, case = tmp_path / "run", CASES["sgd, packed"]
    (out / ".resume").mkdir(parents=True)
    with (out / ".resume" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fork = server.start(case.command(data, out, epochs=1))
        soon(lambda: fork.shown)
        ended = fork.signal(signal.SIGTERM)
        assert ended.code == 128 + signal.SIGTERM
        assert ended.shown == "another process trains this run: waiting\n"
        fork = server.start(case.command(data, out, epochs=1))
        soon(lambda: fork.shown)
        assert [path.name for path in out.rglob("*")] == [".resume", "lock"]
    ended = fork.wait()
    assert (ended.code, ended.shown) == (0, "another process trains this run: waiting\n")
    result(out)


def test_who_waits_takes_up_what_the_killed_one_left(server, data, tmp_path) -> None:
    out, case = tmp_path / "run", CASES["sgd, packed"]
    command = case.command(data, out, "--save-every", "0.01")
    first = subprocess.Popen(command, env=ENVIRONMENT)
    soon(lambda: list(out.glob(".resume/*/group-cpu-0-*/rolling.pt")))
    first.send_signal(signal.SIGSTOP)  # at work, for as long as it takes
    second = server.start(command)
    soon(lambda: second.shown)
    first.kill()
    ended = second.wait()
    first.wait()
    assert ended.code == 0
    waited, resumed = ended.shown.splitlines()
    assert (waited, resumed[:15]) == ("another process trains this run: waiting", "resumed at task")
    assert server.run(case.command(data, tmp_path / "whole")).code == 0
    assert result(out) == result(tmp_path / "whole")
