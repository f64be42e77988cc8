"""What runs reach that continue another from several moments of its training.

The less a network still learns, the later the moment at which it goes on with the next task: after
a warm-up, say, whose length is the ladder. An arm is the runs of one kind, one for each moment.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._ladder import along_ladder
from forgetting.evidence._moments import at_moment, selections
from forgetting.evidence._points import yardstick
from forgetting.evidence._rows import NoRows, Tables, known, select
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which number of which arm, from which moment."""

    table: Literal["continued"] = "continued"
    """The table it is read from."""
    column: str = "accuracy"
    """The column that holds the number."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both sides have in common: column -> wanted value or values."""
    of: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the arm, such as ``{arm: shrink-perturb}``."""
    at: Literal["first", "last", "every"] | float = "every"
    """The moment: of those that both sides have the first, the last, the mean over every one, or
    the one nearest to a number of epochs."""
    minus: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the arm that is taken away: none where there is no ``minus_at`` either, with it
    the same arm when left out."""
    minus_at: Literal["first", "last", "every"] | float | None = None
    """Its moment, where it is another."""
    against: str = ""
    """Strategy that is trained on the next task alone: its performance there is taken away."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The number of each seed, or the difference; NaN for a seed that lacks a moment it needs."""
    first = _by_epoch(tables, settings, settings.of)
    if not settings.minus and settings.minus_at is None:
        return at_moment(first, settings.at)
    second = _by_epoch(tables, settings, settings.minus or settings.of)
    shared = [epoch for epoch in first.columns if epoch in second.columns]
    if not shared:
        raise NoRows(f"{settings.table}.csv: the two arms have no moment in common")
    elsewhere = settings.at if settings.minus_at is None else settings.minus_at
    return at_moment(first[shared], settings.at).sub(at_moment(second[shared], elsewhere))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    found = selections(settings.where, settings.of, *([settings.minus] if settings.minus else []))
    if not settings.against:
        return found
    places = {key: value for key, value in settings.where.items() if key == "benchmark"}
    return [*found, {**places, "strategy": settings.against}]


def _by_epoch(tables: Tables, settings: Settings, marked: dict[str, Any]) -> pd.DataFrame:
    where = {**settings.where, **marked}
    rows = select(tables, settings.table, where)
    known(rows, settings.table, settings.column)
    if settings.against:
        alone = yardstick(tables, rows.assign(task=rows["task"] + 1), settings.against)
        rows = rows.assign(**{settings.column: rows[settings.column] - alone})
    return along_ladder(
        {**tables, settings.table: rows},
        settings.table,
        where,
        column=settings.column,
        along="epoch",
    )
