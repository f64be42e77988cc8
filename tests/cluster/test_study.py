"""A study on SLURM: the numbers that it has without, and jobs as the study asks for them."""

import json
import re
from collections.abc import Iterator

import pytest
import slurm
from controllers import ASKED, SLOW, Controller, Run

from clones import Clone

pytestmark = [pytest.mark.cluster, pytest.mark.ci]


@pytest.fixture(scope="module")
def finished(
    cluster: None, clone: Clone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controller]:
    """Return the controller that made the whole study on SLURM."""
    controller = Controller(clone, tmp_path_factory.mktemp("study") / "results", "collapse")
    try:
        controller.ends(seconds=1200)
        yield controller
    finally:
        controller.kill()
        slurm.empty()


def test_numbers_are_those_without_a_cluster(finished: Controller, undisturbed: Run) -> None:
    assert Run(finished.results, SLOW).outcome == undisturbed.outcome
    assert (finished.results / "quick/collapse/claims.csv").exists()


def test_job_is_given_what_the_study_asks_for(finished: Controller) -> None:
    jobs = [job for job in finished.jobs() if "_wide_" in job.wildcards]
    assert len(jobs) == 2
    for job in jobs:
        facts = job.facts
        assert facts["TresPerJob"] == "gres:gpu:1"
        assert facts["MinMemoryNode"] == f"{ASKED['mem_mb']}M"
        assert facts["TimeLimit"] == f"01:{ASKED['runtime'] - 60}:00"
        assert facts["CPUs/Task"] == facts["NumCPUs"] == str(ASKED["threads"])
    (other,) = [job for job in finished.jobs() if "_mlp_" in job.wildcards]
    assert "TresPerJob" not in other.facts


def test_job_is_given_what_the_user_adds_to_the_profile(finished: Controller) -> None:
    for facts in (job.facts for job in finished.jobs()):
        assert (facts["Account"], facts["Partition"], facts["Features"]) == (
            slurm.ACCOUNT,
            "gpu",
            "a100",
        )
        assert facts["Requeue"] == "1"


def test_jobs_at_once_are_given_different_gpus(finished: Controller, clone: Clone) -> None:
    numbers = {job.number for job in finished.jobs() if "_wide_" in job.wildcards}
    records = [json.loads(p.read_text()) for p in clone.path("processes").glob("*.json")]
    first, second = [r for r in records if r["SLURM_JOB_ID"] in numbers]
    assert max(first["began"], second["began"]) < min(first["ended"], second["ended"])
    assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}


def test_only_training_is_given_to_the_cluster(finished: Controller) -> None:
    """Data, short measures, tables and figures take less time than a job of the cluster costs."""
    done = set(re.findall(r"^(?:local)?rule (\w+):", finished.said, re.MULTILINE))
    assert {"prepare", "measure_here", "collect", "judge"} < done
    assert len(re.findall(r"SLURM jobid", finished.said)) == len(finished.jobs()) == 3
