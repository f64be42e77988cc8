"""Whether a threshold on a quantity at a task's start tells which tasks will be learned.

Prakash et al. (2025, arXiv 2509.22335) call a task trainable from some weights when the rank of
the Hessian there is at least a threshold that belongs to the task. Made concrete: a start has
*succeeded* when performance on its task reaches a ``share`` of what a network that starts afresh
reaches on it. Of the starts in the first half of the tasks the threshold is the smallest quantity
among those that succeeded. The rule says that a later start succeeds exactly if its quantity is
at least the threshold. Strategies are pooled within a seed: the threshold is the task's, not the
strategy's.

Scores over the later starts, each less what the best constant guess gets:

    accuracy           = share of starts the rule is right about - larger share of an outcome
    balanced_accuracy  = (share of successes at or above the threshold
                          + share of failures below it) / 2 - 1 / 2

The first asks for more where one outcome is rare. Both are above 0 if the rule tells anything.

With ``bound`` the rule asks something else of later starts: whether a bound on the quantity, such
as what dead units leave of the rank, is at least the threshold. (Of a network P parameters large
with one hidden layer of I inputs and O outputs k dead units leave P - k (I + O + 1), their theorem
6.2: up to k = (P - threshold) / (I + O + 1) may be dead.) Where the bound never falls below it the
rule says the same of all, and its balanced accuracy is 0.
"""

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from forgetting.evidence._bound import limits
from forgetting.evidence._points import by_seed, with_yardstick, yardstick
from forgetting.evidence._rows import Tables, known, select, table, without
from forgetting.evidence._series import tasks
from forgetting.evidence._settings import Bound
from forgetting.settings import Settings as Base
from forgetting.tables import ID


class Settings(Base):
    """Which quantity, and how the rule is scored."""

    table: str
    """Name of the table, without ``.csv``; with a row for each run and task."""
    x: str
    """The quantity at a task's start."""
    y: str
    """Performance on the task."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values."""
    leave_out: dict[str, list[str | int | float]] = {}
    """Column -> values whose rows are left out, such as ``{task: [1]}``."""
    against: str = "reset"
    """The strategy that starts afresh."""
    share: Annotated[float, Field(gt=0)] = 0.95
    """Part of its performance that is a success."""
    score: Literal["accuracy", "balanced_accuracy", "threshold"] = "balanced_accuracy"
    """Which number; ``threshold`` is the threshold itself."""
    bound: Bound | None = None
    """A bound on the quantity that is held against the threshold in its place."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """The score of each seed.

    NaN for a seed with fewer starts than the fullest, where no early start succeeded (no
    threshold), and but for ``threshold`` where all later starts have one outcome (nothing to tell).
    """
    left = without(tables, settings.table, settings.leave_out)
    rows = select(left, settings.table, settings.where)
    known(rows, settings.table, settings.x, settings.y)
    rows = rows.assign(fresh=yardstick(tables, rows, settings.against), held=rows[settings.x])
    if settings.bound is not None:
        keys, name = [*ID, "task"], settings.bound.table
        bounded = table(tables, name)
        out = {c: v for c, v in settings.leave_out.items() if c in bounded}
        both = sorted({*rows["strategy"]} & {*bounded["strategy"]})
        where = {**settings.where, "strategy": both}
        limit = limits(without(tables, name, out), settings.bound, where, keys)
        rows = rows.merge(limit, on=keys, how="left").assign(held=lambda each: each["limit"])
    middle = tasks(tables, rows) / 2
    # The threshold is from all early starts; of later ones those without a bound say nothing.
    rows = rows[(rows["task"] <= middle) | rows["held"].notna()]
    found = {
        seed: np.nan if of is None else _score(of, settings, middle)
        for seed, of in by_seed(rows, settings.x, settings.y, "fresh").items()
    }
    return pd.Series(found, dtype=float)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return with_yardstick(settings.where, settings.against)


def _score(rows: pd.DataFrame, settings: Settings, middle: float) -> float:
    quantity = rows[settings.x].to_numpy(float)
    succeeded = (rows[settings.y] >= settings.share * rows["fresh"]).to_numpy()
    early = (rows["task"] <= middle).to_numpy()
    if not (early & succeeded).any():
        return float("nan")
    threshold = float(quantity[early & succeeded].min())
    if settings.score == "threshold":
        return threshold
    outcomes, said = succeeded[~early], rows["held"].to_numpy(float)[~early] >= threshold
    if outcomes.all() or not outcomes.any():
        return float("nan")
    if settings.score == "accuracy":
        return float(np.mean(said == outcomes) - max(outcomes.mean(), 1 - outcomes.mean()))
    return float((said[outcomes].mean() + (~said[~outcomes]).mean()) / 2 - 0.5)
