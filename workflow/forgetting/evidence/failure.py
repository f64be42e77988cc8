"""Whether runs that continue another from a moment of it failed: diverged, or are at chance.

A run that diverged before the moment has a row without a mode of batch normalisation, others one
for each mode that was measured; whatever there is counts, so ``where`` names no mode.
"""

from typing import Any, Literal

import pandas as pd

from forgetting.evidence._ladder import along_ladder
from forgetting.evidence._moments import at_moment, selections
from forgetting.evidence._rows import Tables, known, select
from forgetting.settings import Settings as Base

IS_SHARE = True
"""The mean over seeds is a share of them, with the binomial interval."""


class Settings(Base):
    """Which runs, from which moments."""

    table: Literal["continued"] = "continued"
    """The table it is read from."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values: one arm."""
    at: Literal["first", "last", "every"] | float = "last"
    """The moment: the first, the last, every one, or the one nearest to a number of epochs."""
    marks: tuple[str, ...] = ("diverged", "chance")
    """What ``status`` says of a run that failed."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """1 for a seed that failed at the moment and 0 for one that did not; of every one the share.

    The mean over seeds is the share of seeds. NaN for a seed without a row for the moment.
    """
    rows = select(tables, settings.table, settings.where)
    known(rows, settings.table, "status")
    rows = rows.assign(failed=rows["status"].isin(settings.marks).astype(float))
    one = rows.groupby(["strategy", "seed", "epoch"])["failed"].max().reset_index()
    values = along_ladder({settings.table: one}, settings.table, {}, column="failed", along="epoch")
    return at_moment(values, settings.at)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return selections(settings.where)
