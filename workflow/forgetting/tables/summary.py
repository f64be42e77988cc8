"""Every score and effective rank at the end of training: mean over seeds, with its interval."""

import pandas as pd

from forgetting import statistics
from forgetting.tables import GROUP, ID
from forgetting.tables.ranks import representative_rank
from forgetting.tables.scores import SCORES


def summary(
    scores: pd.DataFrame, runs: pd.DataFrame, erank: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean over seeds with its interval of every final score and final effective rank.

    ``n_seeds`` counts the seeds that have the statistic, ``n_diverged`` those that diverged.
    """
    last = runs[["benchmark", "tasks"]].drop_duplicates("benchmark")
    final = scores.merge(last, on="benchmark")
    final = final[final["after_task"] == final["tasks"]]
    long = final.melt([*ID, "metric"], SCORES, var_name="score")
    long["statistic"] = long["score"] + "_" + long["metric"]
    parts = [long[[*ID, "statistic", "value"]]]
    if erank is not None:
        rank = representative_rank(erank).merge(last, on="benchmark")
        rank = rank[rank["task"] == rank["tasks"]]
        rank["statistic"] += "_" + rank["matrix"] + "_" + rank["layer"]
        parts.append(rank[[*ID, "statistic", "value"]])
    values = pd.concat(parts)
    diverged = runs[runs["status"] == "diverged"].groupby(GROUP)["seed"].nunique()
    rows = []
    for group, _ in runs.groupby(GROUP):
        mine = values[(values[GROUP] == list(group)).all(axis=1)]
        for statistic in sorted(values["statistic"].unique()):
            sample = mine.loc[mine["statistic"] == statistic, "value"].dropna().to_numpy()
            limits = statistics.interval(sample)
            rows.append([*group, statistic, *limits, len(sample), int(diverged.get(group, 0))])
    columns = [*GROUP, "statistic", "mean", "ci_low", "ci_high", "n_seeds", "n_diverged"]
    return pd.DataFrame(rows, columns=columns)
