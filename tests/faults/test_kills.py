"""A training that is killed at any moment, once or many times, ends as if it had not been."""

import itertools
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cases import CASES, result

from forks import Server
from trainings import ENVIRONMENT

ALWAYS = "replay, packed"
"""The case that is disturbed, a little, in every run of the tests."""
IN_CI = ("lwf, in turn", "l2, one by one, written out")
MARKS = {ALWAYS: (), **dict.fromkeys(IN_CI, (pytest.mark.faults, pytest.mark.ci))}
MANY = [pytest.param(name, marks=MARKS.get(name, pytest.mark.faults), id=name) for name in CASES]


@pytest.fixture(scope="module")
def whole(server: Server, data: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return a function: a case's undisturbed folder, and the processor's seconds it took."""
    home, known = tmp_path_factory.mktemp("whole"), {}

    def undisturbed(name: str) -> tuple[Path, float]:
        if name not in known:
            out = home / str(len(known))
            ended = server.run(CASES[name].command(data, out))
            assert ended.code == 0, ended.shown
            known[name] = out, ended.cpu
        return known[name]

    return undisturbed


@pytest.mark.parametrize("name", MANY)
def test_killed_at_random_moments(name, server, data, whole, tmp_path, request) -> None:
    """Six kills a case, over whole runs from start to end, at moments drawn from its name."""
    case, draw = CASES[name], random.Random(name)
    expected, seconds = whole(name)
    kills, wanted = 0, 6 if request.node.get_closest_marker("faults") else 3
    for number in range(10 * wanted):
        out = tmp_path / str(number)
        while True:
            command = case.command(data, out, "--save-every", "0.01")
            ended = server.run(command, cpu=draw.uniform(0.02, 1.1 * seconds))
            if ended.code == 0:
                break
            assert ended.code == -signal.SIGKILL, ended.shown
            kills += 1
        assert result(out) == result(expected)
        if kills >= wanted:
            break
    assert kills >= wanted


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "moment"), [("replay, packed", "before"), ("l2, one by one, written out", "after")]
)
def test_killed_at_every_change_of_a_folder(name, moment, server, data, tmp_path) -> None:
    """Nothing is written under its name but by a rename: the process dies at each of them."""
    short = {"epochs": 1, "checkpoint_epochs": []}
    assert server.run(CASES[name].command(data, tmp_path / "whole", **short)).code == 0
    out = tmp_path / "out"
    command = CASES[name].command(data, out, **short)
    for number in itertools.count(1):
        ended = server.run(command, die=(number, moment))
        if ended.code == 0:
            break
        assert ended.code == -signal.SIGKILL, ended.shown
        again = server.run(command)
        assert again.code == 0, again.shown
        assert result(out) == result(tmp_path / "whole")
        shutil.rmtree(out)
    assert number > 16


@pytest.mark.faults
def test_the_command_itself_is_killed(data, whole, tmp_path) -> None:
    """Five kills of ``python -m forgetting train`` as anyone would type it."""
    case, draw = CASES[ALWAYS], random.Random(0)
    expected, seconds = whole(ALWAYS)
    kills = number = 0
    while kills < 5:
        out, number, ended = tmp_path / str(number), number + 1, False
        while not ended:  # also when it was killed after its last file: Snakemake would, too
            process = subprocess.Popen(
                case.command(data, out, "--save-every", "0.01"), env=ENVIRONMENT
            )
            while process.poll() is None and not out.exists():
                time.sleep(0.01)
            try:
                assert process.wait(draw.uniform(0, 3 * seconds) if kills < 5 else None) == 0
                ended = True
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        assert result(out) == result(expected)
