"""Whatever befalls a job or its controller on SLURM: the same numbers, and nothing done twice."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from controllers import SLOW, Controller, Job, Run
from slurm import NODE, processes, shell, until

from clones import Clone

pytestmark = pytest.mark.cluster
Start = Callable[..., Controller]
WAITED = "another process trains this run: waiting"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return the run that is disturbed."""
    return Run(tmp_path / "results", SLOW)


def resumed(run: Run, undisturbed: Run) -> None:
    """Hold that the run was interrupted and taken up, and that nobody can tell."""
    assert run.said.count("resumed at task") == 1, run.said
    assert run.outcome == undisturbed.outcome


def test_job_is_cancelled(start: Start, run: Run, undisturbed: Run) -> None:
    controller = start(run.target)
    first = controller.job(1)
    run.is_amid()
    shell(f"scancel {first.number}")
    controller.ends()
    assert first.state == "CANCELLED"
    assert controller.job(2).state == "COMPLETED"
    resumed(run, undisturbed)


@contextlib.contextmanager
def put_back(start: Start, run: Run, undisturbed: Run) -> Iterator[Job]:
    """The run's job, which SLURM puts back into the queue because of what the block does."""
    controller = start(run.target)
    job = controller.job()
    run.is_amid()
    yield job
    job.runs(again=True)
    controller.ends()
    assert len(controller.jobs()) == 1
    resumed(run, undisturbed)


@pytest.mark.ci
def test_job_is_requeued(start: Start, run: Run, undisturbed: Run) -> None:
    with put_back(start, run, undisturbed) as job:
        shell(f"scontrol requeue {job.number}")


def test_job_is_preempted(start: Start, run: Run, undisturbed: Run) -> None:
    with put_back(start, run, undisturbed):
        shell("sbatch --partition=urgent --exclusive --output=/dev/null --wrap='sleep 1'")


def test_node_is_down_and_up_again(start: Start, run: Run, undisturbed: Run) -> None:
    with put_back(start, run, undisturbed) as job:
        shell(f"scontrol update NodeName={NODE} State=DOWN Reason=test")
        assert job.state != "RUNNING"
        # A node that comes back has ended what it ran: slurmd's last signal to the old job, half a
        # minute later, would otherwise hit the new one, which has the same number.
        until(lambda: not processes("slurmstepd"), "the end of the job on the node")
        shell(f"scontrol update NodeName={NODE} State=RESUME")


def test_controller_is_interrupted_and_started_again(
    start: Start, run: Run, undisturbed: Run
) -> None:
    first = start(run.target)
    job = first.job()
    run.is_amid()
    first.interrupt()
    first.ends(1)
    assert job.state == "CANCELLED"
    start(run.target).ends()
    resumed(run, undisturbed)


@pytest.fixture
def doubled(start: Start, run: Run, clone: Clone) -> tuple[Job, Job, Controller]:
    """Return a job whose controller was killed, one that waits for it, and its controller."""
    first = start(run.target)
    orphan = first.job()
    run.is_amid()
    first.kill()
    os.kill(run.progress["pid"], signal.SIGSTOP)  # so that it is still there
    refused = start(run.target)
    refused.ends(1)
    assert "Directory cannot be locked" in refused.said
    clone.snakemake("--unlock", "--config", f"results={run.results}")
    second = start(run.target)
    run.says(WAITED)
    double = second.job()
    assert orphan.state == double.state == "RUNNING"
    os.kill(run.progress["pid"], signal.SIGCONT)
    return orphan, double, second


@pytest.mark.ci
def test_controller_is_killed(
    doubled: tuple[Job, Job, Controller], run: Run, undisturbed: Run
) -> None:
    """The old job trains to the end; the new one takes over what it has made."""
    orphan, double, controller = doubled
    controller.ends()
    assert orphan.state == double.state == "COMPLETED"
    assert run.said.split("\n") == [WAITED, "finished before: published again", ""]
    assert run.outcome == undisturbed.outcome


def test_controller_is_killed_and_the_old_job_too(
    doubled: tuple[Job, Job, Controller], run: Run, undisturbed: Run
) -> None:
    """The new job goes on where the old one was."""
    orphan, double, controller = doubled
    shell(f"scancel {orphan.number}")
    controller.ends()
    assert (orphan.state, double.state) == ("CANCELLED", "COMPLETED")
    resumed(run, undisturbed)
