"""A claim's statistic of this study's tables: an interval over seeds, and what it rests on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from forgetting import basis, components, statistics
from forgetting.claims import Claim, Precondition
from forgetting.errors import UserError
from forgetting.evidence._rows import NoRows, NotRun, Watched


@dataclass(frozen=True)
class Found:
    """A statistic of this run over seeds."""

    interval: statistics.Interval
    seeds: int
    reasons: tuple[str, ...] = ()
    """Why it says nothing, or less than it might."""
    basis: Mapping[str, Any] = field(default_factory=dict)
    """What it was computed from, as in ``claims.json``."""


def compute(
    name: str,
    part: Claim | Precondition,
    tables: Mapping[str, pd.DataFrame],
    *,
    prediction: bool = False,
) -> tuple[Found, pd.DataFrame]:
    """The statistic of a claim or its precondition over seeds, and the rows of ``runs`` it touches.

    With ``prediction`` the interval is that for one further run.

    Raises:
        NotRun: A table is missing, or the rows it speaks of.
        UserError: The claim names a statistic or setting that does not exist.
    """
    components.find("evidence", part.statistic, key=f"claims.{name}.statistic")
    module = components.load("evidence", part.statistic)
    try:
        settings = module.Settings.model_validate(part.settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in ("claims", name, "settings", *first["loc"]))
        raise UserError(f"{where}: {first['msg']}; found {first['input']!r}") from None
    touched = _touched(tables, module.runs(settings))
    watched = Watched(tables)
    diverged = sorted(set(touched.loc[touched["status"] == "diverged", "seed"]))
    try:
        values = module.per_seed(watched, settings)
    except NoRows:
        if not diverged:
            raise
        values = pd.Series(dtype=float)  # the runs are there; what they never reached is not
    seeds = sorted(set(touched["seed"]))
    values = values.reindex(seeds).astype(float)
    values = values.where(np.isfinite(values))  # divided by 0: no number
    without = [seed for seed in seeds if pd.isna(values[seed]) and seed not in diverged]
    reasons = []
    if diverged:
        reasons.append(f"{len(diverged)} of {len(seeds)} seeds diverged ({_listed(diverged)})")
    if without:
        reasons.append(f"{len(without)} of {len(seeds)} seeds have no value ({_listed(without)})")
    array = values.to_numpy()
    if getattr(module, "IS_CORRELATION", False):
        interval = statistics.correlation_interval(array, prediction=prediction)
    elif prediction:
        interval = statistics.prediction_interval(array)
    elif getattr(module, "IS_SHARE", False) and set(array[~np.isnan(array)]) <= {0.0, 1.0}:
        interval = statistics.share_interval(array)
    else:
        step = module.step(watched, settings) if hasattr(module, "step") else 0.0
        interval = statistics.interval(array, step=step)
    rests = {
        "statistic": part.statistic,
        "settings": part.settings,
        "definition": basis.definition(module),
        "per_seed": {str(seed): basis.number(values[seed]) for seed in seeds},
        "slices": basis.slices(watched, settings),
    }
    return Found(interval, int(values.notna().sum()), tuple(reasons), rests), touched


def _touched(tables: Mapping[str, pd.DataFrame], selections: Iterable[Mapping[str, Any]]) -> Any:
    if "runs" not in tables:
        raise NotRun("runs.csv is missing")
    runs = tables["runs"]
    chosen = pd.Series(False, index=runs.index)
    for selection in selections:
        rows = pd.Series(True, index=runs.index)
        for column, wanted in selection.items():
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if not (rows & (runs[column] == value)).any():
                    raise NotRun(f"no run with {column} {value}")
            rows &= runs[column].isin(wanted if isinstance(wanted, list) else [wanted])
        chosen |= rows
    if not chosen.any():
        raise NotRun("no runs")
    return runs[chosen]


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)
