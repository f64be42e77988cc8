"""The quick preset of `collapse`, as it is shipped, on SLURM from nothing to its end."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from controllers import Controller, Run, copy_for_slurm

from clones import Clone
from studies import REPOSITORY

pytestmark = pytest.mark.cluster
STUDY = "workflow/studies/collapse.yaml"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a copy of the repository whose only study is the shipped one."""
    made = copy_for_slurm(tmp_path_factory.mktemp("quick") / "clone")
    shutil.copy(REPOSITORY / STUDY, made.path(STUDY))
    return made


def test_collapse(start: Callable[..., Controller], clone: Clone, tmp_path: Path) -> None:
    controller = start("collapse")
    controller.ends(seconds=1800)
    elsewhere = tmp_path / "elsewhere"
    clone.snakemake("collapse", "--config", f"results={elsewhere}")
    runs = elsewhere / "quick/collapse/runs"
    paths = [str(p.parent.relative_to(runs)) for p in runs.glob("*/*/*/*/run.json")]
    assert len(paths) == len(controller.jobs()) == 16
    for path in paths:
        assert Run(controller.results, path).outcome == Run(elsewhere, path).outcome
    claims = "quick/collapse/claims.csv"
    assert (controller.results / claims).read_bytes() == (elsewhere / claims).read_bytes()
    assert len(re.findall("SLURM jobid", controller.said)) == 16  # nothing else is a job of SLURM
