"""Effective ranks: as a share of their peak, one for each run, and beside what is forgotten."""

import pandas as pd

from forgetting.tables import GROUP, ID, joined

ERANK = "erank_sigma_uncentred"
PEAK = "_peak_normalised"
POSSIBLE = "_of_possible"


def shares_of_peak(measured: pd.DataFrame) -> pd.DataFrame:
    """Every effective rank of a measure as a share of its peak: eRank(t) / max_{u <= t} eRank(u).

    Per run, matrix and layer; t and u >= 1 are tasks that were learned. The network before training
    has no share: features of random weights have a high rank that says nothing of what was learned,
    and the paper's ranks, which rise at first, cannot be held against it (Zhu & Jin 2026, arXiv
    2603.04580, by a third party's summary). ``measured`` has its rows in the order of time. No rows
    for a measure without effective ranks.
    """
    ranks = measured["statistic"].str.startswith("erank")
    shares = measured[ranks & ~measured["statistic"].str.endswith(PEAK)]
    shares = shares[shares["task"] > 0].copy()
    series = [key for key in [*ID, "matrix", "layer", "statistic"] if key in shares]
    peak = shares.groupby(series, sort=False)["value"].cummax()
    # A matrix of zeros has eRank 0 (or none) and no peak to fall from.
    shares["value"] = shares["value"] / peak.where(peak > 0)
    shares["statistic"] += PEAK
    return shares


def representative_rank(erank: pd.DataFrame) -> pd.DataFrame:
    """One effective rank for each run, task, matrix and statistic: the two the paper speaks of.

    ``activation``: the last hidden stage (the deepest that is not the head), layer ``last``.
    ``weight``: the mean over the layers, head included, layer ``mean``. Statistics that end in
    ``_of_possible`` are divided by the matrix's smaller side, the most it can be, before any mean.
    """
    wanted = erank[erank["statistic"].isin([ERANK, ERANK + PEAK])]
    raw = wanted[wanted["statistic"] == ERANK]
    share = raw["value"] / raw[["rows", "columns"]].min(axis=1)
    wanted = pd.concat([wanted, raw.assign(value=share, statistic=ERANK + POSSIBLE)])
    if "epoch" in wanted:
        wanted = wanted[wanted["epoch"] == 0]  # the end of the task
    keys = [*ID, "task", "matrix", "statistic"]
    weight = wanted[wanted["matrix"] == "weight"].groupby(keys, as_index=False)["value"].mean()
    hidden = wanted[(wanted["matrix"] == "activation") & (wanted["layer"] != "head")]
    deepest = hidden.groupby(GROUP)["depth"].transform("max")
    last = hidden.loc[hidden["depth"] == deepest, [*keys, "value"]]
    table = pd.concat([weight.assign(layer="mean"), last.assign(layer="last")])
    columns = [*ID, "task", "matrix", "layer", "statistic", "value"]
    return joined([table[columns]], keys=["task", "matrix", "statistic"], name="erank")


def forgetting_rank(scores: pd.DataFrame, erank: pd.DataFrame) -> pd.DataFrame:
    """Mean forgetting of tasks 1..t-1 after task t >= 2 beside the rank lost, 1 - eRank(t)/peak."""
    rank = representative_rank(erank)
    rank = rank[rank["statistic"] == ERANK + PEAK]
    rank = rank.assign(rank_lost=1.0 - rank["value"])[[*ID, "task", "matrix", "layer", "rank_lost"]]
    lost = scores.loc[scores["after_task"] >= 2, [*ID, "after_task", "metric", "forgetting"]]
    table = lost.rename(columns={"after_task": "task"}).merge(rank, on=[*ID, "task"])
    columns = [*ID, "task", "metric", "matrix", "layer", "forgetting", "rank_lost"]
    return joined([table[columns]], keys=["task", "metric", "matrix"], name="forgetting_rank")
