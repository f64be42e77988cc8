"""Parts of messages to the user: what was found, shown safely, and what is allowed."""

import difflib
from collections.abc import Iterable

LONGEST = 200
"""Characters of what was found; a message is for reading."""


def cut(text: str) -> str:
    """Return a text without what is beyond the longest that is shown."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def shown(value: object) -> str:
    """Return a value as Python writes it, cut where it is long."""
    return cut(repr(value))


def quoted(name: object) -> str:
    """Return "name", or as Python writes it where it is long or would disturb a terminal."""
    text = str(name)
    return f'"{text}"' if text.isprintable() and len(text) <= LONGEST else shown(name)


def key_path(key: Iterable[object]) -> str:
    """Return "key.of.key"; steps that would disturb a terminal as Python writes them."""
    return ".".join(map(_step, key))


def _step(step: object) -> str:
    text = str(step)
    plain = text.isprintable() and text == text.strip() and 0 < len(text) <= LONGEST
    return text if plain else shown(step)


def allowed(found: object, known: Iterable[object]) -> str:
    """Return "allowed: a, b" with a suggestion when something close to ``found`` is known."""
    options = [str(option) for option in known]
    text = f"allowed: {', '.join(options)}" if options else "nothing is allowed here"
    lowered = {option.lower().replace("-", "_"): option for option in options}
    wanted = str(found)[:LONGEST].lower().replace("-", "_")
    close = difflib.get_close_matches(wanted, lowered, n=1, cutoff=0.6)
    return f'{text}. Did you mean "{lowered[close[0]]}"?' if close else text
