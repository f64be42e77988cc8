"""Where data sets come from: which one a study means, whether it is here, and what identifies it.

This runs whenever the workflow is parsed, so it imports no torch and reads no pixels. A data set
is one file of ``forgetting.data`` (its *component*); a name without one is looked for among the
user's own files, ``NAME.npz`` or a folder of images. A component offers

    Settings                            a ``forgetting.settings.Settings``
    STAND_IN                            whether it only stands in for real images
    find(data_dir, name, digest)        -> Found, or None when a file is missing
    wanted(data_dir, name)              -> the files to put where, one line each
    load(data_dir, name, settings)      -> Dataset; raises UserError for a corrupt file, by name
    PUBLISHED, download(data_dir)       only where it can be downloaded: the Found that a download
                                        leads to, and the download itself

The checksum of a published data set is that of its publication, so that packed, unpacked and
not yet downloaded files are the same data; the user's own files count by their content.
"""

import difflib
import importlib
import importlib.util
import json
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import Field, ValidationError

from forgetting import data
from forgetting.content import digester
from forgetting.datasets import Dataset, first_per_class
from forgetting.errors import UserError
from forgetting.messages import key_path, shown
from forgetting.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~-]*(\.[A-Za-z0-9_~-]+)*")
USERS = ("_npz", "_image_folder")
EXPLAINED = 4  # of many names of data sets, any of which would do: the first are said at length
COUNTS = ("images_per_class", "test_images_per_class")


class Reference(Settings):
    """A data set as a study names it, in full."""

    any_of: list[str] | str
    """One name, or several in order of preference: the first that is present is used."""
    images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Keep the first so many training images of each class; null keeps all."""
    test_images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Keep the first so many test images of each class; null keeps all."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the data set."""


@dataclass(frozen=True)
class Source:
    """A data set that is present (or can be downloaded), and what it is identified by."""

    name: str
    component: str
    settings: dict[str, Any]
    images_per_class: int | None
    test_images_per_class: int | None
    checksum: str
    """Of the source: published checksums, or sha256 of the user's files."""
    size: int
    """Bytes of the source as published or as it lies there; 0 for what is made by our code."""
    stand_in: bool
    files: tuple[Path, ...] = field(default=(), compare=False)
    """The files found; none of them is needed where the data set is still to be downloaded."""


def resolve(
    reference: str | Sequence[str] | Mapping[str, Any],
    data_dir: Path,
    *,
    download: bool = False,
    cache: Path | None = None,
) -> Source:
    """Return the first data set of ``reference`` that is present in ``data_dir``.

    ``reference`` is a name, a list of names, or a mapping with the keys of ``Reference``.
    With ``download`` a data set that can be downloaded counts as present. ``cache`` is a file
    that remembers the checksums of the user's own files by path, size and modification time.
    Raises UserError: nothing present (with the files to put where), or a wrong name or setting.
    """
    wish = _reference(reference)
    names = [wish.any_of] if isinstance(wish.any_of, str) else wish.any_of
    if not names:
        raise UserError("data set: the list of names is empty; write a name such as digits")
    data_dir = Path(data_dir)
    digest = digester(cache)
    for name in names:
        for component in _candidates(name):
            module = _module(component)
            found = module.find(data_dir, name, digest)
            if found is None and download:
                found = getattr(module, "PUBLISHED", None)
            if found is not None:
                settings = _settings(module, name, wish.settings)
                return Source(
                    name=name,
                    component=component,
                    settings=settings.model_dump(mode="json"),
                    images_per_class=wish.images_per_class,
                    test_images_per_class=wish.test_images_per_class,
                    checksum=found.checksum,
                    size=found.size,
                    stand_in=module.STAND_IN,
                    files=found.files,
                )
    raise UserError(_missing(names, data_dir, download=download))


def key(source: Source) -> str:
    """Return the name of the prepared files: NAME, or NAME-xxxxxxxx for what is not the default."""
    defaults = _module(source.component).Settings().model_dump(mode="json")
    changed: dict[str, Any] = {
        name: value for name, value in source.settings.items() if value != defaults.get(name)
    }
    counts = {name: getattr(source, name) for name in COUNTS if getattr(source, name) is not None}
    if not changed and not counts:
        return source.name
    text = json.dumps({"settings": changed, **counts}, sort_keys=True)
    return f"{source.name}-{sha256(text.encode()).hexdigest()[:8]}"


