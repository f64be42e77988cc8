"""A paired difference: one number minus another of the same seed.

Strategies and architectures share the seed's task order and data, so the difference within a
seed is what carries the comparison. With a ``baseline`` it is a difference of differences: of
changes since a task, or of effects of a strategy. The numbers may be shares: of another column
(``per``), or of what random subspaces leave (``chance``).
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import (
    Tables,
    above_chance,
    known,
    one_per_seed,
    select,
    touched,
)
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which two numbers."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the numbers."""
    per: str = ""
    """Column that the numbers are first divided by, such as ``learning_accuracy``."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both have in common: column -> wanted value or values."""
    of: dict[str, str | int | float | bool | list[str | int | float]]
    """What marks the first number, such as ``{strategy: experience_replay}``."""
    minus: dict[str, str | int | float | bool | list[str | int | float]]
    """What marks the number taken away, such as ``{strategy: sgd}``."""
    baseline: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the number that is taken away from each side first: with ``{task: 1}`` changes
    since the first task are compared, with ``{strategy: sgd}`` effects of a strategy."""
    chance: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the rows that hold the value expected by chance, such as ``{statistic: chance}``.
    A number becomes (value - chance) / (1 - chance): 0 at chance, 1 at most."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a seed (such as ``layer``) before subtracting."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""
    combine_minus: Literal["mean", "min", "max"] | None = None
    """How those that are taken away are combined, if otherwise."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The number marked ``of`` minus the one marked ``minus``; NaN for a seed that lacks one."""
    first = _side(tables, settings, settings.of, settings.combine)
    second = settings.combine_minus or settings.combine
    return first.sub(_side(tables, settings, settings.minus, second))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    sides = [settings.of, settings.minus]
    if settings.baseline:
        sides += [{**side, **settings.baseline} for side in sides]
    return touched(settings.where, *sides)


def _side(tables: Tables, settings: Settings, side: dict[str, Any], combine: str) -> pd.Series:
    def number(marked: dict[str, Any]) -> pd.Series:
        rows = select(tables, settings.table, {**settings.where, **marked})
        if settings.per:
            known(rows, settings.table, settings.column, settings.per)
            rows = rows.assign(**{settings.column: rows[settings.column] / rows[settings.per]})
        return one_per_seed(rows, settings.column, over=settings.over, combine=combine)

    def corrected(marked: dict[str, Any]) -> pd.Series:
        value = number(marked)
        if not settings.chance:
            return value
        return above_chance(value, number({**marked, **settings.chance}))

    value = corrected(side)
    if not settings.baseline:
        return value
    return value.sub(corrected({**side, **settings.baseline}))
