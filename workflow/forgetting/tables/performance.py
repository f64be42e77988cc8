"""How well each task was learned, alone and beside the rank of the Hessian before it."""

import pandas as pd

from forgetting.tables import ID, joined

ESTIMATORS = {
    "epsilon_rank": "quadrature",
    "epsilon_rank_published": "published",
    "epsilon_rank_exact": "exact",
}


def performance(
    accuracy: pd.DataFrame, runs: pd.DataFrame, online: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How well each task was learned, in the metric that its benchmark is judged by.

    For ``online`` that accuracy; else the accuracy on the task's test images after training on
    it. Columns: the run, task, metric, value.
    """
    metric = runs.drop_duplicates("benchmark").set_index("benchmark")["scenario_metric"]
    own = accuracy[accuracy["after_task"] == accuracy["task"]]
    tested = own[own["metric"] == own["benchmark"].map(metric)]
    parts = [tested[[*ID, "task", "metric", "value"]]]
    if online is not None:
        judged = online[online["benchmark"].map(metric) == "online"]
        parts.append(judged.assign(metric="online")[[*ID, "task", "metric", "value"]])
    return joined(parts, keys=["task"], name="performance")


def rank_and_performance(hessian: pd.DataFrame, performance: pd.DataFrame) -> pd.DataFrame:
    """The Hessian's epsilon-rank at the start of a task beside how well the task was learned.

    On images trained on; the most of Lanczos' steps that were taken. Columns: the run, task,
    estimator (``quadrature``, ``published``, ``exact``), eps, epsilon_rank (fraction), performance.
    """
    rows = hessian[(hessian["moment"] == "init") & (hessian["split"] == "train")]
    rows = rows[rows["statistic"].isin(ESTIMATORS)]
    longest = rows.groupby([*ID, "task", "statistic"])["steps"].transform("max")
    rows = rows[rows["steps"] == longest]
    rows = rows.assign(estimator=rows["statistic"].map(ESTIMATORS)).rename(
        columns={"value": "epsilon_rank"}
    )
    learned = performance.rename(columns={"value": "performance"})[[*ID, "task", "performance"]]
    keys = ["task", "estimator", "eps"]
    table = rows[[*ID, *keys, "epsilon_rank"]].merge(learned, on=[*ID, "task"])
    return joined([table], keys=keys, name="rank_and_performance")
