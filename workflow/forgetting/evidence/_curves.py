"""Two quantities of each seed as curves over its tasks, or over moments, and how they correlate.

Curves that rise or fall correlate whatever they are about. Two ways to take the trend out:

    line          what is left of both curves after a line along the ladder (least squares)
    differences   the change of either from each point to the next

A line leaves the bends that two saturating curves have in common; differences leave no slow trend
of any form, and the most noise.

Correlating curves that were first averaged over seeds answers another question than the mean of the
seeds' correlations: averaging takes noise out, so that |r| grows with the number of seeds. The
jackknife gives that number one value for each seed. With z = artanh(r) of the mean curves of all n
seeds and z_i without seed i, seed i's pseudo-value is n z - (n - 1) z_i (Tukey 1958). Their mean is
z without its bias of order 1 / n (Quenouille 1956), which is how the noise of n seeds enters: the
correlation of the curves that infinitely many seeds would have, whatever n is.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forgetting import statistics
from forgetting.errors import UserError
from forgetting.evidence._rows import (
    NoRows,
    Tables,
    Where,
    known,
    one_per_seed,
    select,
)
from forgetting.evidence._settings import Other
from forgetting.tables import GROUP, ID

INSIDE = 1 - 1e-6
"""Correlations are held inside this, as in forgetting.statistics: artanh(1) is infinite."""


class Curves(NamedTuple):
    """Two quantities at the same points, both of shape (seeds, points)."""

    x: pd.DataFrame
    y: pd.DataFrame


def curves(
    tables: Tables,
    name: str,
    where: Where,
    *,
    x: str,
    other: Other,
    along: str,
    within: Mapping[str, tuple[float, float]] | None = None,
) -> Curves:
    """The points of every seed that has rows, in the order of ``along``; NaN where one is missing.

    Args:
        tables: All tables by name.
        name: The table of the first quantity.
        where: Rows wanted there; those that name runs are wanted of the other table as well.
        x: Its column.
        other: The second quantity; where it has a table of its own, one row there for each run and
            ``match``.
        along: Column of the first table that tells the points of a seed apart.
        within: Column of the first table -> lowest and highest number wanted.

    Raises:
        NotRun: A table is missing, or rows are.
        UserError: A column does not exist, or rows of a seed or partners occur twice.
    """
    rows = select(tables, name, where)
    known(rows, name, x, along, *(within or {}))
    for column, (low, high) in (within or {}).items():
        rows = rows[rows[column].between(low, high)]
        if rows.empty:
            raise NoRows(f"{name}.csv has no rows with {column} from {low:g} to {high:g}")
    one_per_seed(rows, x, over=[along])  # refuses more than one row each
    y = other.column
    if other.table:
        about = {column: where[column] for column in GROUP if column in where}
        partners = select(tables, other.table, {**about, **other.where})
        keys = [*ID, *other.match]
        known(rows, name, *keys)
        known(partners, other.table, y, *keys)
        if partners.duplicated(keys).any():
            raise UserError(
                f"claims: {other.table} has several rows for one {', '.join(keys)}; "
                "choose one by 'where'"
            )
        second = rows[keys].merge(partners[[*keys, y]], on=keys, how="left")[y]
        second = second.set_axis(rows.index)
    else:
        known(rows, name, y)
        second = rows[y]
    found = pd.DataFrame({"seed": rows["seed"], "along": rows[along], "x": rows[x], "y": second})
    pairs = found.dropna()
    seeds = sorted(rows["seed"].unique())
    wide = (pairs.pivot(index="seed", columns="along", values=column) for column in ("x", "y"))
    return Curves(*(values.reindex(seeds).astype(float) for values in wide))


def of_each(found: Curves, detrend: str) -> pd.Series:
    """The correlation of each seed's curves; NaN for a seed that lacks a point others have."""
    at = found.x.columns.to_numpy(float)
    values = {
        seed: correlation(found.x.loc[seed].to_numpy(), found.y.loc[seed].to_numpy(), at, detrend)
        for seed in found.x.index
    }
    return pd.Series(values, dtype=float)


def of_means(found: Curves, detrend: str) -> pd.Series:
    """The jackknife's value of each seed for the correlation of the mean curves, as tanh.

    Seeds that lack a point are NaN and in no mean; so is every seed where fewer than two are left.
    """
    whole = found.x.notna().all(axis=1)
    x, y = found.x[whole].to_numpy(), found.y[whole].to_numpy()
    at, count = found.x.columns.to_numpy(float), len(x)
    values = pd.Series(np.nan, index=found.x.index)
    if count < 2:
        return values

    def z(chosen: NDArray[np.bool_]) -> float:
        r = correlation(x[chosen].mean(axis=0), y[chosen].mean(axis=0), at, detrend)
        return float(np.arctanh(np.clip(r, -INSIDE, INSIDE)))

    everyone = z(np.ones(count, dtype=bool))
    without = np.array([z(np.arange(count) != seed) for seed in range(count)])
    values[whole] = np.tanh(count * everyone - (count - 1) * without)
    return values


def correlation(
    x: NDArray[np.float64], y: NDArray[np.float64], at: NDArray[np.float64], detrend: str
) -> float:
    """Pearson's correlation of two curves at the points ``at``, all of shape (points,).

    NaN where a point is, where one curve is constant, or where too few points are left.

    Args:
        x: First curve.
        y: Second curve.
        at: Their points, rising.
        detrend: ``none``, ``line`` or ``differences``.
    """
    if detrend == "line" and len(at) > 2:
        return statistics.partial_correlation(x, y, at[:, None])
    if detrend == "differences":
        x, y = np.diff(x), np.diff(y)
    return statistics.pearson(x, y)
