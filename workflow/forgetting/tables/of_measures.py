"""Tables of what was measured of runs: a measure's numbers, and the eigenvalues apart."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from forgetting import parquet
from forgetting.tables import ID, MEASURED, joined, with_id
from forgetting.tables.ranks import shares_of_peak

# Of every Hessian thousands, and a table of their own.
EIGENVALUES = ["ritz_value", "ritz_weight", "eigenvalue"]


def measure(paths: Sequence[Path]) -> pd.DataFrame:
    """A measure's rows over all runs; their path names the entries they belong to.

    Single eigenvalues are left to table `spectra`. Beside every effective rank stands its share of
    the peak (`ranks.shares_of_peak`).
    """
    parts = [part[~part["statistic"].isin(EIGENVALUES)] for part in _measured(paths)]
    found = set().union(*(part.columns for part in parts))
    keys = [key for key in MEASURED if key in found]
    table = joined(parts, keys=keys, name="measure")
    shares = shares_of_peak(table)
    return joined([table, shares], keys=keys, name="measure") if len(shares) else table


def spectra(paths: Sequence[Path]) -> pd.DataFrame:
    """The eigenvalues, Ritz values and their weights that measure ``hessian`` found."""
    parts = [part[part["statistic"].isin(EIGENVALUES)] for part in _measured(paths)]
    keys = ["task", "moment", "split", "steps", "probe", "index", "statistic"]
    return joined(parts, keys=keys, name="spectra")[[*ID, *keys, "value", "dim"]]


def _measured(paths: Sequence[Path]) -> list[pd.DataFrame]:
    parts = []
    for path in paths:
        benchmark, architecture, strategy = path.parts[-4:-1]
        names = {"benchmark": benchmark, "architecture": architecture, "strategy": strategy}
        parts.append(with_id(parquet.read(path).to_pandas(use_threads=False), **names))
    return parts
