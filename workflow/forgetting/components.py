"""Components: one idea, one file, found by its name.

A component is a file of data/, benchmarks/, architectures/, strategies/, measures/, figures/ or
evidence/; the file's name is the name that a study uses. Nothing is registered anywhere.

A study is checked whenever the workflow is parsed, which happens before every run and once more
in every cluster job, so it must not cost the import of torch. The class statement ``Settings``
of a component is therefore evaluated on its own, from the file's syntax tree, together with the
other settings classes of that file that it uses and the imports of typing, pydantic and
the modules of settings; the rest of the module is not executed.
"""

import ast
import functools
import importlib
from pathlib import Path
from types import ModuleType

from forgetting.errors import UserError
from forgetting.messages import allowed, quoted
from forgetting.settings import Settings
from forgetting.syntax import tree

PACKAGE = Path(__file__).parent
REPOSITORY = PACKAGE.parents[1]
KINDS = ("data", "benchmarks", "architectures", "strategies", "measures", "figures", "evidence")
SAFE_IMPORTS = (
    "__future__",
    "typing",
    "pydantic",
    "forgetting.settings",
    "forgetting.training_settings",
    "forgetting.evidence._settings",
    "forgetting.measures._settings",
)


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """Return the names of all components of a kind, sorted."""
    found = (path.stem for path in (PACKAGE / kind).glob("*.py"))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def find(kind: str, name: str, *, key: str = "") -> str:
    """Return the component's name, checked to exist; ``key`` says where the user named it.

    Raises:
        UserError: There is no such component; the message lists those there are.
    """
    known = names(kind)
    if name in known:
        return name
    where = f"{key}: " if key else ""
    raise UserError(
        f"{where}found {quoted(name)}, which is not a file of workflow/forgetting/{kind}; "
        f"{allowed(name, known)}"
    )


def load(kind: str, name: str) -> ModuleType:
    """Import a component.

    Raises:
        UserError: There is no such component.
    """
    return importlib.import_module(f"forgetting.{kind}.{find(kind, name)}")


@functools.cache
def settings_class(kind: str, name: str, *, documented: bool = False) -> type[Settings]:
    """Return a component's settings class without importing the component.

    A component without a class ``Settings`` has no settings.

    Raises:
        UserError: There is no such component.
    """
    path = PACKAGE / kind / f"{find(kind, name)}.py"
    return class_of(path, "Settings", documented=documented)


@functools.cache
def definitions(kind: str, name: str) -> set[str]:
    """Return the names of the functions and constants of a component, without importing it.

    Raises:
        UserError: There is no such component.
    """
    body = tree(PACKAGE / kind / f"{find(kind, name)}.py").body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assigned = [node for node in body if isinstance(node, ast.Assign)]
    return functions | {ast.unparse(target) for node in assigned for target in node.targets}


@functools.cache
def trained_by(benchmark: str) -> Path:
    """Return the file of the loop that trains on a benchmark: ``TRAINED_BY``, or training.py.

    Raises:
        UserError: There is no such benchmark.
    """
    module = tree(PACKAGE / "benchmarks" / f"{find('benchmarks', benchmark)}.py")
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRAINED_BY":
            return PACKAGE / f"{ast.literal_eval(node.value)}.py"
    return PACKAGE / "training.py"


@functools.cache
def derived_tables() -> dict[str, tuple[str, ...]]:
    """Return the tables that are made from others (``FROM_TABLES``), each with those it needs."""
    needs = {
        node.name: tuple(arg.arg for arg in node.args.args[: -len(node.args.defaults) or None])
        for path in (PACKAGE / "tables").glob("*.py")
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef)
    }
    (listed,) = (
        node.value
        for node in tree(PACKAGE / "tables" / "derived.py").body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FROM_TABLES"
    )
    assert isinstance(listed, ast.Dict)
    named = zip(listed.keys, listed.values, strict=True)
    return {ast.literal_eval(key): needs[ast.unparse(value)] for key, value in named if key}


@functools.cache
def figures(study: str) -> dict[str, type[Settings]]:
    """Return the figures of a study, by function name, with their settings classes.

    A figure is a public function of figures/<study>.py whose settings class bears its name in
    camel case.
    """
    path = PACKAGE / "figures" / f"{study.replace('-', '_')}.py"
    if not path.exists():
        return {}
    module = tree(path)
    classes = {node.name for node in module.body if isinstance(node, ast.ClassDef)}
    functions = [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
    camel = {name: "".join(map(str.capitalize, name.split("_"))) for name in functions}
    return {name: class_of(path, camel[name]) for name in functions if camel[name] in classes}


@functools.cache
def class_of(path: Path, name: str, *, documented: bool = False) -> type[Settings]:
    """Evaluate one settings class of a file from its syntax tree; see the module's docstring.

    ``documented``: with the descriptions of its fields, which take a fifth of the time of parsing
    and which schemas alone need.
    """
    module = tree(path)
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        return type(name, (Settings,), {"__module__": _module_name(path)})
    wanted: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        wanted.add(current)
        used = {node.id for node in ast.walk(classes[current]) if isinstance(node, ast.Name)}
        pending += [other for other in used & set(classes) if other not in wanted]
    body = [
        node
        for node in module.body
        if (isinstance(node, ast.ImportFrom) and node.module in SAFE_IMPORTS)
        or (isinstance(node, ast.Import) and all(a.name in SAFE_IMPORTS for a in node.names))
        or (isinstance(node, ast.ClassDef) and node.name in wanted)
    ]
    # Under the module's own name, by which pydantic finds the docstrings of fields.
    namespace: dict[str, object] = {"__name__": _module_name(path)}
    evaluated = ast.Module(body=body, type_ignores=[])  # type: ignore[arg-type]
    _import_bases()  # not under the changed configuration
    usual = Settings.model_config["use_attribute_docstrings"]
    Settings.model_config["use_attribute_docstrings"] = documented
    try:
        exec(compile(evaluated, str(path), "exec"), namespace)
    finally:
        Settings.model_config["use_attribute_docstrings"] = usual
    made = namespace[name]
    assert isinstance(made, type)
    assert issubclass(made, Settings)
    return made


@functools.cache
def _import_bases() -> None:
    for name in SAFE_IMPORTS:
        importlib.import_module(name)


def _module_name(path: Path) -> str:
    inside = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else Path(path.name)
    return ".".join((PACKAGE.name, *inside.with_suffix("").parts))
