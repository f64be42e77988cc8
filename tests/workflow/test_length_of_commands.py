"""A job's whole command is one argument of ``bash -c``, which Linux limits to 128 kB."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mutations import PRESETS, stand_ins
from studies import REPOSITORY

LIMIT = 100_000
"""Bytes; what Snakemake and `shell.prefix` put before a command is a part of the argument too."""


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_no_command_is_too_long_for_a_shell(preset: str, tmp_path: Path) -> None:
    stand_ins(tmp_path / "data")
    shown = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--printshellcmds",
         "--scheduler", "greedy", "--snakefile", str(REPOSITORY / "Snakefile"), "all", "tune",
         "--config", f"preset={preset}", "download=true", f"data_dir={tmp_path}/data",
         f"results={tmp_path}/results"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    longest: dict[str, int] = {}
    for command, rest in re.findall(r"^Shell command: python -m forgetting (\w+)(.*)", shown, re.M):
        longest[command] = max(longest.get(command, 0), len(rest.encode()))
    jobs = {"prepare", "train", "measure", "collect", "draw", "judge", "scorecard", "tune"}
    assert longest.keys() == jobs
    assert {command: size for command, size in longest.items() if size > LIMIT} == {}
