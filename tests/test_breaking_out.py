"""Names that would lead elsewhere: to other folders, other modules, or into a shell.

Every key of the configuration and of a study that becomes a part of a path, of a command or the
name of a module, and everything that a ``run.json`` handed in by somebody says.
"""

import ast
import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from forgetting import components, naming, seeds, sources, specification
from forgetting.errors import UserError
from mutations import files, outcome
from studies import REPOSITORY, pipeline_of, tiny, write

FILE = "workflow/studies/collapse.yaml"
PACKAGE = REPOSITORY / "workflow/forgetting"
HOSTILE = [
    "../x",
    "..",
    ".",
    "",
    "a/../../x",
    "a/b",
    "/etc/passwd",
    "~",
    "~root",
    "-rf",
    "--out=x",
    "a b",
    "a;b",
    "a|b",
    "$(touch pwned)",
    "`touch pwned`",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "a\n",
    "a\r",
    "a\0b",
    "a*",
    "{x}",
    "{params.code}",
    "%s",
    "A",
    "é",
    "٣",
    "\uff41",  # a letter that only looks like one of ours
    "a..b",
    "a.",
    ".a",
    "__init__",
    "_npz",
    "os",
    "os.path",
    "sgd.__class__",
    "x" * 151,
]
# Where a name of the study's own makes a path: the section is a mapping by name.
SECTIONS = ["benchmarks", "architectures", "strategies", "runs", "measures", "tables", "figures"]
# Where a name must be one that is there: the keys that lead to it.
CHOSEN = [
    ("study",),
    ("benchmarks", "split-digits", "component"),
    ("benchmarks", "split-digits", "continues"),
    ("architectures", "mlp", "component"),
    ("strategies", "sgd", "component"),
    ("strategies", "sgd", "parts", 0, "component"),
    ("strategies", "sgd", "starts_from", "strategy"),
    ("measures", "erank", "component"),
    ("measures", "erank", "runs", 0),
    ("measures", "erank", "against", "reference"),
    ("figures", "average_accuracy", "component"),
    ("figures", "average_accuracy", "caption"),
    ("figures", "average_accuracy", "tables", 0),
    ("figures", "average_accuracy", "settings", "benchmark"),
    ("tables", "summary", "from", 0),
    ("claims", "forgets", "statistic"),
    ("claims", "forgets", "settings", "table"),
    ("runs", "narrow", "benchmarks", 0),
    ("runs", "narrow", "architectures", 0),
    ("runs", "narrow", "strategies", 0),
    ("runs", "narrow", "seeds", 0),
    ("seeds", 0),
    ("tune", "runs", 0),
]


