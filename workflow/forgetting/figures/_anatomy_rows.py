"""The rows that figures of the study of two tasks are drawn from."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd

from forgetting import plots, tables
from forgetting.figures import _lines, _panels
from forgetting.figures._panels import Tables

if TYPE_CHECKING:
    from forgetting.figures.anatomy import OfBenchmark, OfRuns

ALONE = "task2-only"  # the strategy that learns task 2 alone


def of_benchmark(
    given: Tables, table: str, settings: "OfBenchmark", strategies: Collection[str]
) -> pd.DataFrame:
    """The rows of a table of one benchmark and some strategies."""
    return _lines.chosen(
        given,
        table,
        [settings.benchmark],
        architecture=settings.architecture,
        strategies=strategies,
    )


def of_runs(
    given: Tables, table: str, settings: "OfRuns", benchmarks: Collection[str]
) -> pd.DataFrame:
    """The rows of a table of some benchmarks and one strategy."""
    return _lines.chosen(
        given,
        table,
        benchmarks,
        architecture=settings.architecture,
        strategies=[settings.strategy],
    )


def scenario(given: Tables, rows: pd.DataFrame, column: str = "metric") -> pd.DataFrame:
    """The rows under the metric that their benchmark is judged by, which ``column`` names."""
    metrics = {name: _panels.metric_of(given, name, "scenario") for name in set(rows["benchmark"])}
    return rows[rows[column] == rows["benchmark"].map(metrics)]


def metrics(given: Tables, benchmarks: Collection[str]) -> str:
    """The metrics that the benchmarks are judged by, in words."""
    runs = given["runs"]
    found = runs.loc[runs["benchmark"].isin(benchmarks), "scenario_metric"].unique()
    return ", ".join(plots.METRICS[metric] for metric in sorted(found))


def lost(given: Tables, settings: "OfRuns", benchmarks: Collection[str]) -> pd.DataFrame:
    """Task-1 accuracy after task 1 minus that after task 2, for each seed that has both."""
    rows = scenario(given, of_runs(given, "accuracy", settings, benchmarks))
    by_task = rows[rows["task"] == 1].pivot(index=tables.ID, columns="after_task", values="value")
    lost = by_task.reindex(columns=[1, 2])
    return (lost[1] - lost[2]).rename("lost").reset_index()
