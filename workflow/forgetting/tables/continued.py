"""What runs that continue others from within a task started from, and what became of them."""

import pandas as pd

from forgetting.rungs import without_rung
from forgetting.tables import ID, joined

COLLAPSE = ["nc1", "nc2", "nc3", "nc4"]
CHANCE = 1.5
"""An accuracy at or below this many times that of guessing is at chance."""


def continued(
    runs: pd.DataFrame,
    accuracy: pd.DataFrame,
    neural_collapse: pd.DataFrame,
    history: pd.DataFrame,
) -> pd.DataFrame:
    """What a run that continues another from within a task started from, and what became of it.

    A row for each seed and each mode of `neural_collapse`. Columns: the run, arm (its strategy
    without the rung), started_strategy, task and epoch (where it starts), mode, nc1 to nc4 there,
    training_accuracy_before (that epoch's), accuracy_before (test accuracy of that task there),
    accuracy (of the next task after it), status (``finished``, ``diverged``, or ``chance``: either
    accuracy is at most 1.5 times that of guessing).
    """
    starts = runs[runs["started_epoch"].notna()].rename(
        columns={"started_task": "task", "started_epoch": "epoch"}
    )
    starts = starts.assign(arm=starts["strategy"].map(without_rung))
    parent = [*ID[:2], "started_strategy", "seed", "task", "epoch"]
    moments = neural_collapse[neural_collapse["statistic"].isin(COLLAPSE)]
    collapse = moments.rename(columns={"strategy": "started_strategy"}).pivot_table(
        index=[*parent, "mode"], columns="statistic", values="value"
    )
    seen = history[history["statistic"] == "accuracy"].rename(
        columns={"strategy": "started_strategy", "value": "training_accuracy_before"}
    )
    table = starts.merge(collapse.reset_index(), on=parent, how="left")
    table = table.merge(seen[[*parent, "training_accuracy_before"]], on=parent, how="left")
    tested = accuracy[(accuracy["metric"] == "task_masked")]
    tested = tested[tested["after_task"] == tested["task"]][[*ID, "task", "value"]]
    for column, later in (("accuracy_before", 0), ("accuracy", 1)):
        own = tested.assign(task=tested["task"] - later).rename(columns={"value": column})
        table = table.merge(own, on=[*ID, "task"], how="left")
    chance = CHANCE / table["classes"]
    fallen = (table["accuracy_before"] <= chance) | (table["accuracy"] <= chance)
    table.loc[fallen & (table["status"] == "finished"), "status"] = "chance"
    columns = [*ID, "arm", "started_strategy", "task", "epoch", "mode"]
    columns += [*COLLAPSE, "training_accuracy_before", "accuracy_before", "accuracy", "status"]
    return joined([table.reindex(columns=columns)], keys=["epoch", "mode"], name="continued")
