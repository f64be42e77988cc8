"""YAML as plain data: mappings with text as keys, lists, text, finite numbers, true, false, null.

Whatever else YAML can say is refused where it stands: tags (which make objects), keys that are no
text or occur twice, numbers that are not finite or too long for a table, and files whose aliases
(``*name``) blow them up. Dates are text.
"""

import math
from collections.abc import Iterator
from typing import Any

import yaml

from forgetting.messages import quoted, shown

DEEPEST = 40
"""Levels of mappings and lists; ours have 9."""
LARGEST = 100_000
"""Keys and values, every alias counted as often as it stands; ours have up to 7,000."""
LONG = f"found more than {LARGEST} values, each alias (*name) written out"
DEEP = f"found more than {DEEPEST} levels of mappings and lists"
TAG = "tag:yaml.org,2002:"
TEXT = f"{TAG}str"
MERGE = f"{TAG}merge"
WHOLE = 2**63
Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class NotPlain(yaml.MarkedYAMLError):
    """It is YAML, but says what plain data cannot."""

    def __init__(self, problem: str, at: Any) -> None:
        super().__init__(problem=problem, problem_mark=at)


class _Loader(Base):
    """Finds the nodes of a text."""


# A date is text, and so is "=".
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in (f"{TAG}timestamp", f"{TAG}value")]
    for first, pairs in Base.yaml_implicit_resolvers.items()
}


def load(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        yaml.YAMLError: It is no YAML, or ``NotPlain``; ``problem_mark`` says where.
    """
    aliases = _check_events(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if aliases:
            _measure(node, 0, {})
        return _value(loader, node)
    finally:
        loader.dispose()


def _check_events(text: str) -> bool:
    """Return whether there are aliases; refuse a text that is too deep or long.

    Before nodes are made of it: PyYAML makes them by recursion, in C, which a deep text crashes.
    """
    levels = 0
    aliases = False
    for number, event in enumerate(yaml.parse(text, Loader=Base)):
        if isinstance(event, yaml.CollectionStartEvent):
            levels += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            levels -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases = True
        if levels > DEEPEST or number > 2 * LARGEST:
            raise NotPlain(DEEP if levels > DEEPEST else LONG, event.start_mark)
    return aliases


def _wrong(node: yaml.Node, problem: str) -> NotPlain:
    return NotPlain(problem, node.start_mark)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from child if isinstance(child, tuple) else (child,)


def _measure(node: yaml.Node, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return number and levels of a node with all below it; refuse what is too large."""
    if id(node) not in known:
        if depth > DEEPEST:  # or an alias of what it is in
            raise _wrong(node, DEEP)
        below = [_measure(child, depth + 1, known) for child in _children(node)]
        known[id(node)] = (
            1 + sum(size for size, _ in below),
            1 + max((levels for _, levels in below), default=0),
        )
    size, levels = known[id(node)]
    if depth + levels > DEEPEST + 1:
        raise _wrong(node, DEEP)
    if size > LARGEST:
        raise _wrong(node, LONG)
    return size, levels


def _value(loader: Any, node: yaml.Node) -> Any:
    if node.tag == TEXT and isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.MappingNode) and node.tag == f"{TAG}map":
        return _mapping(loader, node)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{TAG}seq":
        return [_value(loader, child) for child in node.value]
    kind = node.tag.removeprefix(TAG)
    if isinstance(node, yaml.ScalarNode) and kind in ("null", "bool", "int", "float"):
        return _scalar(loader, node, kind)
    raise _wrong(
        node, f"found the tag {quoted(node.tag)}; allowed are text, numbers, lists and mappings"
    )


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, child in node.value:
        if key.tag == MERGE:
            merged |= _merged(loader, child)
            continue
        name = _value(loader, key)
        if not isinstance(name, str):
            raise _wrong(key, f"found the key {shown(name)}, which is no text; put it in quotes")
        if name in own:
            raise _wrong(key, f"the key {quoted(name)} occurs twice")
        own[name] = _value(loader, child)
    return {**merged, **own}


def _merged(loader: Any, node: yaml.Node) -> dict[str, Any]:
    """Return what ``<<: *name`` or ``<<: [*name, *other]`` stands for; the first one wins."""
    several = isinstance(node, yaml.SequenceNode)
    merged: dict[str, Any] = {}
    for part in reversed(node.value) if several else [node]:
        if not isinstance(part, yaml.MappingNode):
            raise _wrong(part, "found no mapping after <<; write <<: *NAME of a mapping")
        merged |= _value(loader, part)
    return merged


def _scalar(loader: Any, node: yaml.ScalarNode, kind: str) -> Any:
    try:
        value = getattr(loader, f"construct_yaml_{kind}")(node)
    except (ValueError, LookupError):  # such as !!int x, or more digits than Python reads
        raise _wrong(node, f"found {shown(node.value)}, which is no {kind}") from None
    if kind == "float" and not math.isfinite(value):
        raise _wrong(node, f"found {shown(node.value)}; a number must be finite")
    if kind == "int" and not -WHOLE <= value < WHOLE:
        raise _wrong(node, f"found {shown(node.value)}; a whole number has at most 18 digits")
    return value
