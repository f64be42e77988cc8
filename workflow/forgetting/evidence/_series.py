"""Series of a run over its tasks: smoothed, compared with a yardstick, and when they fall."""

import numpy as np
import pandas as pd

from forgetting.evidence._points import PERFORMANCE, yardstick
from forgetting.evidence._rows import Tables, Where, one_per_seed, select, table


def tasks(tables: Tables, rows: pd.DataFrame) -> int:
    """Number of tasks of the one benchmark of some rows."""
    lengths = table(tables, "runs").groupby("benchmark")["tasks"].max()
    return int(lengths[rows["benchmark"].unique()].max())


def performance(tables: Tables, where: Where, *, against: str, window: float) -> pd.DataFrame:
    """Performance less the yardstick's, smoothed: a row for each seed, a column for each task.

    The running mean is centred, reaches over ``window`` of the tasks, the odd number of them at or
    below that and at least 1 (no smoothing), and is cut at either end. NaN where a task within
    reach is missing.

    Args:
        tables: All tables by name.
        where: Rows wanted: one architecture and strategy.
        against: The yardstick's strategy; none when empty.
        window: Share of the tasks, between 0 and 1.

    Raises:
        NotRun: A table is missing, or rows are.
        UserError: The rows of a seed differ in what is not selected.
    """
    rows = select(tables, PERFORMANCE, where)
    one_per_seed(rows, "value", over=["task"])  # refuses more than one row each
    if against:
        rows = rows.assign(value=rows["value"] - yardstick(tables, rows, against))
    count = tasks(tables, rows)
    wide = rows.pivot(index="seed", columns="task", values="value")
    wide = wide.reindex(columns=range(1, count + 1))
    reach = max(int(round(window * count - 1, 9) // 2), 0)  # 0.05 * 60 is not quite 3
    values = wide.to_numpy(dtype=float)
    smooth = [
        values[:, max(task - reach, 0) : task + reach + 1].mean(axis=1) for task in range(count)
    ]
    return pd.DataFrame(np.transpose(smooth), index=wide.index, columns=wide.columns)
