"""What a finished search proposes: the best point of every grid, with its evidence.

Best is the highest mean over seeds; a point with a diverged seed loses to any with fewer, and of
equals the one that the grid lists first wins. The runner-up is named because a best point whose
interval overlaps the next one's is picked by noise; points share their seeds, hence initial weights
and order of the data, so their difference is given seed by seed as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from forgetting import tables
from forgetting.errors import UserError
from forgetting.statistics import Interval, interval
from forgetting.tables import of_runs
from forgetting.tables.performance import performance
from forgetting.tables.scores import scores as scores_of
from forgetting.tuning import Grid, Point, Search

SCORES = {
    "performance": "mean over the tasks of how well each was learned",
    "average_accuracy": "accuracy after the last task, mean over all tasks",
}


@dataclass(frozen=True)
class Outcome:
    """How one point of a grid did."""

    point: Point
    scores: Mapping[int, float]
    """Score by seed, NaN where it diverged."""
    limits: Interval
    """Mean over the seeds that did not diverge, with its interval."""

    @property
    def diverged(self) -> int:
        """Number of seeds that diverged."""
        return sum(map(math.isnan, self.scores.values()))


def scores(
    records: Sequence[tuple[Path, Mapping[str, Any]]],
    about: Mapping[str, Mapping[str, str]],
    score: str,
) -> pd.DataFrame:
    """Return the score of every run and seed: benchmark, architecture, strategy, seed, score.

    Args:
        records: From `of_runs.read_records`.
        about: For each benchmark the ``metric`` that it is judged by, and ``evidence``.
        score: ``performance`` or ``average_accuracy``.

    The score of a seed that diverged is NaN.

    Raises:
        UserError: A run that finished lacks the accuracies that the score is made of.
    """
    read = [(folder, dict(record)) for folder, record in records]
    runs, accuracy = of_runs.runs(read, about), of_runs.accuracy(read)
    if score == "performance":
        online = any(each["metric"] == "online" for each in about.values())
        values = performance(accuracy, runs, of_runs.online(read) if online else None)
        found = values.groupby(tables.ID)["value"].agg(["mean", "count"]).reset_index()
        found = found.rename(columns={"mean": "score"})
    else:
        final = scores_of(accuracy)
        ends = final["after_task"] == final.groupby("benchmark")["after_task"].transform("max")
        metric = final["benchmark"].map({name: each["metric"] for name, each in about.items()})
        found = final[ends & (final["metric"] == metric)]
        found = found.assign(score=found[score], count=found["after_task"])
    table = runs[[*tables.ID, "status", "tasks"]].merge(found, on=tables.ID, how="left")
    whole = (table["count"] == table["tasks"]) & table["score"].notna()
    diverged = table["status"] == "diverged"
    if not (whole | diverged).all():
        lacking = table.loc[~(whole | diverged), tables.ID].iloc[0]
        raise UserError(
            f"{'/'.join(map(str, lacking))} finished without the accuracies that the score {score} "
            "is made of; look at tune: score and training: evaluate in the study's file"
        )
    return table.assign(score=table["score"].mask(diverged))[[*tables.ID, "score"]]


def ranked(search: Search, scores: pd.DataFrame) -> list[Outcome]:
    """Return the outcomes of a search, the best first.

    ``scores`` is from `scores`; a seed's score is the mean over the search's benchmarks and
    networks, and NaN where one of them diverged.
    """
    here = pd.MultiIndex.from_tuples(search.places)
    mine = scores[pd.MultiIndex.from_frame(scores[["benchmark", "architecture"]]).isin(here)]
    outcomes = []
    for point in search.points:
        of_point = mine[mine["strategy"] == point.name].groupby("seed")["score"]
        by_seed = {int(str(seed)): float(each.mean(skipna=False)) for seed, each in of_point}
        outcomes.append(Outcome(point, by_seed, interval(list(by_seed.values()))))

    def order(outcome: Outcome) -> tuple[int, float]:
        mean = outcome.limits.mean
        return outcome.diverged, math.inf if math.isnan(mean) else -mean

    return sorted(outcomes, key=order)


def edges(point: Point, grid: Grid) -> list[str]:
    """Return the settings of a point that are the lowest or the highest number of their grid."""
    found = []
    for setting, value in point.values.items():
        numbers = [v for v in grid[setting] if not isinstance(v, bool | str)]
        if len(numbers) > 1 and not isinstance(value, bool | str):
            if value == min(numbers):
                found.append(f"{setting} is the lowest")
            elif value == max(numbers):
                found.append(f"{setting} is the highest")
    return found


def table(results: Sequence[tuple[Search, Sequence[Outcome]]]) -> pd.DataFrame:
    """Return one row for every point, the best of each search first; a column for each seed."""
    rows = []
    for search, outcomes in results:
        for rank, outcome in enumerate(outcomes, start=1):
            limits = outcome.limits
            row: dict[str, Any] = {
                "group": search.group,
                "strategy": search.strategy,
                "rank": rank,
                "values": _said(outcome.point),
                "mean": limits.mean,
                "ci_low": limits.low,
                "ci_high": limits.high,
                "n_seeds": len(outcome.scores) - outcome.diverged,
                "n_diverged": outcome.diverged,
            }
            rows.append(row | {f"seed_{seed}": score for seed, score in outcome.scores.items()})
    return pd.DataFrame(rows)


def text(
    results: Sequence[tuple[Search, Sequence[Outcome]]], *, study: str, preset: str, score: str
) -> str:
    """Return the proposal: YAML in the form of the study's choices, the evidence as comments."""
    lines = [
        f"# Choices for study {study}, preset {preset}. Best is the highest score:",
        f"# {SCORES[score]}, then the mean over seeds, with its 95 % interval.",
        f"# A choice stands for the whole entry of that strategy in workflow/studies/{study}.yaml.",
        "runs:",
    ]
    for group in dict.fromkeys(search.group for search, _ in results):
        mine = [(search, outcomes) for search, outcomes in results if search.group == group]
        some = any(not math.isnan(outcomes[0].limits.mean) for _, outcomes in mine)
        lines += [f"  {group}:", f"    choices:{'' if some else ' {}'}"]
        for search, (best, *others) in mine:
            failed = math.isnan(best.limits.mean)
            said = [f"{search.strategy}: every seed of every point diverged"] if failed else []
            lines += [f"      # {line}" for line in said or _evidence(search, best, others)]
            if not failed:
                lines.append(f"      {search.strategy}: {_flow(best.point.choice)}")
    return "\n".join(lines) + "\n"


