"""Entries: the names in a study, each a component with checked settings.

The settings of an entry are completed with the component's defaults, so what a job receives is
all that it uses, in one canonical form.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from forgetting import components
from forgetting.documents import Document, Key, merge
from forgetting.messages import shown
from forgetting.naming import is_name
from forgetting.settings import Settings
from forgetting.study import Entry, Part, Start, Strategy, base_name

KINDS = ("benchmarks", "architectures", "strategies", "measures", "figures")
START = "starts_from."
Classes = Callable[[str, Key], type[Settings]]


@dataclass(frozen=True)
class Resolved:
    """An entry, or one rung of its ladder."""

    name: str
    """Name in paths."""
    parts: tuple[tuple[str, Mapping[str, Any]], ...]
    """Component and complete settings; several for a composition."""
    entry: Entry
    """What the study says."""
    key: Key
    """Where it says so."""

    @property
    def component(self) -> str:
        """The component of an entry that is not a composition."""
        return self.parts[0][0]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of an entry that is not a composition."""
        return self.parts[0][1]


def canonical(value: Any) -> str:
    """Return JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def resolve(
    kind: str, entries: Mapping[str, Entry], document: Document, *, study: str, at: Key = ()
) -> dict[str, tuple[Resolved, ...]]:
    """Return the rungs of every entry of one section, by the entry's name.

    ``at`` is where the section stands, if not at the top.

    Raises:
        UserError: A component does not exist, or a setting is wrong.
    """
    classes = (
        partial(_figure_class, document, study)
        if kind == "figures"
        else partial(_component_class, document, kind)
    )
    found = {}
    for name, entry in entries.items():
        found[name] = tuple(
            Resolved(
                rung,
                tuple(_parts(rung, own, settings, document, (*at, kind, name), classes)),
                own,
                (*at, kind, name),
            )
            for rung, varied in rungs(name, entry, document, (*at, kind, name))
            for own, settings in [_started(entry, varied, document, (*at, kind, name))]
        )
    return found


def pick(
    found: Mapping[str, Sequence[Resolved]], names: Sequence[str], document: Document, key: Key
) -> list[Resolved]:
    """Return the entries that a list names; an entry's name stands for all its rungs.

    Raises:
        UserError: A name is not an entry.
    """
    single = {rung.name: [rung] for rungs in found.values() for rung in rungs}
    options = {**single, **found}
    picked: list[Resolved] = []
    for position, name in enumerate(names):
        document.choose((*key, position), name, options, what=f"an entry under {key[-1]}")
        picked += options[name]
    return picked


def changed(
    strategy: Resolved, settings: Mapping[str, Any], document: Document, key: Key
) -> Resolved:
    """Return a strategy with some settings otherwise: its own, or of a composition by component.

    Raises:
        UserError: A component or a setting is wrong.
    """
    alone = len(strategy.parts) == 1
    by_component = {strategy.component: settings} if alone and settings else settings
    parts = dict(strategy.parts)
    for component, others in by_component.items():
        place = key if alone else (*key, component)
        document.choose(place, component, parts, what=f"a part of {strategy.name}")
        model = _component_class(document, "strategies", component, place)
        checked = document.check(model, merge(parts[component], others), place)
        parts[component] = checked.model_dump(mode="json")
    return replace(strategy, parts=tuple(parts.items()))


def rungs(
    name: str, entry: Entry, document: Document, key: Key
) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, ladder settings) of each rung; one without a ladder.

    Raises:
        UserError: The ladder varies more than one setting, or its values make no distinct names.
    """
    if entry.ladder is None:
        return [(name, {})]
    if len(entry.ladder) != 1:
        raise document.error(
            (*key, "ladder"), f"found {len(entry.ladder)} settings; a ladder varies exactly one"
        )
    ((setting, values),) = entry.ladder.items()
    found = []
    for value in values:
        text = str(value).lower()
        rung = f"{name}~{text}"
        if not is_name(rung):
            raise document.error(
                (*key, "ladder", setting),
                f"found {shown(value)}, which makes no path; name the rungs as entries of their "
                "own",
            )
        found.append((rung, {setting: value}))
    if len({rung for rung, _ in found}) < len(values) or not values:
        raise document.error(
            (*key, "ladder", setting), f"found {shown(values)}; list distinct values"
        )
    return found


def _started(
    entry: Entry, varied: Mapping[str, Any], document: Document, key: Key
) -> tuple[Entry, Mapping[str, Any]]:
    """Return a rung's entry, and what its ladder leaves to settings: not where it starts from."""
    of_start = {k.removeprefix(START): v for k, v in varied.items() if k.startswith(START)}
    if not of_start or not isinstance(entry, Strategy):
        return entry, varied
    said = entry.starts_from.model_dump(exclude_none=True) if entry.starts_from else {}
    start = document.check(Start, {**said, **of_start}, (*key, "starts_from"))
    return entry.model_copy(update={"starts_from": start}), {}


def _parts(
    rung: str,
    entry: Entry,
    ladder: Mapping[str, Any],
    document: Document,
    key: Key,
    classes: Classes,
) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(entry, Strategy) and entry.parts is not None:
        if entry.component is not None or entry.settings:
            raise document.error(key, "parts replaces component and settings: give one of them")
        where = [((*key, "parts", i), part) for i, part in enumerate(entry.parts)]
        for setting in ladder:
            if setting.partition(".")[0] not in [part.component for _, part in where]:
                raise document.error(
                    (*key, "ladder", setting),
                    "a ladder over a composition is called component.setting",
                )
    else:
        where = [(key, entry)]
    parts = []
    for at, part in where:
        component = base_name(rung) if part.component is None else part.component
        if part is not entry and part.component is None:
            raise document.error(at, "component is missing")
        varied = {
            setting.removeprefix(f"{component}."): value
            for setting, value in ladder.items()
            if part is entry or setting.startswith(f"{component}.")
        }
        parts.append((component, _settings(component, part, varied, document, at, classes)))
    return parts


def _settings(
    component: str,
    part: Part,
    varied: Mapping[str, Any],
    document: Document,
    key: Key,
    classes: Classes,
) -> Mapping[str, Any]:
    model = classes(component, key)
    place = (*key, "ladder") if varied and not part.settings else (*key, "settings")
    checked = document.check(model, {**part.settings, **varied}, place)
    return checked.model_dump(mode="json")


def _component_class(document: Document, kind: str, component: str, key: Key) -> type[Settings]:
    known = components.names(kind)
    where = (*key, "component")
    document.choose(where, component, known, what=f"a file of workflow/forgetting/{kind}")
    return components.settings_class(kind, component)


def _figure_class(document: Document, study: str, component: str, key: Key) -> type[Settings]:
    known = components.figures(study)
    what = f"a function of workflow/forgetting/figures/{base_name(study)}.py"
    document.choose((*key, "component"), component, known, what=what)
    return known[component]
