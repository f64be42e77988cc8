"""What the targets build, and what a finished study leaves behind."""

import csv
import html
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from workflow_jobs import ALL

from forgetting.fingerprint import LEFT_OUT, closure
from forgetting.pipeline import Pipeline
from studies import REPOSITORY

pytestmark = pytest.mark.slow
HOME = "results/quick/collapse"


def test_a_finished_study_has_every_file(clone: Any) -> None:
    for name in ("accuracy", "runs", "scores", "erank", "summary"):
        assert clone.path(f"{HOME}/tables/{name}.csv").stat().st_size
    for figure in ("average_accuracy", "activation"):
        for suffix in ("pdf", "png", "csv"):
            assert clone.path(f"{HOME}/figures/{figure}.{suffix}").stat().st_size
    for run in ("mlp/sgd", "mlp/lwf", "wide/sgd"):
        folder = clone.path(f"{HOME}/runs/split-digits/{run}/seeds0")
        names = {p.name for p in folder.iterdir()}
        assert {"run.json", "accuracy.parquet", "history.parquet", "checkpoints"} <= names
        assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    claims = list(csv.DictReader(clone.path(f"{HOME}/claims.csv").open()))
    assert [(row["claim"], row["evidence"]) for row in claims] == [("forgets", "stand-in")]
    assert "forgets" in clone.path("results/quick/scorecard.md").read_text()
    page = clone.path("results/quick/scorecard.html").read_text()
    assert "data:image/png;base64," in page
    assert "cannot bear a verdict" in page
    sgd = clone.path(f"{HOME}/runs/split-digits/mlp/sgd/seeds0/run.json").read_text()
    assert json.loads(sgd)["fingerprint"] in page
    rows = list(csv.DictReader(clone.path(f"{HOME}/tables/runs.csv").open()))
    assert {row["scenario_metric"] for row in rows} == {"task_masked"}


def test_nothing_is_written_outside_the_results(clone: Any) -> None:
    made = {p.name for p in clone.root.iterdir()}
    assert made <= {
        "Snakefile",
        "config.yaml",
        "workflow",
        "envs",
        "results",
        "loaded",
        ".snakemake",
    }
    assert not list(clone.path("workflow").rglob("__pycache__"))


def test_jobs_load_nothing_outside_their_fingerprint(clone: Any) -> None:
    parts = [("benchmarks", "split"), ("architectures", "mlp")]
    components = {
        "prepare": [[("data", "digits")]],
        "train": [[*parts, ("strategies", name)] for name in ("sgd", "lwf")],
        "measure": [[*parts, ("measures", "erank")]],
        "collect": [[]],
        "draw": [[("figures", "collapse")]],
        "judge": [[("evidence", "value")]],
        "scorecard": [[]],
    }
    seen = Counter()
    for file in clone.path("loaded").glob("*.txt"):
        command, *names = file.read_text().split("\n")
        if command not in components:
            continue
        loaded = set(names) - LEFT_OUT
        reached = [set(closure(command, given)) for given in components[command]]
        assert any(loaded <= each for each in reached), loaded - reached[0]
        # Everything counted is really loaded: nothing is redone for code that did not run.
        if command in ("train", "measure"):
            assert any(loaded == each for each in reached), [each - loaded for each in reached]
        seen[command] += 1
    assert set(seen) == set(components)


def test_a_run_repeats_bit_for_bit_and_by_hand(clone: Any, tmp_path: Path) -> None:
    run = clone.path(f"{HOME}/runs/split-digits/mlp/lwf/seeds0")
    command = [sys.executable, "-m", "forgetting", "train", "--spec", str(run / "run.json")]
    subprocess.run(
        [*command, "--out", str(tmp_path / "again"), "--device", "cpu"],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(clone.path("workflow")), "OMP_NUM_THREADS": "1"},
    )
    before, after = (json.loads((p / "run.json").read_text()) for p in (run, tmp_path / "again"))
    assert after["checkpoints"] == before["checkpoints"]
    assert after["fingerprint"] == before["fingerprint"]


def test_one_study_and_the_named_targets(clone: Any) -> None:
    where = ("--config", f"results={clone.root}/fresh")
    everything = clone.jobs(*where)
    assert everything == ALL
    assert clone.jobs("collapse", *where) == ALL - {"score"}
    drawn = {"draw average_accuracy", "draw activation"}
    without_tables = ALL - {"judge", "score", "collect summary"}
    assert clone.jobs("figures", *where) == without_tables
    assert clone.jobs("tables", *where) == ALL - drawn - {"judge", "score"}
    assert clone.jobs("scorecard", *where) == ALL - {"collect summary"}
    shutil.rmtree(clone.path("fresh"))


def test_only_aggregates_a_selection_apart(clone: Any) -> None:
    argument = ("--config", "only=*/mlp/*")
    jobs = clone.jobs(*argument)
    assert not [job for job in jobs if job.split()[0] in ("train", "measure", "prepare")]
    clone.snakemake("tables", *argument)
    folder = clone.path(f"{HOME}/partial/only/tables")
    rows = list(csv.DictReader((folder / "runs.csv").open()))
    assert {(row["architecture"], row["strategy"]) for row in rows} == {
        ("mlp", "sgd"),
        ("mlp", "lwf"),
    }
    assert clone.jobs() == set()


