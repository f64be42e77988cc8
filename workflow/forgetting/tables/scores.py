"""The scores of continual learning, from the accuracies of every task after every task."""

import numpy as np
import pandas as pd

from forgetting import statistics
from forgetting.tables import ID, joined

SCORES = [
    "average_accuracy",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "learning_accuracy",
]


def scores(accuracy: pd.DataFrame) -> pd.DataFrame:
    """The scalar scores after every task t >= 1, over the tasks and rows up to t.

    A score is NaN where accuracies that it needs were not taken: after divergence, for a run
    evaluated once at its end, for tasks not yet seen under ``evaluate: seen``.
    """
    lengths = accuracy.groupby("benchmark")["task"].max().to_dict()
    rows = []
    for key, cells in accuracy.groupby([*ID, "metric"]):
        tasks = lengths[key[0]]
        matrix = _accuracy_matrix(cells, tasks)
        for t in range(1, tasks + 1):
            until = matrix[: t + 1, :t]
            values = [getattr(statistics, name)(until) for name in SCORES]
            rows.append([*key, t, *values])
    table = pd.DataFrame(rows, columns=[*ID, "metric", "after_task", *SCORES])
    return joined([table], keys=["metric", "after_task"], name="scores")


def _accuracy_matrix(cells: pd.DataFrame, tasks: int) -> np.ndarray:
    """Accuracies as R of shape (tasks + 1, tasks), row 0 before training, NaN where not taken."""
    matrix = np.full((tasks + 1, tasks), np.nan)
    matrix[cells["after_task"].to_numpy(), cells["task"].to_numpy() - 1] = cells["value"]
    return matrix
