"""When a strategy first does worse than another on the same task, as a share of the tasks.

Performance less the other's on the same task is smoothed by a centred running mean, so that one
hard draw is not taken for a loss; the number is t / T for the first task t of T on which what is
left lies below ``-by``. A strategy that never gets there has (T + 1) / T: above 1 exactly then.
With ``for_good`` it is the first task from which on all lie there: a single one may be noise's.
"""

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from forgetting.evidence._points import with_yardstick
from forgetting.evidence._rows import Tables, select
from forgetting.evidence._series import performance, tasks
from forgetting.settings import Settings as Base


class Settings(Base):
    """Whose performance, against whose."""

    table: Literal["performance"] = "performance"
    """The table it is read from."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value: one benchmark, architecture and strategy."""
    against: str = "reset"
    """The strategy it is compared with."""
    by: Annotated[float, Field(ge=0)] = 0.0
    """How far below counts."""
    for_good: bool = False
    """Whether it has to stay there to the last task."""
    window: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the tasks that the running mean reaches over."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """Share of the tasks at the first one below, (T + 1) / T without; NaN for a run with gaps."""
    left = performance(tables, settings.where, against=settings.against, window=settings.window)
    below = left.to_numpy() < -settings.by
    if settings.for_good:  # whether all from here on are below
        below = np.logical_and.accumulate(below[:, ::-1], axis=1)[:, ::-1]
    count = below.shape[1]
    first = np.where(below.any(axis=1), below.argmax(axis=1), count) + 1
    found = pd.Series(first / count, index=left.index)
    return found.where(left.notna().all(axis=1))


def step(tables: Tables, settings: Settings) -> float:
    """Distance between values: one task."""
    return 1 / tasks(tables, select(tables, settings.table, settings.where))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return with_yardstick(settings.where, settings.against)
