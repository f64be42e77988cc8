"""The rows that figures of the study of neural collapse are drawn from, and how its arms look.

An arm is what is done between a moment of the warm-up and the end of training on all images. Table
``continued`` has a row for each run that was continued: its arm, the epochs of its warm-up, neural
collapse and accuracy of the weights it starts from, and the accuracy it ends with.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator

from forgetting import tables
from forgetting.figures import _lines, _method_rows, _panels
from forgetting.figures._lines import Line
from forgetting.figures._panels import Tables

LOOKS = {
    "full": Line("plain", "#D55E00", "o"),
    "shrink-perturb": _lines.of_strategy("shrink-perturb", marker="^"),
    "nc1": Line("NC1 regulariser", "#0072B2", "s"),
}
DECAY, DECAYS = "wd-", (("#C77CB4", "v"), ("#8E4A9E", "D"), ("#4A1A6B", "P"))
DIVERGED, CHANCE = "diverged", "chance"
FAILED = {DIVERGED: "diverged", CHANCE: "at chance before or after"}
MODES = {
    "eval": "batch norm with its running statistics",
    "train": "batch norm with each batch's statistics",
}
MANY = 30  # points on a line, beyond which they have no markers


def nc1(given: Tables, benchmark: str) -> pd.DataFrame:
    """NC1 of every moment kept, batch normalisation in eval mode: the run, task, epoch, value."""
    rows = _method_rows.of_benchmark(given, "neural_collapse", benchmark)
    rows = rows[(rows["statistic"] == "nc1") & (rows["mode"] == "eval")]
    rows = _panels.some(rows, f"neural_collapse.csv has no nc1 on {benchmark}")
    return rows[[*tables.ID, "task", "epoch", "value"]]


def nc1_after_tasks(given: Tables, runs: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """NC1 at the end of each task measured of some runs: the run, task, value.

    A run that continues another and was not measured where it starts has there what was measured
    of the other.
    """
    rows = nc1(given, benchmark)
    own = rows[(rows["epoch"] == 0) & rows["strategy"].isin(runs["strategy"])]
    own = own[[*tables.ID, "task", "value"]]
    if "started_strategy" not in runs:
        return own
    kept = rows.rename(columns={name: f"started_{name}" for name in ("strategy", "task", "epoch")})
    at = ["benchmark", "architecture", "seed", "started_strategy", "started_task", "started_epoch"]
    starts = runs.dropna(subset=at)[[*tables.ID, *at[3:]]].merge(kept, on=at)
    starts = starts.rename(columns={"started_task": "task"})[[*tables.ID, "task", "value"]]
    found = pd.concat([own, starts.astype({"task": own["task"].dtype})], ignore_index=True)
    return found.drop_duplicates([*tables.ID, "task"])


def continued(
    given: Tables, benchmark: str, arms: Sequence[str] = (), *, mode: str | None = None
) -> pd.DataFrame:
    """A row for each run continued from a warm-up: of some arms, or of all where none is named.

    Args:
        given: The tables.
        benchmark: Its entry.
        arms: Those wanted.
        mode: Mode of batch normalisation under which neural collapse was taken; None where that
            does not matter. Runs that had diverged before, so that it was not taken, are there.
    """
    rows = _method_rows.of_benchmark(given, "continued", benchmark)
    if arms:
        there = rows["arm"].isin(arms)
        rows = _panels.some(rows[there], f"continued.csv has no {' or '.join(arms)} on {benchmark}")
    if mode is not None:
        _panels.some(
            rows[rows["mode"] == mode],
            f"continued.csv has no {mode} mode on {benchmark} (a network without batch "
            "normalisation has eval mode alone)",
        )
        rows = rows[rows["mode"].isna() | (rows["mode"] == mode)]
    return rows.drop_duplicates(tables.ID, ignore_index=True)


def arms_in_order(arms: Iterable[str]) -> list[str]:
    """Arms as they are drawn: those of the paper's figure, weight decay by strength, others."""
    known = list(LOOKS)

    def place(arm: str) -> tuple[int, float, str]:
        if arm in known:
            return known.index(arm), 0.0, arm
        return len(known) + (not arm.startswith(DECAY)), _strength(arm), arm

    return sorted(set(arms), key=place)


def looks(arms: Iterable[str]) -> dict[str, Line]:
    """How each arm is drawn, in the order of drawing."""
    found, decays = {}, 0
    for arm in arms_in_order(arms):
        if arm in LOOKS:
            found[arm] = LOOKS[arm]
        elif arm.startswith(DECAY):
            colour, marker = DECAYS[decays % len(DECAYS)]
            found[arm] = Line(f"weight decay {arm.removeprefix(DECAY)}", colour, marker)
            decays += 1
        else:
            found[arm] = _lines.of_strategy(arm)
    return found


def _strength(arm: str) -> float:
    try:
        return float(arm.removeprefix(DECAY))
    except ValueError:
        return 0.0


def runs_of(given: Tables, benchmark: str, rows: pd.DataFrame, *more: str) -> pd.DataFrame:
    """The runs that rows of table ``continued`` are of, and those of ``more`` strategies."""
    runs = _method_rows.of_benchmark(given, "runs", benchmark)
    mine = runs["strategy"].isin(rows["strategy"]) & runs["seed"].isin(rows["seed"])
    wanted = mine | runs["strategy"].isin(more)
    return _panels.some(
        runs[wanted], f"runs.csv has none of the runs of continued.csv, {benchmark}"
    )


def footnotes(runs: pd.DataFrame, rows: pd.DataFrame, styles: dict[str, Line]) -> list[str]:
    """How many seeds there are, what the interval is, and which runs of which arm failed.

    Args:
        runs: Those drawn.
        rows: Of table ``continued``, one for each run.
        styles: From `looks`.
    """
    parts = []
    for arm, style in styles.items():
        mine = rows[rows["arm"] == arm]
        for status, words in FAILED.items():
            if count := int((mine["status"] == status).sum()):
                parts.append(f"{style.label} {count} of {len(mine)} {words}")
    notes = _panels.footnotes(runs)[:1]
    notes += [f"Of the continued runs: {'; '.join(parts)}."] if parts else []
    others = runs[~runs["strategy"].isin(rows["strategy"])]
    return [*notes, *(_panels.footnotes(others)[1:] if len(others) else [])]


def not_run(arms: Sequence[str], rows: pd.DataFrame) -> list[str]:
    """A note that names the arms that were asked for and are not there."""
    missing = looks(arm for arm in arms if arm not in set(rows["arm"]))
    return _lines.not_run([style.label for style in missing.values()], [])


def marked(style: Line, points: int, **other: Any) -> Line:
    """The look, without markers on a line of so many points that they would touch."""
    return dataclasses.replace(style, marker=style.marker if points <= MANY else "", **other)


def percent(axis: Axis, symbol: str = "%") -> None:
    """A share in per cent, with no more digits than the ticks need."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}{symbol}"))


def epoch_axis(ax: Axes, label: str) -> None:
    """Epochs on the horizontal axis, whole ones marked."""
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    ax.set_xlabel(label)