def put(study: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    """Set a value deep in a study, making what leads to it."""
    if path[-1] == "continues":
        value = {"benchmark": value, "task": 1}
    if path[:3] == ("strategies", "sgd", "parts"):
        value, path = [{"component": value}], path[:3]
    if path[:3] == ("strategies", "sgd", "starts_from"):
        value, path = {"strategy": value, "task": 1}, path[:3]
    if path[:1] == ("tune",):
        study["tune"] = {"seeds": [900], "grids": {"sgd": {"training.learning_rate": [0.1]}}}
    if path[-1] == 0:
        value, path = [value], path[:-1]
    owner = study
    for key in path[:-1]:
        owner = owner.setdefault(key, {})
    owner[path[-1]] = value


def refused(root: Path, study: dict[str, Any]) -> str:
    """Return the message that a study is refused with; nothing is written."""
    write(root, {**study, "study": "collapse"})
    if study["study"] != "collapse":
        text = (root / FILE).read_text()
        (root / FILE).write_text(
            text.replace("study: collapse", f"study: {json.dumps(study['study'])}")
        )
    message = outcome(root, FILE, files(root))
    assert message, "it was planned"
    return message


# "os" may be an entry's name like any other: no module is meant by it.
@pytest.mark.parametrize("name", [name for name in HOSTILE if not naming.is_name(name)])
@pytest.mark.parametrize("section", SECTIONS)
def test_an_entry_cannot_be_called_so(tmp_path: Path, section: str, name: str) -> None:
    study = tiny()
    study[section][name] = copy.deepcopy(next(iter(study[section].values())))
    message = refused(tmp_path, study)
    assert message.startswith(f"{FILE}: {section}.")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", CHOSEN, ids=lambda path: ".".join(map(str, path)))
def test_nothing_else_can_be_chosen(tmp_path: Path, path: tuple[Any, ...], name: str) -> None:
    study = tiny()
    put(study, path, name)
    message = refused(tmp_path, study)
    assert re.match(rf"{re.escape(FILE)}: ({path[0]}|claims|runs)", message)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_preset_is_a_folder_of_the_results(tmp_path: Path, name: str) -> None:
    if naming.is_name(name):
        name = "data"  # which is there already
    study = {**tiny(), "presets": {"quick": {}, name: {}}}
    assert f"{FILE}: presets." in refused(tmp_path, study)
    assert "config.yaml: preset" in str(_refused_preset(tmp_path, name))


def _refused_preset(root: Path, name: str) -> UserError:
    with pytest.raises(UserError) as caught:
        pipeline_of(root, tiny(), preset=name)
    return caught.value


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", ["dataset", "any_of", "datasets"])
def test_a_data_set_lies_in_data_dir(tmp_path: Path, form: str, name: str) -> None:
    (tmp_path / "x.npz").write_bytes(b"outside of data_dir")
    study = tiny()
    entry = study["benchmarks"]["split-digits"]
    if form == "datasets":
        del entry["dataset"]
    entry["datasets" if form == "datasets" else "dataset"] = {
        "dataset": name,
        "any_of": {"any_of": [name]},
        "datasets": [name],
    }[form]
    message = refused(tmp_path, study)
    assert message.startswith(f"{FILE}: benchmarks.split-digits.dataset")
    if not sources.NAME.fullmatch(name):
        assert "a name is letters, digits" in message


@pytest.mark.parametrize("rung", ["../x", "a/b", "a b", "$(x)", "a\n", "é", "٣", "x" * 200])
def test_a_rung_is_part_of_a_path(tmp_path: Path, rung: str) -> None:
    study = tiny()
    study["strategies"]["lwf"] = {"ladder": {"alpha": [rung]}}
    assert "which makes no path" in refused(tmp_path, study)
    study = tiny()
    study["tune"] = {"seeds": [900], "grids": {"sgd": {"training.optimizer": [rung]}}}
    assert "which makes no path" in refused(tmp_path, study)


@pytest.mark.parametrize("seed", ["٣", "1\n", "0-2\n", "0-٣", "1-2-3", "-1", "+1", "1_0", "1e3"])
def test_seeds_are_digits(seed: str) -> None:
    with pytest.raises(UserError, match="a pack is a seed"):
        seeds.packs([seed])


@pytest.mark.parametrize("seed", ["0-999999999", 10**9, "0-1000", "9" * 5000])
def test_seeds_are_few(seed: str | int) -> None:
    with pytest.raises(UserError, match="at most"):
        seeds.packs([seed])


def test_results_without_wildcards(tmp_path: Path) -> None:
    root = write(tmp_path, tiny(), results="{x}")
    assert outcome(root, "config.yaml", files(root)).startswith("config.yaml: results: found '{x}'")


@pytest.mark.parametrize("key", ["data_dir", "results"])
@pytest.mark.parametrize("folder", ["", " ", "a\0b", "a\nb", "~nobody-is-called-so/x", "\x1b[2J"])
def test_folders_of_the_configuration(tmp_path: Path, key: str, folder: str) -> None:
    root = write(tmp_path, tiny(), **{key: folder})
    message = outcome(root, "config.yaml", files(root))
    assert message.startswith(f"config.yaml: {key}: found ")


def test_only_is_matched_and_nothing_else(tmp_path: Path) -> None:
    for pattern in ("../*", "$(touch pwned)", "a\0b", "[", "a\nb", "*" * 100):
        root = write(tmp_path, tiny(), only=pattern)
        message = outcome(root, "config.yaml", files(root))
        assert message.startswith("config.yaml: only: found ") or pattern == "*" * 100


# ------------------------------------------------------------------ run.json

RECORD: dict[str, Any] = {
    "spec": {
        "study": "collapse",
        "preset": "quick",
        "benchmark": {"name": "toy", "component": "split", "settings": {"tasks": 3}},
        "architecture": {"name": "mlp", "component": "mlp", "settings": {"hidden": [4]}},
        "strategy": {"name": "sgd", "parts": [{"component": "sgd", "settings": {}}]},
        "training": {"batch_size": 4},
        "seeds": [0],
    },
    "datasets": [{"key": "toy"}],
    "parent": None,
    "checkpoints": {"task-1": "0" * 64},
    "checkpoint_tasks": {"task-1": {"task": 1, "epoch": 0}},
}
MODULES = [*HOSTILE, "forgetting", "importlib", "sgd.py", "Sgd", 3, None, ["sgd"], {"a": 1}]
OF_A_RECORD = [
    ("spec", "benchmark", "component"),
    ("spec", "architecture", "component"),
    ("spec", "strategy", "parts", 0, "component"),
]


def crafted(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    record = copy.deepcopy(RECORD)
    owner: Any = record
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return record


def train(record: Any, folder: Path, *more: str) -> str:
    """Give a record to ``train --spec`` and return what it is refused with."""
    from argparse import ArgumentParser

    from forgetting.commands import train as command

    path = folder / "run.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    parser = ArgumentParser()
    command.add_arguments(parser)
    before = files(folder)
    out = folder / "out"
    given = ["--spec", str(path), "--out", str(out), "--device", "cpu", *more]
    with pytest.raises(UserError) as caught:
        command.run(parser.parse_args(given))
    left = {name: content for name, content in files(folder).items() if not name.startswith("out")}
    assert left == before
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {"lock", "failure.json"}
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MODULES, ids=repr)
@pytest.mark.parametrize("path", OF_A_RECORD, ids=lambda path: path[1])
def test_a_crafted_run_names_a_module(tmp_path: Path, path: tuple[Any, ...], name: Any) -> None:
    message = train(crafted(path, name), tmp_path)
    assert re.search(r"found .*(should match pattern|string|not a file of workflow)", message)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *[(("datasets", 0, "key"), name) for name in ("../x", "/etc/passwd", "a\0", "a\n", "", 3)],
        *[(("spec", part, "name"), "../x") for part in ("benchmark", "architecture", "strategy")],
        *[(("spec", key), "../x") for key in ("study", "preset", "seeds", "training")],
        (("spec", "seeds"), ["../x"]),
        (("spec", "seeds"), []),
        (("spec", "seeds"), [-1]),
        (("spec", "strategy", "parts"), []),
        (("spec", "strategy", "starts_from"), {"strategy": "sgd", "task": "../x"}),
        (("spec", "strategy", "starts_from"), {"strategy": "../x", "task": 1}),
        (("spec", "benchmark", "settings"), [1]),
        (("spec", "more"), 1),
        (("parent",), "/etc/passwd"),
        (("parent",), "../../../etc/passwd"),
        (("parent",), "/tmp/run.json"),
        (("parent",), "../a\0/run.json"),
        (("parent",), 3),
        (("checkpoints",), {"../x": "0"}),
        (("checkpoints",), ["task-1"]),
        (("checkpoint_tasks",), {"/etc/x": {"task": 1}}),
        (("datasets",), None),
        (("spec",), None),
    ],
    ids=repr,
)
def test_a_crafted_run_names_a_file(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    message = train(crafted(path, value), tmp_path)
    assert message.startswith(f"--spec {tmp_path / 'run.json'}: not a run.json that a training")


@pytest.mark.parametrize("text", ["", "x", "[" * 100_000, "3", "[]", "{}", "\x00", '{"spec": {}}'])
def test_what_is_no_run(tmp_path: Path, text: str) -> None:
    assert "not a run.json that a training wrote" in train(text, tmp_path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        specification.read(tmp_path / "nothing.json", at="--spec")
    with pytest.raises(UserError, match="cannot be read"):
        specification.read(tmp_path, at="--spec")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot be read"):
        specification.read(tmp_path / "bytes.json")


def test_a_crafted_parent_is_read_as_a_run(tmp_path: Path) -> None:
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent/run.json").write_text("[1]")
    (tmp_path / "toy.json").write_text(json.dumps({"key": "toy", "checksum": "0"}))
    message = train(
        {**RECORD, "parent": "parent/run.json"}, tmp_path, "--data", str(tmp_path / "toy.json")
    )
    assert "parent/run.json: not a run.json that a training wrote" in message


@pytest.mark.parametrize("name", [*MODULES[:-3], "erank.__class__"], ids=repr)
@pytest.mark.parametrize("kind", ["measures", "figures", "strategies", "data"])
def test_only_a_component_is_imported(kind: str, name: Any) -> None:
    with pytest.raises(UserError, match="which is not a file of workflow/forgetting"):
        specification.component(kind, name, at="--measure")
    if kind != "figures":
        with pytest.raises(UserError, match="which is not a file of workflow/forgetting"):
            components.load(kind, name)


def test_modules_are_imported_by_name_in_few_places() -> None:
    """Who imports by name: each checks the name, or takes it from our own code."""
    known = {
        "__main__.py",  # one of the commands that are there
        "components.py",  # a name that `find` has found; fixed names
        "execute.py",  # TRAINED_BY, a constant of a benchmark
        "sources.py",  # a data set that is there
        "specification.py",
    }
    importing = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
        and not isinstance(node.args[0], ast.Constant)
    }
    assert importing == known
