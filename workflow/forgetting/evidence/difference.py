"""A paired difference: one number minus another of the same seed.

Strategies and architectures share the seed's task order and data, so the difference within a
seed is what carries the comparison. With a ``baseline`` it is a difference of differences: of
changes since a task, or of effects of a strategy.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import Tables, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which two numbers."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the numbers."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both have in common: column -> wanted value or values."""
    of: dict[str, str | int | float | bool | list[str | int | float]]
    """What marks the first number, such as ``{strategy: experience_replay}``."""
    minus: dict[str, str | int | float | bool | list[str | int | float]]
    """What marks the number taken away, such as ``{strategy: sgd}``."""
    baseline: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """What marks the number that is taken away from each side first: with ``{task: 1}`` changes
    since the first task are compared, with ``{strategy: sgd}`` effects of a strategy."""
    over: tuple[str, ...] = ()
    """Columns whose rows are combined within a seed (such as ``layer``) before subtracting."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The number marked ``of`` minus the one marked ``minus``; NaN for a seed that lacks one."""
    first, second = (_side(tables, settings, side) for side in (settings.of, settings.minus))
    return first.sub(second)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    sides = [settings.of, settings.minus]
    if settings.baseline:
        sides += [{**side, **settings.baseline} for side in sides]
    return touched(settings.where, *sides)


def _side(tables: Tables, settings: Settings, side: dict[str, Any]) -> pd.Series:
    def number(marked: dict[str, Any]) -> pd.Series:
        rows = select(tables, settings.table, {**settings.where, **marked})
        return one_per_seed(rows, settings.column, over=settings.over, combine=settings.combine)

    if not settings.baseline:
        return number(side)
    return number(side).sub(number({**side, **settings.baseline}))
