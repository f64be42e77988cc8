"""After how many epochs of the next task a part of the accuracy on a task is lost.

The accuracy is known at the start of the next task and at the moments whose weights were kept. It
is taken as straight between them, and the number is where it first reaches (1 - share) of what it
was at the start. A run that never does, and trained for ``horizon`` epochs at least, is placed one
epoch after its end; one that trained less tells nothing.
"""

from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from forgetting.evidence._rows import Tables, known, one_per_seed, select, touched
from forgetting.settings import Settings as Base


class Settings(Base):
    """Which accuracy, while what is trained."""

    table: Literal["learning_curve"] = "learning_curve"
    """The table it is read from."""
    where: dict[str, str | int | float | bool | list[str | int | float]]
    """Column -> wanted value or values."""
    of_task: int = 1
    """The task whose accuracy it is; the next is what is trained."""
    output: str = ""
    """The class; the whole task when empty."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Part of the accuracy at the start that is lost."""
    horizon: Annotated[float, Field(ge=0)]
    """Epochs after which a run that still has not lost it speaks against losing it soon."""


def per_seed(tables: Tables, settings: Settings) -> pd.Series:
    """Epochs of each seed.

    NaN for a seed without a start or an end, with nothing to lose, or that ends too soon.
    """
    rows = select(tables, settings.table, {**settings.where, "of_task": settings.of_task})
    known(rows, settings.table, "output", "task", "epoch", "epochs_done")
    # A table read from a file has no empty texts: the whole task's is undefined there.
    rows = rows[rows["output"].fillna("") == settings.output]
    start = rows[(rows["task"] == settings.of_task) & (rows["epoch"] == 0)]
    later = rows[rows["task"] == settings.of_task + 1]
    one_per_seed(start, "value")  # refuses more than one row each
    one_per_seed(later, "value", over=["epoch"])
    found = {
        seed: _epochs(start[start["seed"] == seed], later[later["seed"] == seed], settings)
        for seed in sorted(rows["seed"].unique())
    }
    return pd.Series(found, dtype=float)


def runs(settings: Settings) -> list[dict[str, Any]]:
    """Selections of the runs this reads."""
    return touched(settings.where)


def _epochs(start: pd.DataFrame, later: pd.DataFrame, settings: Settings) -> float:
    if start.empty or not (later["epoch"] == 0).any():
        return float("nan")
    curve = pd.concat([start, later]).sort_values("epochs_done", kind="stable")
    epochs = (curve["epochs_done"] - curve["epochs_done"].iloc[0]).to_numpy(float)
    values = curve["value"].to_numpy(float)
    level = (1 - settings.share) * values[0]
    below = np.flatnonzero(values <= level)
    if np.isnan(values).any() or values[0] <= level:
        return float("nan")
    if below.size == 0:
        return float(epochs[-1] + 1) if epochs[-1] >= settings.horizon else float("nan")
    i = below[0]
    part = (values[i - 1] - level) / (values[i - 1] - values[i])
    return float(epochs[i - 1] + part * (epochs[i] - epochs[i - 1]))
