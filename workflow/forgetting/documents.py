"""YAML files that people write: read strictly, merged plainly, and complained about precisely."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from forgetting.components import allowed
from forgetting.errors import UserError

Key = tuple[str | int, ...]
SHOWN = 5


class _Loader(yaml.SafeLoader if not hasattr(yaml, "CSafeLoader") else yaml.CSafeLoader):  # type: ignore[misc]
    """Safe YAML in which a key that occurs twice is an error."""


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name in seen and name != "<<":
            raise yaml.constructor.ConstructorError(
                None, None, f'the key "{name}" occurs twice', key.start_mark
            )
        seen.add(name)
    loader.flatten_mapping(node)
    return dict(yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


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
            raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{name}: cannot be read ({error})") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            what = getattr(error, "problem", None) or str(error)
            raise UserError(f"{name}{line}: not valid YAML: {what}") from None
        if not isinstance(raw, dict):
            raise UserError(f"{name}: found {raw!r}; expected a mapping (key: value)")
        return cls(Path(name), raw)

    def place(self, key: Key) -> str:
        """Return "file: key.path", pointing into the preset where the value stands there."""
        if key and key[0] in self.command_line:
            return f"command line: --config {'.'.join(map(str, key))}"
        inside: Key = ("presets", self.preset, *key) if self.preset is not None else ()
        shown = inside if inside and _holds(self.raw, inside) else key
        return f"{self.path}: {'.'.join(map(str, shown))}" if shown else str(self.path)

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
            shown = list(lines)[:SHOWN]
            more = len(lines) - len(shown)
            raise UserError("\n".join(shown + [f"... and {more} more"] * bool(more))) from None

    def choose(self, key: Key, found: str, known: Iterable[str], *, what: str) -> str:
        """Return ``found`` if it is one of ``known``.

        Raises:
            UserError: It is not.
        """
        options = list(known)
        if found not in options:
            raise self.error(
                key, f'found "{found}", which is not {what}; {allowed(found, options)}'
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
                yield f"{self.place((*key, *location))}: found {one['input']!r}; {text}"


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _present(value: Any, location: Sequence[str | int]) -> Key:
    """Return the location without pydantic's own steps (names of union members)."""
    steps: list[str | int] = []
    for position, step in enumerate(location):
        if _has(value, step):
            value = value[step]
        elif not (position == len(location) - 1 and isinstance(value, Mapping)):
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
