"""Whether one network has at last what another had of every task when it had just learned it.

With R[t, j] the accuracy on task j after task t, of T tasks, the number is

    min_j ( R[T, j] of the one - R[j, j] of the other ),

on the task where the one falls short the most: not below 0 exactly when it has as much of each.
Where the one was trained on all tasks together, the number says whether what the other lost in turn
could have been kept.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import Tables, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Whose accuracies."""

    table: Literal["accuracy"] = "accuracy"
    """The table it is read from."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """What both have in common: column -> wanted value or values."""
    of: str
    """The strategy whose last accuracies they are."""
    minus: str
    """The strategy whose accuracies right after each task are taken away."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The smallest difference of each seed; NaN for a seed that lacks a task."""
    name, where = settings.table, settings.where
    last = select(tables, name, {**where, "strategy": settings.of, "after_task": "last"})
    own = select(tables, name, {**where, "strategy": settings.minus})
    own = own[own["after_task"] == own["task"]]
    for rows in (last, own):
        one_per_seed(rows, "value", over=["task"])  # refuses more than one row each
    at_last, when_learned = (
        rows.pivot(index="seed", columns="task", values="value") for rows in (last, own)
    )
    return at_last.sub(when_learned).astype(float).min(axis=1, skipna=False)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where, {"strategy": settings.of}, {"strategy": settings.minus})
