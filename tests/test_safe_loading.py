"""Nothing that somebody hands in is executed: no pickle is loaded, no code is evaluated."""

import ast
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

import trainings
from forgetting import checkpoints, datasets, resume
from forgetting.errors import UserError
from forks import Server
from studies import REPOSITORY

PACKAGE = REPOSITORY / "workflow/forgetting"
# Whatever rebuilds objects from bytes, or runs text.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve"}
UNSAFE_MODULES |= {"marshal", "jsonpickle", "ctypes", "code", "codeop"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
UNSAFE_METHODS = {"read_pickle", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}
UNSAFE_NAMES = {"UnsafeLoader", "FullLoader", "CFullLoader", "CUnsafeLoader", "Unpickler"}
# The exceptions, each with its reason.
ALLOWED = {
    # The published CIFAR files are pickles: after their md5, by an unpickler that knows arrays.
    ("data/_cifar.py", "import pickle"),
    ("data/_cifar.py", "Unpickler"),
    # Class statements of our own files, so that a study is checked without importing torch.
    ("components.py", "exec"),
    ("components.py", "compile"),
}


def called(node: ast.Call) -> str:
    """Return the name of what is called, as far as it is written out: ``torch.load``."""
    return ast.unparse(node.func)


def keyword(node: ast.Call, name: str) -> object:
    for each in node.keywords:
        if each.arg == name:
            return each.value.value if isinstance(each.value, ast.Constant) else ...
    return None


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Yield what in a module could execute what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = names if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {m}" for m in modules if m.split(".")[0] in UNSAFE_MODULES)
            yield from (name for name in names if name in UNSAFE_NAMES)
        elif isinstance(node, ast.Attribute) and node.attr in UNSAFE_NAMES:
            yield node.attr
        elif isinstance(node, ast.Call):
            name = called(node)
            if name in UNSAFE_CALLS or name.rpartition(".")[2] in UNSAFE_METHODS:
                yield name
            torch_load = name in ("torch.load", "torch.jit.load")
            if torch_load and keyword(node, "weights_only") is not True:
                yield "torch.load without weights_only=True"
            if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") is not False:
                yield "np.load without allow_pickle=False"
            if name in ("yaml.load", "yaml.load_all"):
                yield "yaml.load"
            if keyword(node, "shell") not in (None, False):
                yield "a shell"
            if keyword(node, "allow_pickle") not in (None, False):
                yield "allow_pickle"


def test_no_loader_executes_what_it_reads() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), what)
        for path in PACKAGE.rglob("*.py")
        for what in unsafe(ast.parse(path.read_bytes()))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=choice)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=choice)",
        "np.savez(path, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "yaml.unsafe_load(text)",
        "yaml.parse(text, Loader=yaml.FullLoader)",
        "from yaml import UnsafeLoader",
        "pd.read_pickle(path)",
        "pandas.io.read_pickle(path)",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds_unsafe_loaders(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "old torch", "pickle", "text", "nothing"])
def test_a_state_that_would_run_code_is_thrown_away(tmp_path: Path, how: str) -> None:
    state, trap = tmp_path / "rolling.pt", tmp_path / "sprung"
    if how.endswith("torch"):
        torch.save({"training": Bomb(trap)}, state, _use_new_zipfile_serialization=how == "torch")
    else:
        contents = {"pickle": pickle.dumps(Bomb(trap)), "text": b"\x80", "nothing": b""}
        state.write_bytes(contents[how])
    assert resume.load(state) is None
    assert not trap.exists()
    assert not state.exists()


def test_a_planted_state_is_not_run_and_the_training_starts_anew(
    tmp_path: Path, server: Server
) -> None:
    data, whole = trainings.prepare(tmp_path), tmp_path / "whole"
    assert server.run(trainings.command(data, whole)).code == 0
    (key,) = [path for path in whole.glob(".resume/*") if path.is_dir()]
    planted = tmp_path / "planted"
    home, trap = planted / ".resume" / key.name / "group-cpu-0-of-1", tmp_path / "sprung"
    home.mkdir(parents=True)
    torch.save({"training": Bomb(trap)}, home / "rolling.pt")
    torch.save({"accuracy": [], "history": [], "diverged": Bomb(trap)}, home / "facts.pt")
    done = server.run(trainings.command(data, planted))
    assert done.code == 0, done.shown
    assert "resumed" not in done.shown
    assert trainings.facts(planted) == trainings.facts(whole)
    assert not trap.exists()


WEIGHTS = {"w": torch.ones(2, 3)}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"forgetting": ""},
        {"forgetting": "{"},
        {"forgetting": "[" * 100_000},
        {"forgetting": "[1]"},
        {"forgetting": "3"},
        {"forgetting": '"../../x"'},
        {"forgetting": "{}"},
        {"forgetting": '{"seeds": [0], "task": "../x", "epoch": 0}'},
    ],
    ids=repr,
)
def test_crafted_metadata_are_refused_by_name(tmp_path: Path, metadata: dict | None) -> None:
    path = tmp_path / "task-1.safetensors"
    path.write_bytes(safetensors.torch.save(WEIGHTS, metadata=metadata))
    with pytest.raises(UserError, match=r"task-1\.safetensors: not a checkpoint that can be read"):
        checkpoints.read(path)
    with pytest.raises(UserError, match=r"task-1\.safetensors: not a prepared data set"):
        datasets.read(path)


@pytest.mark.parametrize("content", [pickle.dumps(3), b"", b"\xff" * 8, b"\xff" * 7 + b"\x7f{}"])
def test_what_is_no_safetensors_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "task-1.safetensors"
    path.write_bytes(content)
    for read in (checkpoints.read, datasets.read):
        with pytest.raises(UserError, match=r"task-1\.safetensors: not a"):
            read(path)
    torch.save(WEIGHTS, path)  # a pickle
    for read in (checkpoints.read, datasets.read):
        with pytest.raises(UserError, match=r"task-1\.safetensors: not a"):
            read(path)
