"""The fingerprint changes with code that can be reached, and with nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forgetting import fingerprint as module
from forgetting.fingerprint import LEFT_OUT, PACKAGE, closure, fingerprint

FILES = {
    "__init__.py": '"""A package."""',
    "fingerprint.py": "VALUE = 1",
    "errors.py": "class UserError(Exception):\n    '''Doc.'''\n",
    "tools.py": "import json\nfrom forgetting import errors\n\ndef tool(x):\n    return x + 1\n",
    "lazy.py": "VALUE = 2\n",
    "typed.py": "VALUE = 3\n",
    "unreached.py": "VALUE = 4\n",
    "commands/__init__.py": "",
    "commands/work.py": (
        '"""Work."""\n'
        "from typing import TYPE_CHECKING\n"
        "from forgetting.fingerprint import VALUE\n"
        "from forgetting.tools import tool  # a helper\n"
        "if TYPE_CHECKING:\n    from forgetting import typed\n"
        "def run():\n    '''Run.'''\n    from .. import lazy\n    return tool(lazy.VALUE)\n"
    ),
    "strategies/__init__.py": "",
    "strategies/_common.py": "STEP = 1\n",
    "strategies/one.py": (
        "from ._common import STEP\n\nclass Settings:\n    a: int = 1\n    '''A.'''\n"
    ),
    "strategies/two.py": "X = 'text'\n",
    "strategies/drawn.py": (
        '"""Not drawn from other.csv."""\n'
        "from pathlib import Path\n"
        "CURVE = Path(__file__).with_name('curve.csv')  # nor from unsaid.csv\n"
    ),
    "strategies/curve.csv": "x,y\n1,2\n",
    "strategies/other.csv": "x,y\n1,2\n",
    "strategies/unsaid.csv": "x,y\n1,2\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def value(root: Path, *strategies: str) -> str:
    for cached in (module.tree, module._digest, module._imports):
        cached.cache_clear()
    return fingerprint("work", [("strategies", name) for name in strategies], root=root)


def test_the_closure_has_what_can_be_imported(root: Path) -> None:
    value(root)
    names = {
        name.removeprefix("forgetting").strip(".")
        for name in closure("work", [("strategies", "one")], root=root)
    }
    assert names == {
        "",
        "errors",
        "tools",
        "lazy",
        "commands",
        "commands.work",
        "strategies",
        "strategies.one",
        "strategies._common",
    }


IRRELEVANT = [
    ("tools.py", "import json\n", "import json\n# a comment\n\n"),
    ("commands/work.py", '"""Work."""', '"""Work, reworded."""'),
    ("commands/work.py", "'''Run.'''", "'''Run\n    it.'''"),
    ("commands/work.py", "# a helper", "# the helper"),
    ("strategies/one.py", "'''A.'''", "'''Another.'''"),
    ("strategies/one.py", "\n    '''A.'''", ""),
    ("errors.py", "'''Doc.'''", "'''Doc, longer.'''"),
    ("tools.py", "    return x + 1", "    return (x +\n            1)"),
    ("unreached.py", "4", "5"),
    ("typed.py", "3", "5"),
    ("strategies/two.py", "text", "word"),
    ("fingerprint.py", "1", "2"),
]
RELEVANT = [
    ("tools.py", "x + 1", "x + 2"),
    ("tools.py", "x + 1", "x - 1"),
    ("tools.py", "def tool(x)", "def tool(x, y=0)"),
    ("lazy.py", "2", "3"),
    ("lazy.py", "2", "2.0"),
    ("lazy.py", "2", "'2'"),
    ("errors.py", "Exception", "ValueError"),
    ("strategies/one.py", "= 1", "= 2"),
    ("strategies/_common.py", "1", "2"),
    ("commands/work.py", "return tool(lazy.VALUE)", "return lazy.VALUE"),
]


@pytest.mark.parametrize(("file", "old", "new"), IRRELEVANT)
def test_what_cannot_matter_changes_nothing(root: Path, file: str, old: str, new: str) -> None:
    before = value(root, "one")
    edit(root / file, old, new)
    assert value(root, "one") == before


@pytest.mark.parametrize(("file", "old", "new"), RELEVANT)
def test_what_can_matter_changes_it(root: Path, file: str, old: str, new: str) -> None:
    before = value(root, "one")
    edit(root / file, old, new)
    assert value(root, "one") != before


def test_text_that_is_used_counts(root: Path) -> None:
    before = value(root, "two")
    edit(root / "strategies/two.py", "text", "word")
    assert value(root, "two") != before


def test_a_file_of_data_counts_where_a_module_names_it(root: Path) -> None:
    strategies = ("drawn", "one")
    before = {name: value(root, name) for name in strategies}
    for unnamed in ("other.csv", "unsaid.csv"):
        edit(root / "strategies" / unnamed, "2", "3")
    assert {name: value(root, name) for name in strategies} == before
    edit(root / "strategies/curve.csv", "2", "3")
    assert value(root, "one") == before["one"]
    assert value(root, "drawn") != before["drawn"]


def test_every_file_of_data_in_the_package_is_named_by_a_module_beside_it() -> None:
    files = {path for path in PACKAGE.rglob("*.*") if path.suffix in (".csv", ".json")}
    assert files
    assert files == {data for path in PACKAGE.rglob("*.py") for data in module._data(path)}


def test_the_value_depends_on_the_components_not_on_the_place(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("copy"))
    assert value(root, "one") == value(copy, "one")
    assert len({value(root, "one"), value(root, "two"), value(root)}) == 3


def test_a_missing_component_is_an_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"strategies\.three"):
        value(root, "three")


def test_layers_training_and_drawing_do_not_reach_each_other() -> None:
    train = closure("train", [("strategies", "lwf"), ("benchmarks", "split")])
    draw = closure("draw", [("figures", "collapse")])
    above = {"measures", "figures", "evidence", "tables", "plots", "study", "plan", "sources"}
    assert not {name for name in train if name.split(".")[1:2] and name.split(".")[1] in above}
    below = {"training", "ensemble", "strategies", "architectures", "stages", "datasets"}
    assert not {name for name in draw if name.split(".")[1:2] and name.split(".")[1] in below}


@pytest.mark.parametrize(
    "command", ["collect", "judge", "scorecard", "prepare", "measure", "train"]
)
def test_importing_a_command_loads_nothing_outside_its_closure(command: str) -> None:
    code = (
        f"import sys, forgetting.commands.{command}\n"
        "print(*[m for m in sys.modules if m.split('.')[0] == 'forgetting'])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    loaded = set(shown.stdout.split()) - LEFT_OUT
    assert loaded <= set(closure(command, []))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
