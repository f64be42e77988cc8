"""What a number rests on, as plain data: the rows it was computed from, its definition, the runs.

``claims.json`` holds this for every claim; the scorecard shows it. Rows are shown as a reader
would lay them out: what all have in common is said once, and the seeds stand side by side.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pandas as pd
from pydantic import BaseModel

from forgetting.evidence._rows import Watched
from forgetting.tables import GROUP, ID, MEASURED

ROWS_SHOWN = 60
"""A longer slice is cut; the whole of it is in the table's file."""
KEYS = {*ID, *MEASURED}


def definition(module: ModuleType) -> str:
    """The statistic's definition: what its file says of it, then what one seed's number is."""
    texts = (module.__doc__, module.per_seed.__doc__)
    return "\n\n".join(inspect.cleandoc(text) for text in texts if text)


def slices(watched: Watched, settings: BaseModel) -> list[dict[str, Any]]:
    """The rows that were selected, table by table, without those of ``runs``."""
    words = set(_words(settings.model_dump()))
    return [
        {"table": name, **_slice(watched[name].loc[labels], words)}
        for name, labels in watched.seen.items()
        if name != "runs"
    ]


def runs(touched: pd.DataFrame) -> dict[str, list[int]]:
    """The paths of the runs behind a number, each with its seeds that count.

    ``touched`` are their rows of the table ``runs``.
    """
    found: dict[str, set[int]] = {}
    for *names, pack, seed in touched[[*GROUP, "pack", "seed"]].itertuples(index=False, name=None):
        found.setdefault(f"{'/'.join(names)}/seeds{pack}", set()).add(int(seed))
    return {path: sorted(seeds) for path, seeds in sorted(found.items())}


def number(value: float | None) -> float | None:
    """A number as JSON has it: None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def _slice(rows: pd.DataFrame, words: set[str]) -> dict[str, Any]:
    """Rows with what is common to all said once, and a column for each seed."""
    keys = [c for c in map(str, rows) if c != "seed" and (c in KEYS or rows[c].dtype.kind != "f")]
    measured = [c for c in map(str, rows) if c not in keys and c != "seed"]
    named = [c for c in measured if c in words] or [c for c in measured if c == "value"] or measured
    varying = [c for c in keys if rows[c].nunique(dropna=False) > 1]
    seeds = sorted(int(seed) for seed in rows["seed"].unique())
    lines: dict[tuple[str, ...], dict[tuple[str, int], str]] = {}
    for values in rows[["seed", *varying, *named]].itertuples(index=False, name=None):
        line = tuple(map(_text, values[1 : 1 + len(varying)]))
        numbers = zip(named, values[1 + len(varying) :], strict=True)
        cells = lines.setdefault(line, {})
        if len(lines) <= ROWS_SHOWN:
            cells |= {(c, int(values[0])): _text(value) for c, value in numbers}
    columns = [(c, seed) for c in named for seed in seeds]
    several = len(named) > 1
    return {
        "rows": len(rows),
        "lines": len(lines),
        "same": {c: _text(rows[c].iloc[0]) for c in keys if c not in varying},
        "columns": [*varying, *(f"{c}, seed {s}" if several else f"seed {s}" for c, s in columns)],
        "value": "" if several else "".join(named),
        "keys": len(varying),
        "cells": [
            [*line, *(cells.get(column, "") for column in columns)]
            for line, cells in list(lines.items())[:ROWS_SHOWN]
        ],
    }


def _words(part: Any) -> Iterator[str]:
    """All texts among some settings; a column that is meant is one of them."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _words(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _words(value)


def _text(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
