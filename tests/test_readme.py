"""The README is true: its listings run as they stand, its commands, options and paths exist.

Marks in comments say what a listing is: ``<!-- file: PATH -->`` is that file, ``<!-- merge: PATH
-->`` is merged into that YAML. The listings are one example of everything that a user can add, so
running them shows that adding a strategy, a network, a measure, a study or images takes one file
each and no edit of an existing module.
"""

import argparse
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from forgetting import commands, configuration, study
from forgetting.configuration import Config
from forgetting.documents import Document, merge
from forgetting.plan import build
from test_study import present

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
RUNS = "blobs/runs/split-blobs/small_cnn"
WORD = "collapse/runs/split-mnist/mlp/pull_to_start/seeds0-2"
GENERATED = ("results/", "data/", "my-run")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LISTING = re.compile(r"^<!-- (file|merge): (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE = FENCE.sub("", README)
SPANS = re.findall(r"`([^`\n]+)`", PROSE)
LISTINGS = {path: text for kind, path, text in LISTING.findall(README) if kind == "file"}
(NOTEBOOK,) = re.findall(
    r"^<!-- notebook -->\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
)
MERGED = {path: text for kind, path, text in LISTING.findall(README) if kind == "merge"}
STUDIES = [path for path in LISTINGS if path.startswith("workflow/studies/")]
COMMANDS = [
    line.strip()
    for language, block in FENCE.findall(README)
    if language == "sh"
    for line in block.splitlines()
]
ALL_COMMANDS = COMMANDS + [span for span in SPANS if re.match(r"(make|snakemake|python) ", span)]


def words(start: str) -> list[list[str]]:
    """Return the words after ``start`` of every command that begins with it."""
    begun = (command for command in ALL_COMMANDS if f"{command} ".startswith(f"{start} "))
    return [shlex.split(command.removeprefix(start)) for command in begun]


def given(arguments: list[str], option: str) -> list[str]:
    """Return the values that follow an option, up to the next one."""
    values = arguments[arguments.index(option) + 1 :] if option in arguments else []
    ends = [position for position, word in enumerate(values) if word.startswith("-")]
    return values[: ends[0]] if ends else values


# ---------------------------------------------------------------- what it names


def test_every_make_target_exists() -> None:
    defined = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = {arguments[0] for arguments in words("make")}
    assert {"figures", "test"} <= named <= set(defined)


def test_every_command_of_the_package_takes_its_arguments() -> None:
    called = words("python -m forgetting")
    assert {arguments[0] for arguments in called} >= {"train", "status"}
    for name, *arguments in called:
        command = importlib.import_module(f"{commands.__name__}.{name}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        command.add_arguments(parser)
        if "--help" not in arguments:
            parser.parse_args(arguments)


def test_every_option_of_snakemake_exists() -> None:
    shown = subprocess.run([BIN / "snakemake", "--help"], capture_output=True, text=True).stdout
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", shown))
    named = {w for arguments in words("snakemake") for w in arguments if w.startswith("-")}
    named |= {span.split()[0] for span in SPANS if re.fullmatch(r"--[\w-]+( \w+)?", span)}
    assert {"--config", "--unlock", "--touch", "--rerun-triggers", "--forcerun"} <= named <= known


def test_targets_stand_before_config_and_exist() -> None:
    known = {"all", "figures", "tables", "scorecard", "partial", "across", "tune", "cost"}
    known |= {*configuration.studies(REPOSITORY), *(Path(p).stem for p in STUDIES)}
    for arguments in words("snakemake"):
        rest = arguments[2:] if arguments[0] == "--cores" else arguments
        options = [position for position, word in enumerate(rest) if word.startswith("-")]
        for target in rest[: options[0]] if options else rest:
            assert target in known or target.startswith("quick/collapse/"), target
        for pair in given(arguments, "--config"):
            assert re.fullmatch(r"\w+=\S+", pair), f"{pair} is no key=value: a target after it?"


def test_every_key_is_explained_and_valid() -> None:
    table = set(re.findall(r"^\| `(\w+)` \|", PROSE, re.MULTILINE)) - {"quick", "small", "paper"}
    assert table - {*configuration.studies(REPOSITORY)} == set(Config.model_fields)
    pairs = [pair for arguments in words("snakemake") for pair in given(arguments, "--config")]
    found = {key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in pairs)}
    Config(**found)
    assert set(found) == set(Config.model_fields)


def test_presets_and_jobs_in_the_table_are_those_of_the_study() -> None:
    row = r"^\| `(\w+)`[^|]*\| `([\w-]+)` \|[^|]*\| ([\d,]+) jobs"
    rows = re.findall(row, PROSE, re.MULTILINE)
    studies = configuration.studies(REPOSITORY)
    files = {name: study.load(REPOSITORY, name) for name in studies}
    assert sorted(rows_of[:2] for rows_of in rows) == sorted(
        (preset, name) for name, file in files.items() for preset in file.raw["presets"]
    )
    for preset, name, jobs in rows:
        read, document = study.read(files[name], preset)
        plan = build(read, document, Config(preset=preset), present)
        assert int(jobs.replace(",", "")) == len(plan.runs), (preset, name)


def named_paths() -> list[str]:
    """Return the paths of this repository that the text and its links name."""
    roots = {path.name for path in REPOSITORY.iterdir()}
    links = re.findall(r"\]\(([^)#]+)\)", PROSE)
    spans = [span for span in SPANS if not re.search(r"[\s{}*=A-Z]", span)]
    found = [name for name in (*links, *spans) if name.split("/")[0] in roots and ":" not in name]
    return sorted({name for name in found if not name.startswith(GENERATED)})


@pytest.mark.parametrize("name", named_paths())
def test_every_path_exists(name: str) -> None:
    assert (REPOSITORY / name).exists() or name in LISTINGS


def test_every_path_of_the_layout_exists() -> None:
    (layout,) = (b for language, b in FENCE.findall(README) if not language and "Snakefile" in b)
    for line in layout.splitlines():
        for name in re.split(r",\s", re.split(r"\s{2,}", line)[0]):
            assert (REPOSITORY / name).exists(), name


def test_nothing_is_left_to_be_filled_in() -> None:
    assert re.findall(r"\{[A-Z_]+\}|TODO|TBD", README) == []


# ---------------------------------------------------------------- what it lists


@dataclass(frozen=True)
class Clone:
    """A copy of the repository with the README's files, in which its runs have been made."""

    root: Path
    before: dict[str, bytes]
    """The files of the repository."""

    def run(self, *command: str | Path) -> str:
        """Run a command in the copy; return what it said."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            command, cwd=self.root, capture_output=True, text=True, env=environment
        )
        logs = "\n".join(path.read_text()[-1000:] for path in self.root.glob("results/**/*.log"))
        assert ended.returncode == 0, ended.stdout + ended.stderr + logs
        return ended.stdout + ended.stderr

    def snakemake(self, *arguments: str) -> str:
        return self.run(BIN / "snakemake", "--cores", "1", "--scheduler", "greedy", *arguments)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.root / "results/quick/blobs" / name)

    def record(self, run: str) -> dict[str, Any]:
        return json.loads((self.root / "results/quick" / run / "run.json").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    root = tmp_path_factory.mktemp("readme") / "clone"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    names = [name for name in files.stdout.split("\0") if (REPOSITORY / name).is_file()]
    made = Clone(root, {name: (REPOSITORY / name).read_bytes() for name in names})
    for name, content in made.before.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for name, text in LISTINGS.items():
        assert not (root / name).exists(), f"{name} is no new file"
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    for name, text in MERGED.items():
        changed = merge(Document.read(root / name, name=name).raw, yaml.safe_load(text))
        (root / name).write_text(yaml.safe_dump(changed, sort_keys=False))
    for command in COMMANDS:
        if command.startswith("python data/"):
            made.run(sys.executable, *shlex.split(command)[1:])
    made.snakemake("blobs", f"quick/{WORD}/run.json")
    return made


@pytest.mark.slow
def test_no_existing_module_is_edited(clone: Clone) -> None:
    changed = {
        name for name, old in clone.before.items() if (clone.root / name).read_bytes() != old
    }
    assert changed == set(MERGED) == {"workflow/studies/collapse.yaml"}


@pytest.mark.slow
def test_the_strategy_and_the_network_train_on_the_users_images(clone: Clone) -> None:
    record = clone.record(f"{RUNS}/pull_to_start/seeds0-2")
    assert record["status"] == "finished"
    assert record["spec"]["architecture"]["component"] == "small_cnn"
    assert [part["component"] for part in record["spec"]["strategy"]["parts"]] == ["pull_to_start"]
    about = record["datasets"][0]
    assert (about["name"], about["train_images"], about["shape"]) == ("blobs", 240, [12, 12, 1])
    runs = clone.table("tables/runs.csv")
    assert set(runs["strategy"]) == {"sgd", "pull_to_start"}
    assert set(runs["evidence"]) == {"other data"}
    accuracy = clone.table("tables/accuracy.csv")
    first = accuracy.query("task == 1 and after_task == 1 and metric == 'task_masked'")["value"]
    assert first.mean() > 0.8  # chance is 0.5


@pytest.mark.slow
def test_the_strategy_does_what_it_says(clone: Clone) -> None:
    folder = clone.root / "results/quick" / RUNS
    history = pd.read_parquet(folder / "pull_to_start/seeds0-2/history.parquet")
    pull = history[history["statistic"] == "pull"]
    assert set(pull["seed"]) == {0, 1, 2}
    assert (pull.groupby(["seed", "task"])["value"].last() > 0).all()
    plain = pd.read_parquet(folder / "sgd/seeds0-2/history.parquet")
    assert "pull" not in set(plain["statistic"])
    moved = {}
    for strategy in ("sgd", "pull_to_start"):
        checkpoints = folder / strategy / "seeds0-2/checkpoints"
        first, last = (load_file(checkpoints / f"task-{task}.safetensors") for task in (0, 2))
        moved[strategy] = sum(float(((last[name] - first[name]) ** 2).sum()) for name in first)
    assert 0 < moved["pull_to_start"] < moved["sgd"]


@pytest.mark.slow
def test_the_measure_has_a_row_for_each_seed_task_and_layer(clone: Clone) -> None:
    norms = clone.table("tables/weight_norm.csv")
    layers = {"conv1.0", "conv2.0", "head"}
    assert set(norms["layer"]) == layers
    assert set(norms["task"]) == {0, 1, 2}
    assert len(norms) == 2 * 3 * 3 * len(layers)
    start = norms[norms["task"] == 0].pivot(index=["seed", "layer"], columns="strategy")["value"]
    assert (start["sgd"] == start["pull_to_start"]).all()
    assert (norms["value"] > 0).all()


@pytest.mark.slow
def test_the_study_judges_its_claim(clone: Clone) -> None:
    (claim,) = clone.table("claims.csv").to_dict("records")
    assert claim["claim"] == "keeps-weights-small"
    assert claim["n_seeds"] == 3
    assert claim["evidence"] == "other data"
    head = clone.table("tables/weight_norm.csv").query("layer == 'head' and task == 2")
    mean = head.groupby("strategy")["value"].mean()
    assert claim["value"] == pytest.approx(mean["pull_to_start"] - mean["sgd"], rel=1e-6)


@pytest.mark.slow
def test_the_notebook_reads_a_finished_study(clone: Clone) -> None:
    assert NOTEBOOK.count('load("collapse", "quick")') == 1  # of which the copy has one run
    lines = NOTEBOOK.replace('load("collapse", "quick")', 'load("blobs", "quick")')
    setting = "import sys; sys.path.insert(0, 'workflow')\n"
    shown = clone.run(sys.executable, "-c", f"{setting}{lines}\nprint(network)")
    for word in ("weight_norm", "keeps-weights-small", "learning_rate", "task-2", "Stages("):
        assert word in shown
    assert "conv1.0.weight': (3, 8, 1, 3, 3)" in shown


@pytest.mark.slow
def test_one_word_in_a_study_trains_one_run(clone: Clone) -> None:
    record = clone.record(WORD)
    assert record["status"] == "finished"
    assert record["spec"]["strategy"]["parts"][0]["settings"] == {"strength": 0.1}
    assert [about["name"] for about in record["datasets"]] == ["digits"]
    trained = {
        path.parent for path in clone.root.glob("results/quick/collapse/runs/*/*/*/*/run.json")
    }
    assert trained == {clone.root / "results/quick" / WORD}


@pytest.mark.slow
def test_what_is_made_stays_made(clone: Clone) -> None:
    shown = clone.snakemake("-n", "blobs", f"quick/{WORD}/run.json")
    assert "Nothing to be done" in shown


@pytest.mark.slow
def test_a_run_is_trained_again_when_it_is_deleted_and_not_when_it_is_forced(clone: Clone) -> None:
    (deleted,) = (Path(arguments[-1]) for arguments in words("rm"))
    assert deleted.match("results/quick/collapse/runs/*/*/*/seeds0-2")
    mine = f"quick/{RUNS}/sgd/seeds0-2"
    log = clone.root / f"results/{mine.replace('runs', 'logs/train', 1)}.log"
    once = (clone.root / "results" / mine / "accuracy.parquet").read_bytes()
    shutil.rmtree(clone.root / "results" / mine)
    log.write_text("")
    clone.snakemake("blobs")
    assert "published again" not in log.read_text()
    assert (clone.root / "results" / mine / "accuracy.parquet").read_bytes() == once
    clone.snakemake(f"{mine}/run.json", "--forcerun", f"{mine}/run.json")
    assert "published again" in log.read_text()


@pytest.mark.slow
def test_the_battery_of_strategies_takes_the_new_one_in(clone: Clone) -> None:
    selection = next(w[0] for w in words("make test") if w).removeprefix("ARGS=")
    shown = clone.run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *shlex.split(selection)
    )
    assert re.search(r"\d+ passed", shown)
