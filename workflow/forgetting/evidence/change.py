"""How much a quantity changes between two tasks of a run."""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._rows import Tables, known, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which quantity, from when to when."""

    table: str
    """Name of the table, without ``.csv``."""
    column: str = "value"
    """The column that holds the quantity."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values."""
    time: str = "task"
    """The column that counts tasks (0 = before training)."""
    start: int | Literal["last", "peak"] = 0
    """Task to compare with; ``peak`` is the run's largest value, ``last`` its last task."""
    end: int | Literal["last", "peak"] = "last"
    """Task that is compared."""
    since: int = 0
    """The first task that counts: with 1 the network before training is no peak."""
    relative: bool = True
    """Whether the change is divided by the value at the start."""
    over: tuple[str, ...] = ()
    """Columns (such as ``layer``) whose changes are taken apart and then combined per seed."""
    combine: Literal["mean", "min", "max"] = "mean"
    """How they are combined."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """(end - start) / start, or end - start, of each row's run; NaN unless the last task is there.

    NaN as well for a relative change from 0.

    With ``over`` the change is computed for each of its values and then combined within the seed.
    """
    rows = select(tables, settings.table, settings.where)
    known(rows, settings.table, settings.time, settings.column, *settings.over)
    rows = rows[rows[settings.time] >= settings.since]
    groups = ["seed", *settings.over]

    def at(moment: int | str) -> pd.DataFrame:
        if moment == "peak":
            return rows.groupby(groups)[settings.column].max().reset_index()
        wanted = {**settings.where, settings.time: moment}
        return select(tables, settings.table, wanted)

    # A run that stopped early has no last task; its peak so far is not the run's peak.
    points = at("last")[groups]
    for name, moment in (("start", settings.start), ("end", settings.end)):
        found = at(moment)
        one_per_seed(found, settings.column, over=settings.over)  # refuses more than one row each
        value = found[[*groups, settings.column]].rename(columns={settings.column: name})
        points = points.merge(value, on=groups, how="left")
    start, end = points["start"], points["end"]
    scale = start.abs().where(start != 0) if settings.relative else 1.0
    points["change"] = (end - start) / scale
    seeds = one_per_seed(points, "change", over=settings.over, combine=settings.combine)
    return seeds.reindex(sorted(rows["seed"].unique()))


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)