def to_json(source: Source) -> str:
    """Return what identifies the source as canonical JSON: the rule's parameter, without paths."""
    facts = {name: value for name, value in vars(source).items() if name != "files"}
    return json.dumps(facts, sort_keys=True)


def from_json(text: str) -> Source:
    """Return the source that ``to_json`` described."""
    try:
        return Source(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"--source: not the description of a data set: {error}") from error


def load(source: Source, data_dir: Path, *, download: bool = False) -> Dataset:
    """Read the data set, downloading it where that is allowed and needed.

    Nothing is written into ``data_dir`` except by a download. Raises UserError for files that
    are missing, corrupt, or not those that the source was resolved to.
    """
    module = _module(source.component)
    found = module.find(data_dir, source.name, digester(None))
    if found is None and download and hasattr(module, "download"):
        module.download(data_dir)
        found = module.find(data_dir, source.name, digester(None))
    if found is None:
        raise UserError(_missing([source.name], data_dir, download=download))
    if found.checksum != source.checksum:
        raise UserError(
            f"data set {source.name} in {data_dir} is not the one this job was planned with "
            f"(checksum {found.checksum[:12]}, planned {source.checksum[:12]}); start the "
            "workflow again, which plans with the files as they are now"
        )
    settings = _settings(module, source.name, source.settings)
    dataset = module.load(data_dir, source.name, settings)
    dataset.source.update(json.loads(to_json(source)))
    return first_per_class(
        dataset, train=source.images_per_class, test=source.test_images_per_class
    )


def available() -> list[str]:
    """Return the names of the data sets that have a component."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(data.__path__)
        if not module.name.startswith("_")
    )


def _reference(reference: str | Sequence[str] | Mapping[str, Any]) -> Reference:
    fields = reference if isinstance(reference, Mapping) else {"any_of": reference}
    try:
        return Reference(**fields)
    except ValidationError as error:
        raise UserError(
            f"data set: {_explain(error)}; allowed are a name, a list of names, or a mapping "
            f"with {', '.join(Reference.model_fields)}"
        ) from error


def _settings(module: ModuleType, name: str, settings: Mapping[str, Any]) -> Settings:
    try:
        return module.Settings(**settings)
    except ValidationError as error:
        allowed = ", ".join(module.Settings.model_fields) or "none"
        raise UserError(
            f"data set {name}: settings.{_explain(error)}; its settings: {allowed}"
        ) from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = key_path(first["loc"])
    return f"{place}: found {shown(first['input'])}: {first['msg']}"


def _candidates(name: str) -> tuple[str, ...]:
    if not NAME.fullmatch(name):
        raise UserError(
            f"data set {shown(name)}: a name is letters, digits and . _ ~ - (no path); the place "
            "of the files is data_dir"
        )
    component = name.replace("-", "_")
    return (component,) if component in available() else USERS


def _module(component: str) -> ModuleType:
    if component not in USERS and component not in available():
        raise UserError(f"data set {shown(component)}: no such component; there are {available()}")
    return importlib.import_module(f"forgetting.data.{component}")


def _missing(names: Sequence[str], data_dir: Path, *, download: bool) -> str:
    lines = []
    for name in names[:EXPLAINED]:
        modules = [_module(component) for component in _candidates(name)]
        lines.append(f"data set {name} is not in {data_dir}. Put there:")
        for number, module in enumerate(modules):
            wanted = module.wanted(data_dir, name)
            lines += [f"  or {wanted[0]}" if number else f"  {wanted[0]}"]
            lines += [f"  {line}" for line in wanted[1:]]
        if any(hasattr(module, "download") for module in modules) and not download:
            lines.append("or let it be downloaded: --config download=true")
        alike = difflib.get_close_matches(name, available(), n=1)
        if alike and alike[0] != name and modules[0].__name__.endswith(USERS[0]):
            lines.append(f"(did you mean {alike[0]}?)")
    if others := names[EXPLAINED:]:
        lines.append(f"nor is there one of {shown(list(others))}, which would do as well")
    lines.append(f"or name another place: --config data_dir=PATH (now {data_dir})")
    return "\n".join(lines)
