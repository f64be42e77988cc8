"""Which of two series of a run falls first: a quantity (such as a rank), or performance.

Both are looked at on the tasks for which the quantity is there, so neither has the finer clock.
With f_t = first value - value on task t, a series has fallen on the first task with

    f_t >= share * max_u f_u

that is, at the same part of its own fall, whatever its unit. The number is the quantity's task
less performance's, over the number of tasks: below 0 where the quantity fell first, 0 where both
did between the same two tasks looked at.

A performance that never falls has nothing before it: no value. A quantity that never falls while
performance does is placed after the end, at task T + 1: it counts against falling first.
"""

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from forgetting.evidence._points import by_seed, with_yardstick
from forgetting.evidence._rows import Tables, known, one_per_seed, select, without
from forgetting.evidence._series import performance, tasks
from forgetting.settings import Settings as Base
from forgetting.tables import GROUP


class Settings(Base):
    """Which quantity of which runs, and what a fall is."""

    table: str
    """Name of the table with the quantity, without ``.csv``."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values; those that name runs are performance's as well."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{task: [1]}``."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Part of its fall after which a series counts as fallen."""
    least: Annotated[float, Field(gt=0)] = 0.1
    """Part of its first value that the quantity must lose to have a fall."""
    least_performance: Annotated[float, Field(gt=0)] = 0.01
    """How much performance must lose to have a fall."""
    against: str = "reset"
    """Strategy whose performance on the same task is taken away first; none when empty."""
    window: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the tasks that performance's running mean reaches over."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """(Task of the quantity's fall - task of performance's) / tasks of each seed.

    NaN for a seed whose performance never falls, or that has fewer tasks than the fullest.
    """
    left = without(tables, settings.table, settings.leave_out)
    rows = select(left, settings.table, settings.where)
    known(rows, settings.table, settings.column)
    one_per_seed(rows, settings.column, over=["task"])  # refuses more than one row each
    about = {key: settings.where[key] for key in GROUP if key in settings.where}
    smooth = performance(tables, about, against=settings.against, window=settings.window)
    rows = rows.assign(
        performance=[
            smooth.loc[seed, task] if seed in smooth.index else np.nan
            for seed, task in zip(rows["seed"], rows["task"], strict=True)
        ]
    )
    count = tasks(tables, rows)
    found = {
        seed: np.nan if of is None else _lead(of.sort_values("task"), settings, count)
        for seed, of in by_seed(rows, settings.column, "performance").items()
    }
    return pd.Series(found, dtype=float)


def step(tables: Tables, settings: Settings) -> float:
    """Distance between values: from one task that is looked at to the next, over their number."""
    left = without(tables, settings.table, settings.leave_out)
    rows = select(left, settings.table, settings.where)
    at = np.unique(rows["task"])
    return float(np.diff(at).max(initial=0)) / tasks(tables, rows)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return with_yardstick(settings.where, settings.against)


def _lead(rows: pd.DataFrame, settings: Settings, count: int) -> float:
    quantity = rows[settings.column].to_numpy(float)
    level = rows["performance"].to_numpy(float)
    at = rows["task"].to_numpy()
    later = _fall(level, at, settings.share, settings.least_performance)
    if later is None:
        return float("nan")
    earlier = _fall(quantity, at, settings.share, settings.least * abs(quantity[0]))
    return ((count + 1 if earlier is None else earlier) - later) / count


def _fall(values: np.ndarray, at: np.ndarray, share: float, least: float) -> int | None:
    """Task on which a series has lost a share of all that it loses; None if that is too little."""
    lost = values[0] - values
    if lost.max() < least:
        return None
    return int(at[np.argmax(lost >= share * lost.max())])
