"""Fingerprint of the code that a job can reach: a part of the job's identity.

A job runs one command and a few components. Reached from these through import statements (those
inside functions included), all first-party modules count, and nothing else: an edit of one
strategy changes the fingerprint of that strategy's runs only. The hash is taken over the syntax
tree without docstrings and comments, so a reworded explanation changes no fingerprint, and with
an own dump that leaves out empty fields, so that every Python version gives the same value. A file
of data beside a module, such as a digitised curve, counts with every module that names it in a
string of its own.

This module itself and that of syntax trees are not counted: how a fingerprint is computed does not
matter to a result.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from forgetting.syntax import tree

PACKAGE = Path(__file__).parent
NAME = PACKAGE.name
LEFT_OUT = frozenset({f"{NAME}.fingerprint", f"{NAME}.syntax"})
Component = tuple[str, str]


def fingerprint(command: str, components: Iterable[Component], *, root: Path = PACKAGE) -> str:
    """Return 16 hexadecimal digits for the code of a command with these (kind, name) components.

    ``root`` is the folder of the package.
    """
    digest = hashlib.sha256()
    for module, path in closure(command, components, root=root).items():
        digest.update(f"{module} {_digest(path)}\n".encode())
    return digest.hexdigest()[:16]


def closure(
    command: str, components: Iterable[Component], *, root: Path = PACKAGE
) -> dict[str, Path]:
    """Return the first-party modules that a command with these components can import, by name."""
    start = [f"{NAME}.commands.{command}", *(f"{NAME}.{kind}.{name}" for kind, name in components)]
    found: dict[str, Path] = {}
    pending = list(start)
    while pending:
        module = pending.pop()
        if module in found or module in LEFT_OUT:
            continue
        path = _path(module, root)
        if path is None:
            if module in start:
                raise FileNotFoundError(f"no module {module} under {root}")
            continue
        found[module] = path
        package, _, _ = module.rpartition(".")
        pending += [package] if package else []
        pending += _imports(path, module, path.name == "__init__.py")
    return dict(sorted(found.items()))


def train_components(spec: Mapping[str, Any]) -> list[Component]:
    """Return the components that a training job runs, from its resolved specification."""
    strategies = [("strategies", part["component"]) for part in spec["strategy"]["parts"]]
    return [*_built(spec), *strategies]


def measure_components(spec: Mapping[str, Any], measure: str) -> list[Component]:
    """Return the components that measuring a run takes, from the run's specification."""
    return [*_built(spec), ("measures", measure)]


def _built(spec: Mapping[str, Any]) -> list[Component]:
    kinds = {"benchmark": "benchmarks", "architecture": "architectures"}
    return [(kind, spec[part]["component"]) for part, kind in kinds.items()]


@functools.cache
def _path(module: str, root: Path) -> Path | None:
    """Return the module's file, or None for what is not first-party or no module."""
    head, *rest = module.split(".")
    if head != NAME:
        return None
    place = root.joinpath(*rest)
    candidates = [place / "__init__.py"] + ([place.with_suffix(".py")] if rest else [])
    return next((path for path in candidates if path.is_file()), None)


@functools.cache
def _imports(path: Path, module: str, is_package: bool) -> tuple[str, ...]:
    """Return the names that a file may import, first-party only; some are not modules."""
    found: list[str] = []
    for node in _statements(tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            if not is_package:
                parents = parents[:-1]
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += [source, *(f"{source}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Assign) and _named(node.targets[0], "TRAINED_BY"):
            # A benchmark that is trained on by another loop names its module.
            found.append(f"{NAME}.{ast.literal_eval(node.value)}")
    return tuple(dict.fromkeys(name for name in found if name.split(".")[0] == NAME))


def _statements(root: ast.AST) -> Iterator[ast.AST]:
    """Walk the statements of a tree, leaving out what only a type checker reads."""
    pending = [root]
    while pending:
        node = pending.pop()
        yield node
        blocks = ["orelse", "finalbody", "handlers", "cases"]
        if not (isinstance(node, ast.If) and _named(node.test, "TYPE_CHECKING")):
            blocks.append("body")
        for block in blocks:
            inside = getattr(node, block, ())
            pending += inside if isinstance(inside, list) else ()


def _named(node: ast.AST, name: str) -> bool:
    """Whether an expression is a name, or an attribute of that name."""
    return getattr(node, "id", None) == name or getattr(node, "attr", None) == name


@functools.cache
def _digest(path: Path) -> str:
    text: list[str] = []
    _dump(tree(path), text)
    for data in _data(path):
        text.append(f"{data.name} {hashlib.sha256(data.read_bytes()).hexdigest()}")
    return hashlib.sha256("".join(text).encode()).hexdigest()


def _data(path: Path) -> list[Path]:
    """Return the files beside a module, other modules aside, whose names it says."""
    beside = [each for each in path.parent.iterdir() if each.suffix != ".py" and each.is_file()]
    nodes = ast.walk(tree(path)) if beside else ()
    said = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return sorted(each for each in beside if each.name in said)


def _dump(value: Any, to: list[str]) -> None:
    """Append a canonical text of a syntax tree: no empty fields, no text that stands alone."""
    if isinstance(value, ast.AST):
        to.append(f"{type(value).__name__}(")
        for name in value._fields:
            child = getattr(value, name, None)
            if child is None or child == [] or (name == "kind" and isinstance(value, ast.Constant)):
                continue
            to.append(f"{name}=")
            if isinstance(child, str | int):  # most are
                to.append(repr(child))
            else:
                _dump(child, to)
        to.append(")")
    elif isinstance(value, list):
        to.append("[")
        for item in value:
            if not _is_text(item):
                _dump(item, to)
                to.append(",")
        to.append("]")
    else:
        to.append(repr(value))


def _is_text(node: Any) -> bool:
    """Whether a statement is a string on its own: a docstring, of a module, a class, a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
