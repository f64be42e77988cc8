"""Many paths in few characters: braces that bash expands again, ``runs/{a,b}/{0,1}.json``.

A job's whole command is one argument of ``bash -c``, which Linux limits to 128 kB; what bash makes
of it are many arguments, which may be 2 MB together. The paths of runs are products of few names.
"""

from collections.abc import Iterable


def braced(paths: Iterable[str]) -> str:
    """Return a text that bash expands to these files, each once; files below one folder follow.

    The parts of the paths are names (:mod:`forgetting.naming`): nothing in them is read by a shell.
    """
    tails: dict[tuple[str, str], list[str]] = {}
    for path in dict.fromkeys(paths):
        head, slash, tail = path.partition("/")
        tails.setdefault((head, slash), []).append(tail)
    heads: dict[str, list[str]] = {}
    for (head, slash), rest in tails.items():
        heads.setdefault(slash and f"/{braced(rest)}", []).append(head)
    return _one_of([_one_of(same) + tail for tail, same in heads.items()])


def _one_of(texts: list[str]) -> str:
    """A single text in braces is left as it is by bash, braces included."""
    return texts[0] if len(texts) == 1 else f"{{{','.join(texts)}}}" if texts else ""
