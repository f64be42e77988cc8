"""Runs that continue others, from several moments of them: rows of the table ``continued``."""

from typing import Any

import pandas as pd

from forgetting.evidence._rows import Where
from forgetting.tables import GROUP

NAMES = (*GROUP, "started_strategy")
"""Columns that name runs here and in the table ``runs``."""


def selections(where: Where, *more: Where) -> list[dict[str, Any]]:
    """Selections of runs: ``where`` joined with each of ``more``.

    An arm is many entries, one for each moment, and not the same ones in every preset;
    ``started_strategy`` names the run that all of them continue.
    """
    return [
        {column: value for column, value in {**where, **extra}.items() if column in NAMES}
        for extra in (more or ({},))
    ]


def at_moment(values: pd.DataFrame, moment: str | float) -> pd.Series:
    """One number of each seed.

    Args:
        values: Shape (seeds, moments), the columns numbers in rising order.
        moment: ``first``, ``last``, ``every`` (the mean; NaN for a seed that lacks one), or a
            number: the moment nearest to it, of two the earlier.
    """
    if moment == "every":
        return values.mean(axis=1, skipna=False)
    ends = {"first": values.columns[0], "last": values.columns[-1]}
    if isinstance(moment, str):
        return values[ends[moment]]
    wanted = float(moment)
    return values[min(values.columns, key=lambda there: abs(float(there) - wanted))]
