"""What an edit redoes: exactly what it can change, asserted from dry runs of a finished study."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workflow_jobs import ALL, DRAWN, MEASURED, TABLES, after

pytestmark = pytest.mark.slow
CODE = "workflow/forgetting"
Edit = Callable[[Any], None]


def source(name: str, old: str, new: str) -> Edit:
    return lambda clone: clone.edit(f"{CODE}/{name}", old, new)


def study(change: Callable[[dict[str, Any]], None]) -> Edit:
    return lambda clone: clone.study(change)


def put(*path: str, to: Any) -> Edit:
    def change(study: dict[str, Any]) -> None:
        for key in path[:-1]:
            study = study.setdefault(key, {})
        study[path[-1]] = to

    return study(change)


def touch_everything(clone: Any) -> None:
    for path in clone.path("workflow").rglob("*"):
        os.utime(path)
    os.utime(clone.path("config.yaml"))
    os.utime(clone.path("Snakefile"))


def append(name: str, text: str) -> Edit:
    def edit(clone: Any) -> None:
        path = clone.path(f"{CODE}/{name}")
        path.write_text(path.read_text() + text)

    return edit


SGD = "split-digits/mlp/sgd"
NOTHING: list[tuple[str, Edit]] = [
    ("nothing", lambda clone: None),
    ("touch", touch_everything),
    ("comment", append("training.py", "\n# a comment\n")),
    ("comment in a strategy", append("strategies/lwf.py", "\n\n# a comment\n")),
    ("docstring", source("strategies/lwf.py", '"""Learning without', '"""LwF: learning without')),
    (
        "docstring of a field",
        source("strategies/lwf.py", '"""Weight of the', '"""The weight of the'),
    ),
    ("unused strategy", append("strategies/experience_replay.py", "\nUNUSED = 1\n")),
    ("fingerprint", append("fingerprint.py", "\nUNUSED = 1\n")),
    ("plan", append("plan.py", "\nUNUSED = 1\n")),
    ("pipeline", append("pipeline.py", "\nUNUSED = 1\n")),
    ("device", lambda clone: clone.edit("config.yaml", "device: auto", "device: cpu")),
    ("resources", put("resources", to={"train": {"mem_mb": 999, "runtime": 7}})),
    ("default written out", put("training", "momentum", to=0.0)),
    ("preset of another size", put("presets", "small", to={"training": {"epochs": 9}})),
    ("unused entry", put("strategies", "more", to={"component": "lwf"})),
]
TRAIN_ALL = {"train mlp/sgd/0", "train mlp/lwf/0", "train wide/sgd/0"}
SOMETHING: list[tuple[str, Edit, set[str]]] = [
    ("edit lwf", append("strategies/lwf.py", "\nUNUSED = 1\n"), after({"train mlp/lwf/0"})),
    ("edit sgd", append("strategies/sgd.py", "\nUNUSED = 1\n"),
     after({"train mlp/sgd/0", "train wide/sgd/0"})),
    ("edit the loop", append("training.py", "\nUNUSED = 1\n"), after(TRAIN_ALL)),
    ("edit a network", append("architectures/mlp.py", "\nUNUSED = 1\n"), after(TRAIN_ALL)),
    ("edit a measure", append("measures/erank.py", "\nUNUSED = 1\n"), after(MEASURED)),
    ("edit the figures", append("figures/collapse.py", "\nUNUSED = 1\n"), after(DRAWN)),
    ("edit evidence", append("evidence/value.py", "\nUNUSED = 1\n"), {"judge", "score"}),
    ("edit the scorecard", append("scorecard/page.py", "\nUNUSED = 1\n"), {"score"}),
    ("edit the tables", append("tables/__init__.py", "\nUNUSED = 1\n"),
     TABLES | DRAWN | {"judge", "score"}),
    ("edit a data set", append("data/digits.py", "\nUNUSED = 1\n"), ALL),
    ("change one group's training", put("runs", "wide", "training", to={"batch_size": 64}),
     after({"train wide/sgd/0"})),
    ("change the study's training", put("training", "learning_rate", to=0.05), after(TRAIN_ALL)),
    ("change one strategy", put("strategies", "lwf", "settings", to={"alpha": 3.0}),
     after({"train mlp/lwf/0"})),
    ("change one network", put("architectures", "wide", "settings", to={"hidden": [17]}),
     after({"train wide/sgd/0"})),
    ("change a measure", put("measures", "erank", "settings", to={"probe": {"images": 40}}),
     after(MEASURED)),
    ("change a figure", put("figures", "average_accuracy", "settings", "metric",
     to="class_incremental"), {"draw average_accuracy", "score"}),
    ("change a claim", put("claims", "forgets", "holds", to={"above": 0.1}), {"judge", "score"}),
    ("change the evidence", put("benchmarks", "split-digits", "metric", to="class_incremental"),
     {"collect runs", "collect summary", "judge", "score"} | DRAWN),
    ("add a seed", put("seeds", to=[0, 1]), after(
        {"train mlp/sgd/1", "train mlp/lwf/1", "train wide/sgd/1"})),
    ("add a strategy", put("runs", "wide", "strategies", to=["sgd", "lwf"]),
     after({"train wide/lwf/0"})),
    ("remove a strategy", put("runs", "narrow", "strategies", to=["sgd"]), after(set())),
    ("add a figure", put("figures", "peak_normalised_erank", to={
        "settings": {"benchmark": "split-digits"}, "tables": ["erank"]}),
     {"draw peak_normalised_erank", "score"}),
]  # fmt: skip


@pytest.mark.parametrize("edit", [e for _, e in NOTHING], ids=[name for name, _ in NOTHING])
def test_what_cannot_matter_redoes_nothing(clone: Any, edit: Edit) -> None:
    edit(clone)
    assert clone.jobs() == set()


@pytest.mark.parametrize(
    ("edit", "expected"), [(e, x) for _, e, x in SOMETHING], ids=[name for name, _, _ in SOMETHING]
)
def test_an_edit_redoes_what_it_can_change(clone: Any, edit: Edit, expected: set[str]) -> None:
    edit(clone)
    assert clone.jobs() == expected


def test_seeds_on_the_command_line_train_the_new_ones_only(clone: Any) -> None:
    jobs = clone.jobs("--config", "seeds=2")
    assert {job for job in jobs if job.startswith("train")} == {
        "train mlp/sgd/1", "train mlp/lwf/1", "train wide/sgd/1",
    }  # fmt: skip


def test_a_change_that_cannot_matter_can_be_waved_through(clone: Any) -> None:
    append("strategies/lwf.py", "\nUNUSED = 1\n")(clone)
    assert clone.jobs() != set()
    assert clone.jobs("--rerun-triggers", "mtime", "input") == set()


def test_touch_accepts_the_results_as_they_are(clone: Any, tmp_path: Path) -> None:
    copied = move(clone, tmp_path / "touched")
    append("strategies/lwf.py", "\nUNUSED = 1\n")(copied)
    assert copied.jobs() != set()
    copied.snakemake("--touch")
    assert copied.jobs() == set()


def test_another_strength_of_one_rung_reruns_that_rung(clone: Any, tmp_path: Path) -> None:
    def ladder(*strengths: float) -> Edit:
        def change(study: dict[str, Any]) -> None:
            start = {"strategy": "sgd", "task": 1}
            entry = {"ladder": {"strength": list(strengths)}, "starts_from": start}
            study["strategies"]["ewc"] = {"settings": {"images": 20}, **entry}
            study["runs"]["narrow"]["strategies"] += ["ewc"]

        return lambda copied: copied.study(change)

    copied = move(clone, tmp_path / "rungs")
    ladder(1, 10)(copied)
    copied.snakemake()
    assert copied.jobs() == set()
    ladder(1, 100)(copied)
    assert copied.jobs() == after({"train mlp/ewc~100/0"})


def test_results_move_with_their_records(clone: Any, tmp_path: Path) -> None:
    moved = move(clone, tmp_path / "elsewhere")
    assert moved.jobs() == set()
    append("measures/erank.py", "\nUNUSED = 1\n")(moved)
    assert moved.jobs() == after(MEASURED)


def test_another_clone_sees_the_same_results(clone: Any, tmp_path: Path) -> None:
    other = move(clone, tmp_path / "other", results=False)
    where = f"results={clone.path('results')}"
    assert other.jobs("--config", where) == set()
    append("strategies/lwf.py", "\nUNUSED = 1\n")(other)
    assert other.jobs("--config", where) == after({"train mlp/lwf/0"})


def test_runs_without_records_are_refused(clone: Any, tmp_path: Path) -> None:
    moved = move(clone, tmp_path / "bare")
    shutil.rmtree(moved.path("results/.snakemake"))
    shown = moved.snakemake("--dry-run", rc=1)
    assert "no records" in shown
    assert "Traceback" not in shown


def move(clone: Any, target: Path, *, results: bool = True) -> Any:
    """Copy the clone with fresh times, as a checkout or a copy without -p has them."""
    ignore = None if results else shutil.ignore_patterns("results")
    shutil.copytree(clone.root, target, ignore=ignore, copy_function=shutil.copy)
    return type(clone)(target)
