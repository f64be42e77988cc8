"""A run's specification: how ``run.json`` is read, and how its words become code and settings.

Anybody may hand in a ``run.json``. So its names are checked before they become a part of a path or
the name of a module, and what it says is only ever read as settings of our own components.
"""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from forgetting.errors import UserError
from forgetting.messages import key_path, quoted, shown
from forgetting.naming import LONGEST, Name
from forgetting.settings import Settings

PACKAGE = Path(__file__).parent
MODULE = r"[a-z][a-z0-9_]*"
Module = Annotated[str, StringConstraints(pattern=f"^{MODULE}$")]
Seed = Annotated[int, Field(ge=0)]
# A key of prepared data, and the name of a checkpoint: a file's name without its suffix.
File = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.~+-]*$", max_length=200)]
# From one run's folder to another's file, wherever that is.
Beside = Annotated[str, StringConstraints(pattern=r"^[^/\x00-\x1f][^\x00-\x1f]*/run\.json$")]


class _Part(Settings):
    component: Module
    settings: dict[str, Any] = {}


class _Named(_Part):
    name: Name


class _Start(Settings):
    strategy: Name
    task: Annotated[int, Field(ge=1)]
    epoch: Annotated[float, Field(gt=0)] | None = None
    benchmark: Name | None = None


class _Strategy(Settings):
    name: Name
    parts: Annotated[list[_Part], Field(min_length=1)]
    starts_from: _Start | None = None


class _Spec(Settings):
    study: Name
    preset: Name
    benchmark: _Named
    architecture: _Named
    strategy: _Strategy
    training: dict[str, Any]
    seeds: Annotated[list[Seed], Field(min_length=1)]


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Data(_Open):
    key: File


class _Record(_Open):
    """What is used of a run.json."""

    spec: _Spec
    datasets: list[_Data]
    parent: Beside | None = None
    checkpoints: dict[File, str]
    checkpoint_tasks: dict[File, dict[str, float]] = {}


def check(spec: dict[str, Any], *, at: str) -> dict[str, Any]:
    """Return a specification whose names and structure are checked; ``at`` begins the message.

    Raises:
        UserError: Something in it is wrong.
    """
    _checked(_Spec, spec, at)
    _components(spec, at)
    return spec


def read(path: Path, *, at: str = "") -> dict[str, Any]:
    """Return a finished run's run.json; ``at`` is the option that named it.

    Raises:
        UserError: There is none, or it is not one that a training wrote.
    """
    where = f"{at} {path}".strip()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{where}: no such file; name the run.json of a finished run") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: cannot be read ({error})") from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{where}: not a run.json that a training wrote (no JSON)") from None
    where = f"{where}: not a run.json that a training wrote"
    _checked(_Record, record, where)
    _components(record["spec"], where)
    return record


def component(kind: str, name: Any, *, at: str = "") -> ModuleType:
    """Import a component; only a file of ``workflow/forgetting/KIND`` can be meant.

    Raises:
        UserError: There is no such file; ``at`` begins the message.
    """
    return importlib.import_module(f"forgetting.{kind}.{_existing(kind, name, at)}")


def settings(model: type[Settings], given: Any, *, at: str) -> Any:
    """Return checked settings; ``at`` says whose they are.

    Raises:
        UserError: One of them is wrong.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{at}: {_first(error)}") from None


def _existing(kind: str, name: Any, at: str) -> str:
    named = isinstance(name, str) and re.fullmatch(MODULE, name) and len(name) <= LONGEST
    if named and (PACKAGE / kind / f"{name}.py").is_file():
        return name
    where = f"{at}: " if at else ""
    raise UserError(
        f"{where}found {quoted(name)}, which is not a file of workflow/forgetting/{kind}"
    )


def _components(spec: dict[str, Any], at: str) -> None:
    _existing("benchmarks", spec["benchmark"]["component"], at)
    _existing("architectures", spec["architecture"]["component"], at)
    for part in spec["strategy"]["parts"]:
        _existing("strategies", part["component"], at)


def _checked(model: type[BaseModel], value: Any, at: str) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{at}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    text = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key_path(first['loc'])}: found {shown(first['input'])}; {text}"
