"""One SLURM for all tests here, a copy of the repository, and runs that nothing disturbed."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import slurm
from controllers import ASKED, SLOW, Controller, Run, copy_for_slurm

from clones import Clone

RECORD = """
import atexit, json, os, sys, time
def _record(began=time.time()):
    folder = os.path.join(os.path.dirname(__file__), '..', '..', 'processes')
    os.makedirs(folder, exist_ok=True)
    about = {'command': sys.argv[1], 'began': began, 'ended': time.time()}
    about |= {name: os.environ.get(name) for name in ('SLURM_JOB_ID', 'CUDA_VISIBLE_DEVICES')}
    with open(os.path.join(folder, f'{os.getpid()}-{began}.json'), 'w') as file:
        json.dump(about, file)
atexit.register(_record)
"""
"""Every process of the copy writes down when it ran, and which GPU it was given."""


def longer(study: dict[str, Any]) -> None:
    """Change the tiny study: two seeds, a run of many epochs, and short ones that ask for a GPU."""
    study["seeds"] = ["0-1"]
    study["training"] |= {"epochs": 200, "checkpoints": [0, 1, 3, 5]}
    runs = study["runs"]
    runs["narrow"]["strategies"] = ["experience_replay"]
    runs["wide"] |= {"strategies": ["sgd", "lwf"], "training": {"epochs": 3}, "resources": ASKED}
    study["claims"]["forgets"]["settings"]["where"]["strategy"] = "experience_replay"
    study["resources"] = {"measure": {"runtime": 10}}


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Have a SLURM on this machine."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("one SLURM serves one process: without -n")
    reason = slurm.unavailable()
    if reason is not None:
        pytest.skip(reason)
    try:
        with slurm.running(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{slurm.PROGRAMS}:{os.environ['PATH']}")
            yield
    except (slurm.Foreign, slurm.DoesNotStart) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a copy of the repository whose runs are long enough to be disturbed."""
    made = copy_for_slurm(tmp_path_factory.mktemp("cluster") / "clone with space")
    made.study(longer)
    # States every half second instead of every minute, so that little is trained again.
    made.edit("workflow/forgetting/commands/train.py", "default=60.0", "default=0.5")
    made.edit("workflow/forgetting/resume.py", "report_every: float = 5.0", "report_every=0.2")
    main = made.path("workflow/forgetting/__main__.py")
    main.write_text(RECORD + main.read_text().replace("from __future__", "# from __future__"))
    return made


@pytest.fixture(scope="session")
def undisturbed(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the slow run as it is without a cluster and without disturbances."""
    results = tmp_path_factory.mktemp("undisturbed")
    run = Run(results, SLOW)
    clone.snakemake(run.target, "--config", f"results={results}")
    return run


@pytest.fixture
def start(cluster: None, clone: Clone, tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    """Return a function that starts a controller; what is left at the end is ended."""
    started: list[Controller] = []

    def make(*targets: str) -> Controller:
        started.append(Controller(clone, tmp_path / "results", *targets))
        return started[-1]

    yield make
    for controller in started:
        controller.kill()
    slurm.empty()
