"""Studies and configurations with something wrong in them: a plan or one message, never a crash.

Hypothesis changes a valid study or configuration in one to three places, and the text of the
files. FORGETTING_MUTATIONS says how many such changes are tried (a few hundred unless told).
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from forgetting.documents import Document
from mutations import (
    PRESETS,
    STUDIES,
    Shipped,
    changing,
    check_message,
    dumped,
    files,
    misspelt,
    mutated,
    outcome,
    plan_everything,
    tried,
)
from studies import REPOSITORY, pipeline_of, tiny, write

EXAMPLES = int(os.environ.get("FORGETTING_MUTATIONS", "200"))
TINY = "workflow/studies/collapse.yaml"
CONFIG = {
    "preset": "quick",
    "studies": ["collapse"],
    "seeds": 2,
    "only": "*/mlp/*",
    "data_dir": "data",
    "results": "results",
    "download": False,
    "device": "cpu",
    "jobs_per_gpu": 2,
    "keep_checkpoints": "last",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mutated"), tiny(), **CONFIG)


def test_a_mutated_study(tmp_path: Path) -> None:
    root = write(tmp_path, tiny(), seeds=2)
    changing(root, TINY, mutated(tiny()), EXAMPLES)


def test_a_mutated_configuration(root: Path) -> None:
    changing(root, "config.yaml", mutated(CONFIG), EXAMPLES)


def test_a_misspelt_study(tmp_path: Path) -> None:
    root = write(tmp_path, tiny(), seeds=2)
    changing(root, TINY, misspelt(dumped(tiny()).decode()), EXAMPLES)


def test_a_misspelt_configuration(root: Path) -> None:
    changing(root, "config.yaml", misspelt((REPOSITORY / "config.yaml").read_text()), EXAMPLES)


def test_a_mutated_command_line(root: Path) -> None:
    before = files(root)
    messages = []

    @tried(EXAMPLES)
    @given(mutated(CONFIG))
    def check(merged: dict[str, Any]) -> None:
        messages.append(
            outcome(root, "config.yaml", before, {str(k): value for k, value in merged.items()})
        )

    check()
    assert any(message.startswith("command line: --config ") for message in messages)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return Shipped(tmp_path_factory.mktemp("shipped"))


# A quick look at each; tests/faults looks longer.
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", STUDIES)
def test_a_shipped_study(shipped: Shipped, study: str, preset: str) -> None:
    shipped.change(study, preset, max(1, EXAMPLES // 40))


def test_the_study_without_a_change_is_planned(root: Path) -> None:
    pipeline = pipeline_of(root, tiny())
    assert len(pipeline.plan("collapse").runs) == 3
    assert REPOSITORY not in root.parents


def nested(levels: int) -> str:
    return "x: " + "[" * levels + "]" * levels


LAUGHS = "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "a0: &a0 ha\n" for n in range(12)
)
MERGED_LAUGHS = "".join(
    f"a{n}: &a{n}\n  k{n}: v\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n"
    if n
    else "a0: &a0 {k: v}\n"
    for n in range(12)
)


@pytest.mark.parametrize("file", ["config.yaml", TINY])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LAUGHS, "found more than 100000 values, each alias (*name) written out"),
        (MERGED_LAUGHS, "found more than 100000 values, each alias (*name) written out"),
        ("x: &a [*a]", "found more than 40 levels"),
        ("x: &a {k: {l: *a}}", "found more than 40 levels"),
        ("x: &a\n  <<: *a", "found more than 40 levels"),
        (nested(50), "found more than 40 levels"),
        (nested(900), "found more than 40 levels"),
        (nested(100_000), "line 1, column 43: found more than 40 levels"),
        ("x: " + "{a: " * 200_000, "found more than 40 levels"),
        ("x: " + "9" * 5000, "which is no int"),
        ("x: 0x" + "f" * 5000, "a whole number has at most 18 digits"),
        ("x: 1e999\ny: 1.0e+999", "found '1.0e+999'; a number must be finite"),
        ("x: .nan", "found '.nan'; a number must be finite"),
        ("x: -.inf", "found '-.inf'; a number must be finite"),
        ("x: !!int y", "found 'y', which is no int"),
        ("x: !!bool y", "found 'y', which is no bool"),
        ("x: !!int ''", "found '', which is no int"),
        ("x: !!python/object/apply:os.mkdir [pwned]", "python/object/apply:os.mkdir"),
        ("x: !!python/name:os.system", "python/name:os.system"),
        ("x: !!python/module:antigravity", "python/module:antigravity"),
        ("x: !!binary aGk=", "binary"),
        ("x: !!set {a, b}", "set"),
        ("x: !!timestamp 2026-01-01", "timestamp"),
        ("x: !mine 3", '"!mine"'),
        ("1: x", "found the key 1, which is no text; put it in quotes"),
        ("yes: x", "found the key True, which is no text; put it in quotes"),
        ("null: x", "found the key None, which is no text; put it in quotes"),
        ("? [a, b]\n: x", "found the key ['a', 'b'], which is no text"),
        ("x: {y: 1, y: 2}", 'the key "y" occurs twice'),
        ("x: 1\n'x': 2", 'the key "x" occurs twice'),
        ("x: {<<: [1]}", "found no mapping after <<"),
        ("x: {<<: y}", "found no mapping after <<"),
        ("x:\n\ty: 1", "found character that cannot start any token"),
        ("x: *nobody", "found undefined alias"),
        ("a: &b 1\nx: &b 2", "found duplicate anchor"),
        ("x: 1\n---\ny: 1", "expected a single document"),
        ("x: [1", "not valid YAML: while parsing a flow sequence"),
        ("x: 1\ny: \0", "line 2: not valid YAML"),
        ("x: 1\n\x1b[2J: 1", "line 2: not valid YAML"),
        (b"x: 1\ny: \xff", "line 2: not UTF-8; store it as UTF-8"),
        ("x: \ud800".encode("utf-8", "surrogatepass"), "line 1: not UTF-8"),
        ('x: "\\ud800"', "not valid YAML"),
        ("x: 1\n".encode("utf-16"), "line 1: not UTF-8"),
    ],
)
def test_what_yaml_can_say_beyond_plain_data(
    tmp_path: Path, file: str, content: str | bytes, said: str
) -> None:
    root = write(tmp_path, tiny())
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (root / file).write_bytes(data)
    message = outcome(root, file, files(root))
    check_message(message, file)
    assert message.startswith(file)
    assert said in message


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_marks_of_other_systems_change_nothing(tmp_path: Path, coding: str, newline: str) -> None:
    root = write(tmp_path, tiny())
    expected = plan_everything(root).plan("collapse").runs
    for file in ("config.yaml", TINY):
        text = (root / file).read_text()
        (root / file).write_bytes(text.replace("\n", newline).encode(coding))
    assert plan_everything(root).plan("collapse").runs == expected


def test_plain_yaml_says_what_safe_yaml_says() -> None:
    for name in STUDIES:
        path = REPOSITORY / f"workflow/studies/{name}.yaml"
        assert Document.read(path, name=name).raw == yaml.safe_load(path.read_text())
