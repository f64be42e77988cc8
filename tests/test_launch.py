"""How the workflow starts, and when it refuses to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.cli import parse_args
from snakemake.scheduling.job_scheduler import JobRateLimiter
from snakemake.settings.types import MaxJobsPerTimespan

from forgetting.errors import UserError
from forgetting.launch import calm, guard, or_exit, use_this_clone


def test_runs_without_records_are_refused(tmp_path: Path) -> None:
    guard(tmp_path)
    run = tmp_path / "quick/collapse/runs/split-digits/mlp/sgd/seeds0/run.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}")
    with pytest.raises(UserError, match=r"no records.*--touch"):
        guard(tmp_path)
    guard(tmp_path, True)
    records = tmp_path / ".snakemake/metadata"
    records.mkdir(parents=True)
    (records / "x").write_text("")
    guard(tmp_path)


class Scheduler:
    """Holds what the workflow's scheduler has when it starts."""

    def __init__(self, limit: MaxJobsPerTimespan) -> None:
        self.job_rate_limiter: JobRateLimiter | None = JobRateLimiter(limit)


def test_the_default_limit_of_job_starts_is_taken_off() -> None:
    scheduler = Scheduler(parse_args(["--cores", "1"])[1].max_jobs_per_timespan)
    calm(scheduler)
    assert scheduler.job_rate_limiter is None
    calm(scheduler)
    for asked in ("5/1m", "100/1m", "5/1s"):
        scheduler = Scheduler(MaxJobsPerTimespan.parse_choice(asked))
        calm(scheduler)
        assert scheduler.job_rate_limiter is not None


def test_a_mistake_ends_with_its_message() -> None:
    def wrong(word: str) -> None:
        raise UserError(f"write {word}")

    with pytest.raises(SystemExit) as caught:
        or_exit(wrong, "this")
    assert caught.value.code == "write this"
    assert or_exit(len, "four") == 4


def test_jobs_use_this_interpreter_and_this_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    package = tmp_path / "a clone's $(folder)" / "workflow" / "forgetting"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("print('this clone')")
    prefix = use_this_clone(package.parents[1]).format()
    shown = subprocess.run(
        ["bash", "-c", prefix + "python -c 'import sys, forgetting; print(sys.executable)'"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout.split("\n")[:2] == ["this clone", sys.executable]
