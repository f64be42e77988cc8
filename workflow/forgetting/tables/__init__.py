"""Tidy tables over all runs of a study: what tells their rows apart, and how they are kept.

Every table is a pure function of run folders (:mod:`.of_runs`), of measure files
(:mod:`.of_measures`) or of other tables (:mod:`.derived`); its name is the function's name, and
the parameters' names are the tables it is derived from. The identity of a row is (benchmark,
architecture, strategy, seed). A table never invents a row: a seed that diverged has no rows after
its divergence, the scores that would need them are NaN, and `summary` counts it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forgetting.errors import UserError

ID = ["benchmark", "architecture", "strategy", "seed"]
GROUP = ID[:3]
TEXT = [
    *GROUP,
    "metric",
    "estimator",
    "layer",
    "statistic",
    "matrix",
    "pack",
    "status",
    "datasets",
    "fingerprint",
    "commit",
    "output",
    "condition",
    "direction",
    "inputs",
    "layout",
    "moment",
    "split",
    "direction_x",
    "direction_y",
    "mode",
    "arm",
    "started_strategy",
]
"""Columns of text, also where all of it looks like numbers."""
MEASURED = [
    "task",
    "epoch",
    "of_task",
    "output",
    "matrix",
    "depth",
    "layer",
    "condition",
    "k",
    "direction",
    "stages_reset",
    "moment",
    "mode",
    "split",
    "steps",
    "eps",
    "probe",
    "index",
    "direction_x",
    "direction_y",
    "path_task",
    "path_epoch",
    "x",
    "y",
    "statistic",
]
"""What tells the rows of a measure apart within a run, in the order of the rows."""
WHOLE = ["diverged_task", "diverged_step", "started_task"]
"""Columns of whole numbers that may be empty."""


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV: one header line, ten significant digits, empty where undefined."""
    table.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read a table; only an empty field is undefined, so an entry may be called ``none``."""
    types: dict[str, Any] = {**dict.fromkeys(TEXT, str), **dict.fromkeys(WHOLE, "Int64")}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])


def with_id(part: pd.DataFrame, **names: str) -> pd.DataFrame:
    """Rows of one run with the names of its entries, the row's identity first."""
    rest = [column for column in part.columns if column not in ID]
    return part.assign(**names)[[*ID, *rest]]


def joined(parts: Sequence[pd.DataFrame], *, keys: Sequence[str], name: str) -> pd.DataFrame:
    """One table with its rows in a fixed order.

    Args:
        parts: Its rows.
        keys: The columns that tell the rows of a run and seed apart.
        name: The table's, for the message.

    Raises:
        UserError: Two rows have the same identity and keys.
    """
    table = pd.concat(parts, ignore_index=True)
    twice = table.duplicated([*ID, *keys])
    if twice.any():
        found = ", ".join(f"{key}={table.loc[twice, key].iloc[0]}" for key in [*ID, *keys])
        raise UserError(
            f"table {name}: two rows for {found}. A seed belongs to one pack: "
            "remove the run folder that the study's seeds no longer name."
        )
    return table.sort_values([*ID, *keys], kind="stable", ignore_index=True, key=_in_time)


def _in_time(column: pd.Series) -> pd.Series:
    """Epoch 0 is the end of a task: it comes after the epochs within."""
    ends = column.name in ("epoch", "path_epoch")
    return column.where(~(column <= 0), np.inf) if ends else column
