"""Every mistake gives one message that names file, key, what was found and what is allowed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from studies import REPOSITORY, pipeline_of, tiny, write

FILE = "workflow/studies/collapse.yaml"


def change(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return a mutation that sets a value deep in the study."""

    def mutate(study: dict[str, Any]) -> None:
        for key in path[:-1]:
            study = study.setdefault(key, {}) if isinstance(study, dict) else study[key]
        study[path[-1]] = to

    return mutate


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return a mutation that removes a key."""

    def mutate(study: dict[str, Any]) -> None:
        for key in path[:-1]:
            study = study[key]
        del study[path[-1]]

    return mutate


BENCHMARK = ("benchmarks", "split-digits")
STUDY_MISTAKES: list[tuple[Callable[[dict[str, Any]], None], str, list[str]]] = [
    (change("benchmark", to={}), "benchmark", ["unknown key", "benchmarks", "Did you mean"]),
    (drop("title"), "title", ["is missing"]),
    (drop("runs"), "runs", ["is missing"]),
    (change("evidence", to="protokoll"), "evidence", ["'protokoll'", "'protocol'"]),
    (change("study", to="other"), "study", ["other"]),
    (
        change("training", "learning_rat", to=1),
        "training.learning_rat",
        ["unknown", "learning_rate"],
    ),
    (
        change("training", "learning_rate", to=-1),
        "training.learning_rate",
        ["-1", "greater than 0"],
    ),
    (
        change("training", "learning_rate", to="fast"),
        "training.learning_rate",
        ["'fast'", "number"],
    ),
    (change("training", "optimizer", to="adamw"), "training.optimizer", ["'adamw'", "'adam'"]),
    (change("training", "epochs", to=0), "training.epochs", ["found 0", "1"]),
    (change("training", "epochs", to=1.5), "training.epochs", ["found 1.5", "integer"]),
    (
        change("runs", "narrow", "training", to={"batch": 3}),
        "runs.narrow.training.batch",
        ["batch_size"],
    ),
    (
        change("runs", "narrow", "strategies", to=["sgd", "lfw"]),
        "runs.narrow.strategies.1",
        ['"lfw"', 'Did you mean "lwf"'],
    ),
    (
        change("runs", "narrow", "architectures", to=["mlpp"]),
        "runs.narrow.architectures.0",
        ['"mlpp"', "mlp, wide"],
    ),
    (
        change("runs", "narrow", "benchmarks", to=["digits"]),
        "runs.narrow.benchmarks.0",
        ["split-digits"],
    ),
    (change("runs", "narrow", "strategies", to="sgd"), "runs.narrow.strategies", ["'sgd'", "list"]),
    (change("runs", "narrow", "seed", to=[1]), "runs.narrow.seed", ["unknown key", "seeds"]),
    (change("runs", "wide", "architectures", to=["mlp"]), "runs.wide", ["another group"]),
    (change("runs", "narrow", "resources", to={"gpus": 1}), "runs.narrow.resources.gpus", ["gpu"]),
    (change("seeds", to=["0-0"]), "seeds", ["'0-0'", "range"]),
    (change("seeds", to=["zero"]), "seeds", ["'zero'", "seed (5)"]),
    (change("seeds", to=[0, "0-2"]), "seeds", ["one pack only"]),
    (change("seeds", to=3), "seeds", ["found 3", "list"]),
    (
        change("architectures", "mlp", "component", to="mpl"),
        "architectures.mlp.component",
        ['"mpl"', 'Did you mean "mlp"'],
    ),
    (
        change("architectures", "mlp", "settings", to={"hiden": [3]}),
        "architectures.mlp.settings.hiden",
        ["hidden"],
    ),
    (
        change("architectures", "mlp", "settings", to={"hidden": []}),
        "architectures.mlp.settings.hidden",
        ["[]"],
    ),
    (
        change("architectures", "mlp", "settings", to={"hidden": [3, 0]}),
        "architectures.mlp.settings.hidden.1",
        ["found 0"],
    ),
    (change("architectures", "MLP", to={"component": "mlp"}), "architectures", ["MLP"]),
    (
        change("strategies", "lwf", "settings", to={"alpha": "high"}),
        "strategies.lwf.settings.alpha",
        ["'high'"],
    ),
    (change("strategies", "lwf", "setting", to={}), "strategies.lwf.setting", ["settings"]),
    (
        change("strategies", "ewc2", to={}),
        "strategies.ewc2.component",
        ['"ewc2"', "not a file of workflow/forgetting/strategies"],
    ),
    (
        change("strategies", "lwf", "parts", to=[{"component": "sgd"}]),
        "strategies.lwf",
        ["parts", "one of them"],
    ),
    (
        change("strategies", "two", to={"parts": [{"settings": {}}]}),
        "strategies.two.parts.0",
        ["component is missing"],
    ),
    (
        change("strategies", "lwf", "ladder", to={"alpha": [1], "temperature": [2]}),
        "strategies.lwf.ladder",
        ["exactly one"],
    ),
    (
        change("strategies", "lwf", "ladder", to={"alpha": [1, 1]}),
        "strategies.lwf.ladder.alpha",
        ["distinct"],
    ),
    (
        change("strategies", "lwf", "ladder", to={"alpha": ["a/b"]}),
        "strategies.lwf.ladder.alpha",
        ["path"],
    ),
    (change("strategies", "lwf", "ladder", to={"alfa": [1]}), "strategies.lwf.", ["alfa", "alpha"]),
    (
        change("strategies", "lwf", "starts_from", to={"strategy": "none", "task": 1}),
        "strategies.lwf.starts_from",
        ["in no group"],
    ),
    (
        change("strategies", "lwf", "starts_from", to={"strategy": "sgd"}),
        "strategies.lwf.starts_from.task",
        ["missing"],
    ),
    (
        change(*BENCHMARK, "settings", "scenario", to="task"),
        "benchmarks.split-digits.settings.scenario",
        ["'task'", "task_incremental"],
    ),
    (
        change(*BENCHMARK, "metric", to="accuracy"),
        "benchmarks.split-digits.metric",
        ["class_incremental"],
    ),
    (change(*BENCHMARK, "datasets", to=["digits"]), "benchmarks.split-digits", ["either"]),
    (drop(*BENCHMARK, "dataset"), "benchmarks.split-digits", ["either"]),
    (
        change(*BENCHMARK, "dataset", to={"any_of": ["digits"], "images": 3}),
        "benchmarks.split-digits.dataset.images",
        ["images_per_class"],
    ),
    (
        change(*BENCHMARK, "dataset", to="../digits"),
        "benchmarks.split-digits.dataset",
        ["../digits"],
    ),
    (change("measures", "cca", to={}), "measures.cca.component", ["erank"]),
    (
        change("measures", "erank", "runs", to=["narow"]),
        "measures.erank.runs.0",
        ['Did you mean "narrow"'],
    ),
    (
        change("tables", "summary", "from", to=["scores", "runs", "score"]),
        "tables.summary.from.2",
        ['"scores"'],
    ),
    (change("tables", "summary", "from", to=["scores"]), "tables.summary.from", ["lacks runs"]),
    (
        change("tables", "sumary", to={"from": ["runs"]}),
        "tables.sumary",
        ['Did you mean "summary"'],
    ),
    (
        change("figures", "average_acuracy", to={"tables": []}),
        "figures.average_acuracy.component",
        ["average_accuracy"],
    ),
    (
        change("figures", "average_accuracy", "tables", to=["cka"]),
        "figures.average_accuracy.tables.0",
        ["erank"],
    ),
    (
        change("figures", "average_accuracy", "settings", to={}),
        "figures.average_accuracy.settings.benchmark",
        ["missing"],
    ),
    (
        change("figures", "average_accuracy", "settings", to={"benchmark": "mnist"}),
        "figures.average_accuracy.settings.benchmark",
        ["split-digits"],
    ),
    (change("claims", "forgets", "holds", to={}), "claims.forgets", ["exactly one of above"]),
    (
        change("claims", "forgets", "statistic", to="mean"),
        "claims.forgets.statistic",
        ["correlation"],
    ),
    (
        change("claims", "forgets", "settings", "column", to=[1]),
        "claims.forgets.settings.column",
        ["[1]"],
    ),
    (change("claims", "forgets", "settings", "table", to="score"), "claims", ['"scores"']),
    (change("presets", "quick", to={"trainning": {}}), "presets.quick.trainning", ["training"]),
    (
        change("presets", "quick", to={"training": {"epochs": 0}}),
        "presets.quick.training.epochs",
        ["found 0"],
    ),
    (change("presets", "quick", to=[1]), "presets.quick", ["[1]", "mapping"]),
    (change("presets", to={}), "presets", ["mapping of presets"]),
]


@pytest.mark.parametrize(("mutate", "key", "words"), STUDY_MISTAKES)
def test_a_mistake_in_a_study(
    tmp_path: Path, mutate: Callable[[dict[str, Any]], None], key: str, words: list[str]
) -> None:
    study = tiny()
    mutate(study)
    root = write(tmp_path, {**study, "study": "collapse"}) if study["study"] == "collapse" else None
    if root is None:  # the file keeps its name when the study says another
        root = write(tmp_path, tiny())
        (root / FILE).write_text(
            (root / FILE).read_text().replace("study: collapse", f"study: {study['study']}")
        )
    with pytest.raises(UserError) as caught:
        Pipeline.load(root).everything("collapse")
    message = str(caught.value)
    assert message.startswith(f"{FILE}: {key}")
    for word in words:
        assert word in message


CONFIG_MISTAKES = [
    ({"presett": "quick"}, "config.yaml: presett", ["unknown key", '"preset"']),
    ({"preset": "tiny"}, "config.yaml: preset", ['"tiny"', "quick, small"]),
    ({"preset": 3}, "config.yaml: preset", ["found 3", "string"]),
    ({"studies": ["colapse"]}, "config.yaml: studies.0", ['Did you mean "collapse"']),
    ({"studies": 3}, "config.yaml: studies", ["found 3"]),
    ({"device": "gpu"}, "config.yaml: device", ["'gpu'", "'cuda'"]),
    ({"seeds": 0}, "config.yaml: seeds", ["found 0", "greater than or equal to 1"]),
    ({"seeds": "many"}, "config.yaml: seeds", ["'many'", "integer"]),
    ({"seeds": [1, 2]}, "config.yaml: seeds", ["[1, 2]"]),
    ({"download": "perhaps"}, "config.yaml: download", ["'perhaps'"]),
    ({"only": "*/cnn/*"}, "config.yaml: only", ["'*/cnn/*'", "split-digits/mlp/sgd/seeds0"]),
    ({"results": 1}, "config.yaml: results", ["found 1"]),
]


@pytest.mark.parametrize(("config", "start", "words"), CONFIG_MISTAKES)
def test_a_mistake_in_the_configuration(
    tmp_path: Path, config: dict[str, Any], start: str, words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        pipeline_of(tmp_path, tiny(), **config)
    message = str(caught.value)
    assert message.startswith(start)
    for word in words:
        assert word in message


def load(root: Path) -> None:
    Pipeline.check_file(root)
    Pipeline.load(root)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.yaml", "preset: [quick\n", ["config.yaml, line 2", "not valid YAML"]),
        ("config.yaml", "- quick\n", ["config.yaml", "expected a mapping"]),
        ("config.yaml", "preset: quick\npreset: small\n", ["line 2", '"preset" occurs twice']),
        (FILE, "study: collapse\n  title: x\n", [FILE, "line 2", "not valid YAML"]),
        (FILE, "", [FILE, "expected a mapping"]),
        (FILE, "study: collapse\n", [FILE, "presets"]),
    ],
)
def test_a_broken_file(tmp_path: Path, file: str, text: str, words: list[str]) -> None:
    root = write(tmp_path, tiny())
    (root / file).write_text(text)
    with pytest.raises(UserError) as caught:
        load(root)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["preset=smal"], "command line: --config preset: found"),
        (["only=nothing"], "command line: --config only: found"),
        (["device=tpu", "sedes=3"], "command line: --config device: found"),
    ],
)
def test_snakemake_ends_with_the_message_alone(
    tmp_path: Path, arguments: list[str], start: str
) -> None:
    results = tmp_path / "results"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile"]
    command += [str(REPOSITORY / "Snakefile"), "--config", f"results={results}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert start in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    assert not (results / "quick").exists()
