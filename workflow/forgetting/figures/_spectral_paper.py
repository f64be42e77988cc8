"""Curves of the paper: performance over tasks as its figures show it.

``spectral_curves.csv`` was digitised from the vector figures that the authors publish with the
paper (Prakash et al. 2025, arXiv 2509.22335; CC BY 4.0), and thinned to at most 130 points a curve.
Its columns are benchmark, strategy, task (from 1) and performance, under the names that the study
gives them: what the paper calls CBP is ``replace_most_useful``. The curves are means over seeds,
smoothed by the authors with a filter of Savitzky and Golay (windows of 5 tasks on Permuted MNIST,
30 on Continual ImageNet, none on CIFAR-100).
"""

from pathlib import Path

import pandas as pd

from forgetting import tables

CURVES = Path(__file__).with_name("spectral_curves.csv")


def curves(runs: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """The paper's curves of the strategies run, if these were run as the paper ran them.

    Args:
        runs: Those of one benchmark.
        benchmark: Its entry.

    Returns:
        Columns strategy, task, performance; no rows unless all the evidence is ``protocol``.
    """
    known = tables.read(CURVES)
    wanted = (known["benchmark"] == benchmark) & known["strategy"].isin(runs["strategy"])
    wanted &= known["task"] <= runs["tasks"].max()
    wanted &= bool((runs["evidence"] == "protocol").all())
    return known.loc[wanted, ["strategy", "task", "performance"]].reset_index(drop=True)
