"""YAML files that people write: read strictly, merged plainly, and complained about precisely."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from forgetting import plain_yaml
from forgetting.errors import UserError
from forgetting.messages import allowed, key_path, quoted, shown

Key = tuple[str | int, ...]
SHOWN = 5


def merge(base: Any, override: Any) -> Any:
    """Return ``base`` overridden: mappings merge, all else replaces, null removes a key."""
    if not isinstance(base, Mapping) or not isinstance(override, Mapping):
        return override
    merged = dict(base)
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@dataclass(frozen=True)
class Document:
    """A YAML file as the user knows it, to say where something wrong stands."""

    path: Path
    """The file; messages name it relative to the repository."""
    raw: Mapping[str, Any]
    """Its contents, presets unmerged."""
    preset: str | None = None
    """The preset merged into what is checked."""
    command_line: frozenset[str] = frozenset()
    """Top-level keys that came from the command line instead."""

    @classmethod
    def read(cls, path: Path, *, name: str) -> "Document":
        """Read a file; ``name`` is what messages call it.

        Raises:
            UserError: It cannot be read, is no YAML or no mapping.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{name}: cannot be read ({error.strerror})") from None
        try:
            raw = plain_yaml.load(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = _line(content, error.start)
            raise UserError(f"{name}, line {line}: not UTF-8; store it as UTF-8") from None
        except yaml.YAMLError as error:
            raise UserError(f"{name}{_problem(error, content)}") from None
        if not isinstance(raw, dict):
            raise UserError(f"{name}: found {shown(raw)}; expected a mapping (key: value)")
        return cls(Path(name), raw)

    def place(self, key: Key) -> str:
        """Return "file: key.path", pointing into the preset where the value stands there."""
        if key and key[0] in self.command_line:
            return f"command line: --config {key_path(key)}"
        inside: Key = ("presets", self.preset, *key) if self.preset is not None else ()
        place = inside if inside and _holds(self.raw, inside) else key
        return f"{self.path}: {key_path(place)}" if place else str(self.path)

    def error(self, key: Key, text: str) -> UserError:
        """Return the error to raise for something wrong at ``key``."""
        return UserError(f"{self.place(key)}: {text}")

    def check(self, model: type[BaseModel], value: Any, key: Key = ()) -> Any:
        """Validate the value that stands at ``key``.

        Raises:
            UserError: It is wrong; the message has a line for each of the first few mistakes.
        """
        try:
            return model.model_validate(value)
        except ValidationError as error:
            lines = dict.fromkeys(self._lines(error, model, value, key))
            first = list(lines)[:SHOWN]
            more = len(lines) - len(first)
            raise UserError("\n".join(first + [f"... and {more} more"] * bool(more))) from None

    def choose(self, key: Key, found: str, known: Iterable[str], *, what: str) -> str:
        """Return ``found`` if it is one of ``known``.

        Raises:
            UserError: It is not.
        """
        options = list(known)
        if found not in options:
            raise self.error(
                key, f"found {quoted(found)}, which is not {what}; {allowed(found, options)}"
            )
        return found

    def _lines(
        self, error: ValidationError, model: type[BaseModel], value: Any, key: Key
    ) -> Iterable[str]:
        for one in error.errors(include_url=False):
            location = _present(value, one["loc"])
            if one["type"] == "extra_forbidden":
                owner = _model_at(model, location[:-1])
                known = [] if owner is None else _names(owner)
                unknown = f"unknown key; {allowed(location[-1], known)}"
                yield f"{self.place((*key, *location))}: {unknown}"
            elif one["type"] == "missing":
                yield f"{self.place((*key, *location))}: is missing and has no default"
            else:
                text = one["msg"].removeprefix("Value error, ").removeprefix("Input ")
                yield f"{self.place((*key, *location))}: found {shown(one['input'])}; {text}"


def _problem(error: yaml.YAMLError, content: bytes) -> str:
    """Return ", line, column: problem"."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
    else:  # a character that is never allowed
        place = f", line {_line(content, getattr(error, 'position', 0))}"
        what = str(error).partition("\n")[0]
    kind = "" if isinstance(error, plain_yaml.NotPlain) else "not valid YAML: "
    return f"{place}: {kind}{what}"


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _present(value: Any, location: Sequence[str | int]) -> Key:
    """Return the location without pydantic's own steps (names of union members)."""
    steps: list[str | int] = []
    for position, step in enumerate(location):
        if _has(value, step):
            value = value[step]
        elif step == "[key]" or position < len(location) - 1 or not isinstance(value, Mapping):
            continue
        steps.append(step)
    return tuple(steps)


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list | tuple) and isinstance(step, int) and step < len(value)


def _model_at(annotation: Any, location: Key) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return annotation
        for name, field in annotation.model_fields.items():
            if location[0] in (name, field.alias):
                return _model_at(field.annotation, location[1:])
        return None
    arguments = get_args(annotation)
    if getattr(annotation, "__origin__", None) in (dict, list, tuple) and arguments:
        return _model_at(arguments[-1], location[1:]) if location else None
    found = (_model_at(argument, location) for argument in arguments)
    return next((model for model in found if model is not None), None)


def _holds(value: Any, key: Key) -> bool:
    for step in key:
        if not _has(value, step):
            return False
        value = value[step]
    return True
