"""What an older version of a component left is never taken up, and is replaced."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from cases import CASES, result

import trainings

CASE = CASES["l2 and effective rank, packed"]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment in which commands use a package whose L2 is another."""
    home = tmp_path_factory.mktemp("older")
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(trainings.PACKAGE / "forgetting", home / "forgetting", ignore=skip)
    path = home / "forgetting" / "strategies" / "l2.py"
    text = path.read_text()
    assert "settings.strength" in text
    path.write_text(text.replace("settings.strength", "(2 * settings.strength)"))
    return {**trainings.ENVIRONMENT, "PYTHONPATH": str(home)}


@pytest.mark.parametrize("left", ["half", "finished"])
def test_a_run_of_older_code_is_replaced(server, data, tmp_path, older, left) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    command = CASE.command(data, out, "--save-every", "0.01")
    process = subprocess.Popen(command, env=older)
    if left == "half":
        while not list(out.glob(".resume/*/group-cpu-0-*/rolling.pt")):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    else:
        assert process.wait() == 0
    ended = server.run(command)
    assert (ended.code, ended.shown) == (0, "")  # neither resumed nor published again
    assert server.run(CASE.command(data, whole)).code == 0
    assert result(out) == result(whole)
