"""Components are found by name and their settings read without running them."""

import inspect
import subprocess
import sys

import pytest

from forgetting import components
from forgetting.errors import UserError
from forgetting.tables.derived import FROM_TABLES

WITH_SETTINGS = ("benchmarks", "architectures", "strategies", "measures", "evidence")
EVERY = [(kind, name) for kind in WITH_SETTINGS for name in components.names(kind)]


def test_names_are_file_names_without_private_ones() -> None:
    assert {"mlp", "convgru", "resnet18", "bi_convgru"} <= set(components.names("architectures"))
    assert not [
        name for kind in components.KINDS for name in components.names(kind) if name[0] == "_"
    ]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_settings_from_the_syntax_tree_are_those_of_the_module(kind: str, name: str) -> None:
    module = components.load(kind, name)
    assert components.settings_class(kind, name, documented=True).model_json_schema() == (
        module.Settings.model_json_schema()
    )


def test_figures_are_functions_with_a_settings_class() -> None:
    module = components.load("figures", "collapse")
    found = components.figures("collapse")
    file = components.PACKAGE / "figures" / "collapse.py"
    assert "average_accuracy" in found
    for name, settings in found.items():
        camel = "".join(map(str.capitalize, name.split("_")))
        assert callable(getattr(module, name))
        whole = components.class_of(file, camel, documented=True)
        assert whole.model_json_schema() == getattr(module, camel).model_json_schema()
        assert set(settings.model_fields) == set(whole.model_fields)
    assert components.figures("no-such-study") == {}


def test_reading_settings_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from forgetting import components as c\n"
        f"for kind in {WITH_SETTINGS}:\n"
        "    for name in c.names(kind): c.settings_class(kind, name)\n"
        "heavy = {'torch', 'torchvision', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "workflow"})


def test_a_component_without_settings_has_none(tmp_path) -> None:
    path = tmp_path / "plain.py"
    path.write_text("raise RuntimeError\n")
    assert components.class_of(path, "Settings").model_fields == {}


def test_only_the_class_statements_are_evaluated(tmp_path) -> None:
    path = tmp_path / "loud.py"
    path.write_text(
        "from typing import Literal\n"
        "from forgetting.settings import Settings as Base\n"
        "raise RuntimeError\n"
        "class Inner(Base):\n    depth: int = 1\n"
        "class Settings(Base):\n    inner: Inner = Inner()\n    kind: Literal['a', 'b'] = 'a'\n"
        "class Other(missing): ...\n"
    )
    made = components.class_of(path, "Settings")(inner={"depth": 3}, kind="b")
    assert made.model_dump() == {"inner": {"depth": 3}, "kind": "b"}


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(UserError, match=r'found "lfw".*allowed: .*lwf.*Did you mean "lwf"\?'):
        components.load("strategies", "lfw")


def test_names_match_strictly() -> None:
    with pytest.raises(UserError, match="Did you mean"):
        components.find("strategies", "LwF")


def test_derived_tables_are_those_that_are_listed() -> None:
    found = components.derived_tables()
    assert found.keys() == FROM_TABLES.keys()
    for name, function in FROM_TABLES.items():
        wanted = inspect.signature(function).parameters.values()
        assert found[name] == tuple(p.name for p in wanted if p.default is p.empty)
