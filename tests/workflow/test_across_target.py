"""The target ``across``: on demand, apart from the studies, redone only where something changed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clones import Clone
from forgetting.fingerprint import LEFT_OUT, closure

pytestmark = pytest.mark.slow
HOME = "results/quick/across"
RUNS = ("mlp/sgd/0", "mlp/lwf/0", "wide/sgd/0")
MEASURED = {f"measure instruments/{run}" for run in RUNS}
DRAWN = {"draw instruments_over_tasks", "draw held_out_prediction"}
ENDS = {"gather", "predict"} | DRAWN


def with_instruments(study: dict[str, Any], images: int = 40) -> None:
    study["measures"]["instruments"] = {"target": "across", "settings": {"images": images}}


@pytest.fixture(scope="module")
def across(finished: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the finished study, with instruments, in which ``across`` has been run."""
    copied = Clone(tmp_path_factory.mktemp("across") / "clone with space")
    shutil.copytree(finished.root, copied.root)
    copied.study(with_instruments)
    assert copied.jobs() == set()  # nobody asked
    assert copied.jobs("across") == MEASURED | ENDS
    copied.snakemake("across")
    return copied


def test_it_leaves_tables_figures_and_a_text(across: Clone) -> None:
    assert across.jobs("across") == set()
    table = pd.read_csv(across.path(f"{HOME}/tables/instruments.csv"))
    # Weights were kept after tasks 0, 1 and 5; before training nothing is measured.
    assert sorted(set(table["task"])) == [1, 5]
    assert len(table) == 2 * len(RUNS)
    forgotten = table[table["task"] == 1]["forgetting"]
    assert forgotten.notna().all()
    prediction = pd.read_csv(across.path(f"{HOME}/tables/prediction.csv"))
    assert {"task_index", "together", "dead_units"} <= set(prediction["instrument"])
    for figure in ("instruments_over_tasks", "held_out_prediction"):
        for suffix in ("pdf", "png", "csv"):
            assert across.path(f"{HOME}/figures/{figure}.{suffix}").stat().st_size
    text = across.path(f"{HOME}/across.md").read_text()
    assert re.search(r"^- Nothing can be held out: .*only split digits has both", text, re.M)
    assert not list(across.path("results/quick/collapse/tables").glob("instruments*"))


def test_jobs_load_nothing_outside_their_fingerprint(across: Clone) -> None:
    parts = [("benchmarks", "split"), ("architectures", "mlp")]
    components = {
        "gather": [[]],
        "predict": [[]],
        "draw": [[("figures", "across")], [("figures", "collapse")]],
        "measure": [[*parts, ("measures", "instruments")], [*parts, ("measures", "erank")]],
    }
    seen = set()
    for file in across.path("loaded").glob("*.txt"):
        command, *names = file.read_text().split("\n")
        for given in components.get(command, []):
            loaded, reached = set(names) - LEFT_OUT, set(closure(command, given))
            if loaded <= reached and (command != "measure" or loaded == reached):
                seen.add((command, given[-1] if given else None))
                break
        else:
            assert command not in components, (command, names)
    assert seen == {(c, each[-1] if each else None) for c in components for each in components[c]}


@pytest.fixture
def edited(across: Clone) -> Any:
    """The same copy for a test that edits its sources; they are put back."""
    kept = {p: p.read_bytes() for p in across.path("workflow").rglob("*") if p.is_file()}
    yield across
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def test_other_settings_redo_the_instruments_alone(edited: Clone) -> None:
    edited.study(lambda study: with_instruments(study, images=30))
    assert edited.jobs("across") == MEASURED | ENDS
    assert edited.jobs() == set()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("measures/instruments.py", MEASURED | ENDS),
        ("outcomes.py", ENDS),
        ("prediction.py", {"predict"} | DRAWN),
        ("findings.py", {"predict"} | DRAWN),
        ("figures/across.py", DRAWN),
    ],
)
def test_an_edit_redoes_what_it_can_change(edited: Clone, file: str, expected: set[str]) -> None:
    path = edited.path(f"workflow/forgetting/{file}")
    path.write_text(path.read_text() + "\nUNUSED = 1\n")
    assert edited.jobs("across") == expected
    assert edited.jobs() == set()


def test_a_selection_is_compared_apart(across: Clone) -> None:
    jobs = across.jobs("across", "--config", "only=*/mlp/*")
    assert jobs == ENDS
    across.snakemake("across", "--config", "only=*/mlp/*")
    table = pd.read_csv(across.path("results/quick/across/partial/only/tables/instruments.csv"))
    assert set(table["architecture"]) == {"mlp"}
    assert across.jobs("across") == set()


def test_checkpoints_do_not_wait_for_it(across: Clone, tmp_path: Path) -> None:
    """What may never be asked for keeps nothing; asked for afterwards, it names the runs."""
    copied = Clone(tmp_path / "copy")
    shutil.copytree(across.root, copied.root)
    copied.study(lambda study: with_instruments(study, images=20))
    command = [sys.executable, "-m", "forgetting", "prune", "--root", str(copied.root)]
    environment = {"PYTHONPATH": str(copied.path("workflow"))}
    subprocess.run([*command, "--keep-checkpoints", "none"], env=environment, check=True)
    assert not list(copied.path("results/quick/collapse/runs").glob("**/*.safetensors"))
    shown = copied.snakemake("across", rc=1)
    assert "3 runs have to be trained again" in shown
    assert "Traceback" not in shown


def test_a_preset_without_instruments_says_what_to_type(finished: Clone) -> None:
    shown = finished.snakemake("across", "--dry-run", rc=1)
    assert shown.count("preset=small data_dir=/path/to/data") == 1
    assert "Traceback" not in shown
