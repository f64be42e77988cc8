"""The target ``tune`` trains a study's grids apart from its runs and proposes choices."""

import csv
import json
from typing import Any

import pytest
import yaml
from workflow_jobs import ALL

from clones import Clone, copy_repository
from forgetting.documents import merge

pytestmark = pytest.mark.slow
HOME = "results/quick/collapse"
TUNE = {
    "seeds": ["100-101"],
    "runs": ["narrow"],
    "benchmarks": {"split-digits": {"settings": {"tasks": 2}}},
    "grids": {
        "sgd": {"training.learning_rate": [1.0e15, 0.1]},
        "lwf": {"training.learning_rate": [0.1]},
    },
}
NAMES = {
    "sgd~training.learning_rate-1000000000000000.0",
    "sgd~training.learning_rate-0.1",
    "lwf~training.learning_rate-0.1",
}


WIDER = {"training.learning_rate": [0.1, 0.01]}


def with_grids(study: dict[str, Any]) -> None:
    study["tune"] = TUNE


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, str]:
    """Return a copy in which nothing but ``tune`` has been run, and what that printed."""
    clone = copy_repository(tmp_path_factory.mktemp("tune") / "clone with space")
    clone.study(with_grids)
    return clone, clone.snakemake("tune")


def test_only_the_grids_are_trained_and_the_best_is_proposed(tuned: tuple[Clone, str]) -> None:
    clone, shown = tuned
    folders = {path.parent for path in clone.path(HOME).glob("**/runs/*/*/*/*/run.json")}
    names = {f"{HOME}/tune/runs/split-digits/mlp/{name}/seeds100-101" for name in NAMES}
    assert {str(folder.relative_to(clone.root)) for folder in folders} == names
    for folder in folders:
        record = json.loads((folder / "run.json").read_text())
        assert set(record["seeds"]) == {"100", "101"}
        assert len(record["tasks"]) == 2
        assert record["checkpoints"] == {}
    text = clone.path(f"{HOME}/tune/proposal.yaml").read_text()
    assert text in shown
    choice = {"training": {"learning_rate": 0.1}}
    proposed = {"runs": {"narrow": {"choices": {"sgd": choice, "lwf": choice}}}}
    assert yaml.safe_load(text) == proposed
    assert "1 of the others have a seed that diverged" in text
    rows = list(csv.DictReader(clone.path(f"{HOME}/tune/scores.csv").open()))
    assert [(row["strategy"], row["rank"]) for row in rows] == [
        ("sgd", "1"),
        ("sgd", "2"),
        ("lwf", "1"),
    ]
    assert [int(row["n_diverged"]) > 0 for row in rows] == [False, True, False]
    assert 0.5 < float(rows[0]["mean"]) <= 1
    scores = [float(rows[0][f"seed_{seed}"]) for seed in (100, 101)]
    assert sum(scores) / 2 == pytest.approx(float(rows[0]["mean"]))


def test_tuning_and_running_leave_each_other_alone(tuned: tuple[Clone, str]) -> None:
    clone, _ = tuned
    assert clone.jobs("tune") <= {"tune"}
    everything = clone.jobs()
    assert everything == ALL - {"prepare digits"}  # which tuning has made
    # A further value trains that alone.
    clone.study(lambda study: study.update(tune=merge(TUNE, {"grids": {"lwf": WIDER}})))
    assert clone.jobs("tune") - {"tune"} == {
        "train mlp/lwf~training.learning_rate-0.01/100-101",
        "propose",
    }
    assert clone.jobs() == everything


def test_a_study_without_grids_says_so(tuned: tuple[Clone, str]) -> None:
    clone, _ = tuned
    clone.study()
    shown = clone.snakemake("--dry-run", "tune", rc=1)
    assert "workflow/studies/collapse.yaml: tune: is missing" in shown
    assert "Traceback" not in shown
