"""Studies and configurations with something wrong in them: a plan or one message, never a crash.

Hypothesis changes a valid study or configuration in one to three places. FORGETTING_MUTATIONS says
how many such changes are tried (a few hundred unless told).
"""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetting.errors import UserError
from studies import REPOSITORY, pipeline_of, tiny

EXAMPLES = int(os.environ.get("FORGETTING_MUTATIONS", "200"))
Place = tuple[Any, ...]
# What a slip of the hand, another tool or malice may leave.
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["../x", "/etc/passwd", "a;b", "$(x)", "~", "{x}", "%s", "sgd", "mlp", "no", "1-0", "0-2"]
    ),
)
VALUES = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.dictionaries(st.text(max_size=6) | st.integers(), LEAVES, max_size=2),
)
MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Where something can be changed."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*at, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*at, index))


def found(value: Any, at: Place) -> Any:
    for key in at:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """Something valid with one to three changes."""
    changed = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        everywhere = list(places(changed))
        if not everywhere:
            break
        *before, key = draw(st.sampled_from(everywhere))
        owner = found(changed, tuple(before))
        how = draw(st.sampled_from(["replace", "remove", "rename", "add", "move"]))
        if how == "remove":
            del owner[key]
        elif how == "rename" and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = owner.pop(key)
        elif how == "add" and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = draw(VALUES)
        elif how == "move":
            owner[key] = copy.deepcopy(found(changed, draw(st.sampled_from(everywhere))))
        else:
            owner[key] = draw(VALUES)
    return changed


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def outcome(root: Path, study: dict[str, Any], **config: Any) -> None:
    """Plan everything; a mistake is one message that shows neither code nor a traceback."""
    try:
        pipeline = pipeline_of(root, study, **config)
        for name in pipeline.studies:
            pipeline.plan(name)
            pipeline.everything(name)
    except UserError as error:
        message = str(error)
        assert message.strip()
        assert "Traceback" not in message
        assert "object at 0x" not in message
    written = {str(path.relative_to(root)) for path in files(root)}
    assert written <= {"config.yaml", "workflow/studies/collapse.yaml"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


@MANY
@given(study=mutated(tiny()))
def test_a_mutated_study(root: Path, study: dict[str, Any]) -> None:
    outcome(root, {**study, "study": "collapse"})


@MANY
@given(
    config=mutated(
        {
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
    )
)
def test_a_mutated_configuration(root: Path, config: dict[str, Any]) -> None:
    outcome(root, tiny(), **{str(key): value for key, value in config.items()})


def test_the_study_without_a_change_is_planned(root: Path) -> None:
    pipeline = pipeline_of(root, tiny())
    assert len(pipeline.plan("collapse").runs) == 3
    assert REPOSITORY not in root.parents