def _evidence(search: Search, best: Outcome, others: Sequence[Outcome]) -> list[str]:
    """Return what speaks for the best point, and against it, a line each."""
    seeds = len(best.scores) - best.diverged
    lines = [
        f"{_said(best.point)}: {_limits(best.limits)}, {seeds} seed{'s' * (seeds != 1)}, "
        f"{best.diverged} diverged; best of {len(others) + 1}"
    ]
    if ends := edges(best.point, search.grid):
        lines.append(f"AT THE EDGE of the grid: {', '.join(ends)}; extend it before choosing")
    if troubled := sum(other.diverged > 0 for other in others):
        lines.append(f"{troubled} of the others have a seed that diverged")
    if others and not math.isnan(others[0].limits.mean):
        second = others[0]
        lines.append(
            f"runner-up: {_said(second.point)}: {_limits(second.limits)}, "
            f"{second.diverged} diverged"
        )
        lines.append(_compared(best, second))
    return lines


def _compared(best: Outcome, second: Outcome) -> str:
    """Return whether the best differs from the runner-up by more than noise."""
    if second.diverged > best.diverged:
        return "which comes second because more of its seeds diverged"
    both = best.scores.keys() & second.scores.keys()
    apart = interval([best.scores[seed] - second.scores[seed] for seed in sorted(both)])
    if math.isnan(best.limits.low) or math.isnan(second.limits.low):
        return "one seed has no interval: whether it is better cannot be told from noise"
    if second.limits.high < best.limits.low:
        return f"intervals do not overlap; difference by seed {_limits(apart)}"
    if apart.low > 0:
        return f"intervals overlap, but seed by seed it is better by {_limits(apart)}"
    return f"intervals overlap, so the choice is noise; difference by seed {_limits(apart)}"


def _said(point: Point) -> str:
    return ", ".join(f"{setting} {value}" for setting, value in point.values.items())


def _limits(limits: Interval) -> str:
    if math.isnan(limits.low):
        return f"{limits.mean:.4f}"
    return f"{limits.mean:.4f} ({limits.low:.4f} to {limits.high:.4f})"


def _flow(choice: Mapping[str, Any]) -> str:
    """Return a choice as YAML on one line."""
    dumped: str = yaml.safe_dump(dict(choice), default_flow_style=True, width=math.inf)
    return dumped.strip()