def test_several_globs_have_commas_between_them(clone: Any) -> None:
    clone.snakemake("tables", "--config", "only=*/wide/*, */mlp/lwf/*")
    rows = list(csv.DictReader(clone.path(f"{HOME}/partial/only/tables/runs.csv").open()))
    assert {f"{row['architecture']}/{row['strategy']}" for row in rows} == {"wide/sgd", "mlp/lwf"}


def test_the_command_of_a_row_makes_the_row_again(clone: Any) -> None:
    page = clone.path("results/quick/scorecard.html").read_text()
    (printed,) = re.findall(r'<pre class="command">(.*?)</pre>', page, flags=re.DOTALL)
    snakemake, cores, _, *arguments = shlex.split(html.unescape(printed))
    assert (snakemake, cores) == ("snakemake", "--cores")
    assert "only=split-digits/mlp/sgd/*" in arguments
    again = clone.path(f"{HOME}/partial/only/claims.csv")
    again.unlink(missing_ok=True)
    assert not [job for job in clone.jobs(*arguments) if job.startswith(("train", "measure"))]
    clone.snakemake(*arguments)
    assert again.read_bytes() == clone.path(f"{HOME}/claims.csv").read_bytes()


def test_the_scorecard_of_a_selection_stands_apart(clone: Any) -> None:
    clone.snakemake("scorecard", "--config", "only=*/mlp/*")
    page = clone.path("results/quick/partial/only/scorecard.html").read_text()
    assert 'data-verdict="inconclusive"' in page
    assert "split-digits/mlp/sgd/seeds0" in page


def test_partial_aggregates_what_exists(clone: Any) -> None:
    run = clone.path(f"{HOME}/runs/split-digits/mlp/lwf/seeds0/run.json")
    hidden = run.with_suffix(".hidden")
    run.rename(hidden)
    try:
        shown = clone.snakemake("partial")
    finally:
        hidden.rename(run)
    assert "2 of 3 runs are finished" in shown
    rows = list(csv.DictReader(clone.path(f"{HOME}/partial/tables/runs.csv").open()))
    assert len(rows) == 2
    assert clone.path(f"{HOME}/partial/figures/average_accuracy.pdf").exists()
    assert clone.path(f"{HOME}/partial/claims.csv").exists()
    assert clone.jobs() == set()


def test_what_it_has_cost(clone: Any) -> None:
    """The table is there at the end, and the target makes it again."""
    path = clone.path("results/quick/cost.csv")
    rows = {(r["study"], r["rule"], r["measure"]): r for r in csv.DictReader(path.open())}
    jobs = {key: int(row["jobs"]) for key, row in rows.items()}
    assert {key: jobs[key] for key in jobs if key[1] in ("train", "measure", "prepare")} == {
        ("", "prepare", ""): 1,
        ("collapse", "train", ""): 3,
        ("collapse", "measure", "erank"): 3,
    }
    train = rows["collapse", "train", ""]
    assert float(train["wall_seconds"]) > 0
    assert float(train["peak_memory_mb"]) > 50
    files = clone.path(f"{HOME}/runs").rglob("*")
    assert int(train["bytes"]) == sum(p.stat().st_size for p in files if p.is_file())
    path.unlink()
    assert "collapse: resources: {measure: {runtime: 10}, train: {runtime: 10}}" in (
        clone.snakemake("cost")
    )
    assert len(list(csv.DictReader(path.open()))) == len(rows)
    assert clone.jobs() == set()


def test_status_after_the_end(clone: Any) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "forgetting", "status", "--root", str(clone.root)],
        env={"PYTHONPATH": str(clone.path("workflow"))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "collapse (quick): 3 finished; 3 of 3 measurements" in shown


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("quick/collapse/runs/split-digits/mlp/ewc/seeds0/run.json", "has no run"),
        ("quick/collapse/tables/cka.csv", "among its tables"),
        ("quick/collapse/runs/split-digits/mlp/sgd/seeds9/run.json", "has no run"),
        ("data/mnist.json", "no study uses"),
    ],
)
def test_a_file_that_no_job_makes(clone: Any, target: str, message: str) -> None:
    shown = clone.snakemake("--dry-run", target, rc=1)
    assert message in shown
    assert "Traceback" not in shown


def test_the_repository_itself_parses_quickly_and_counts_its_jobs(tmp_path: Path) -> None:
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run", "--scheduler", "greedy",
         "--snakefile", str(REPOSITORY / "Snakefile"), "--config", f"results={tmp_path}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert time.monotonic() - started < 30
    shown = ended.stdout + ended.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", shown, flags=re.M))
    pipeline = Pipeline.load(REPOSITORY, {"results": str(tmp_path)})
    plans = [pipeline.plan(name) for name in pipeline.studies]
    measured = [spec.needs for plan in plans for spec in plan.measures.values()]
    assert int(counts["train"]) == sum(len(plan.runs) for plan in plans) >= 16
    assert int(counts["measure"]) == sum(map(len, measured)) >= 16
    assert int(counts["judge"]) >= 1
    assert not any(tmp_path.glob("quick/*"))
