"""The rows that figures of the study of two data sets in turn are drawn from.

Task 1 is called A and task 2 B, as in the post. As in the study of the spectrum a strategy is
there on one architecture, or a figure refuses.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from forgetting import plots, wording
from forgetting.figures import _method_rows, _panels
from forgetting.figures._panels import Tables

if TYPE_CHECKING:
    from forgetting.figures.handoff import OfConfigurations

LETTERS = {1: "A", 2: "B"}
COLOURS = {1: "#0072B2", 2: "#D55E00"}
CONFIGURATION = ["benchmark", "strategy"]


def task_names(runs: pd.DataFrame) -> dict[int, str]:
    """What the tasks are called: A and B, with the data sets where all runs have the same two."""
    found = runs["datasets"].dropna().unique()
    parts = found[0].split("+") if len(found) == 1 else []
    if len(parts) != len(LETTERS):
        return dict(LETTERS)
    return {
        task: f"{letter} ({wording.name(part)})"
        for (task, letter), part in zip(LETTERS.items(), parts, strict=True)
    }


def configurations(given: Tables, settings: "OfConfigurations") -> list[tuple[str, str]]:
    """Benchmarks with strategies: those asked for, or all in the table of runs."""
    if settings.configurations:
        return list(dict.fromkeys((c.benchmark, c.strategy) for c in settings.configurations))
    runs = _panels.of_table(given, "runs")
    there = set(zip(runs["benchmark"], runs["strategy"], strict=True))
    return [
        (benchmark, strategy)
        for benchmark in plots.in_order(runs["benchmark"])
        for strategy in plots.in_order(runs["strategy"])
        if (benchmark, strategy) in there
    ]


def of_configurations(given: Tables, table: str, wanted: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The rows of a table of some benchmarks with strategies; Nothing where there are none."""
    rows = _panels.some(_panels.of_table(given, table), f"{table}.csv has no run")
    parts = []
    for benchmark, strategy in wanted:
        mine = (rows["benchmark"] == benchmark) & (rows["strategy"] == strategy)
        if mine.any():
            parts.append(_method_rows.of_benchmark(given, table, benchmark, [strategy]))
    names = ", ".join(f"{strategy} on {benchmark}" for benchmark, strategy in wanted)
    return _panels.some(pd.concat(parts) if parts else rows[:0], f"{table}.csv has no {names}")


def under_scenario(given: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows under the metric that their benchmark is judged by."""
    metrics = {name: _panels.metric_of(given, name, "scenario") for name in set(rows["benchmark"])}
    return rows[rows["metric"] == rows["benchmark"].map(metrics)]


def configuration_name(benchmark: str, strategy: str, *, between: str = ", ") -> str:
    """A configuration as a reader writes it."""
    return f"{wording.name(benchmark)}{between}{plots.look(strategy).label}"


def without(
    wanted: Sequence[tuple[str, str]], there: Sequence[tuple[str, str]], why: str
) -> list[str]:
    """A note that names the configurations that a figure does not show."""
    names = [configuration_name(*one) for one in wanted if one not in there]
    return [f"{why}: {'; '.join(names)}."] if names else []
