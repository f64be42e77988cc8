"""Judging claims: the paper's statement against intervals over our seeds.

*Reproduced*: the interval lies wholly on the claimed side of the margin. *Contradicted*: wholly
on the other. *Inconclusive*: anything else, and always with fewer than three seeds, on stand-in
data, or when the precondition is unmet. *Not run*: a table or the rows it needs are missing.

A value the paper took from a single run is compared with our prediction interval for one run:
reproduced when they meet and the interval is no wider than the claim allows, contradicted when
they do not meet. How high a value is depends on how long, on how much and how large a network was
trained: unless that is as published (evidence ``protocol``), the verdict is inconclusive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from forgetting import basis, computed, statistics
from forgetting.claims import Claim, Holds, Precondition
from forgetting.errors import UserError
from forgetting.evidence._rows import NotRun

COLUMNS = [
    *("claim", "statement", "source", "paper_value", "value", "ci_low", "ci_high"),
    *("n_seeds", "verdict", "evidence", "note"),
]
WEAKEST_FIRST = ["stand-in", "other simulator", "other data", "reduced", "protocol"]
"""What a verdict bears on; only ``protocol`` speaks of the paper."""
SEEDS_NEEDED = 3


@dataclass(frozen=True)
class Judged:
    """A claim's row of ``claims.csv``, and its entry in ``claims.json``."""

    row: dict[str, Any]
    basis: dict[str, Any]


def judge(claims: Mapping[str, Claim], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per claim, in their order, with the columns of ``claims.csv``.

    Raises:
        UserError: A claim names a statistic, setting or column that does not exist.
    """
    return judge_with_basis(claims, tables)[0]


def judge_with_basis(
    claims: Mapping[str, Claim], tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of `judge`, and for each claim what its verdict rests on: plain data.

    Raises:
        UserError: As `judge`.
    """
    judged = {name: _judge_one(name, claim, tables) for name, claim in claims.items()}
    rows = [{"claim": name, **each.row} for name, each in judged.items()]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"n_seeds": "int64"})
    return table, {name: each.basis for name, each in judged.items()}


def side(holds: Holds, interval: statistics.Interval) -> str:
    """``reproduced``, ``contradicted`` or ``inconclusive``, by where the interval lies."""
    low, high = holds.limits
    closed = holds.between is not None  # a band holds its ends, an open side not its margin
    if low < interval.low and interval.high < high:
        return "reproduced"
    if closed and low <= interval.low and interval.high <= high:
        return "reproduced"
    if interval.high < low or interval.low > high:
        return "contradicted"
    return "inconclusive"


def single_run_side(claim: Claim, interval: statistics.Interval) -> tuple[str, str]:
    """The verdict on a paper's single-run value, and the reason if it is inconclusive."""
    assert claim.width_at_most is not None
    low, high = claim.region.limits
    if interval.high < low or interval.low > high:
        return "contradicted", ""
    width = interval.high - interval.low
    if width <= claim.width_at_most:
        return "reproduced", ""
    return "inconclusive", (
        f"the prediction interval for one run is {width:.3g} wide, "
        f"more than the {claim.width_at_most:g} allowed"
    )


def _judge_one(name: str, claim: Claim, tables: Mapping[str, pd.DataFrame]) -> Judged:
    row: dict[str, Any] = {
        "statement": claim.statement,
        "source": claim.source,
        "paper_value": claim.paper_value,
        "n_seeds": 0,
        "evidence": "",
    }
    rests = _said(claim)
    notes = [claim.note, *claim.doubts.model_dump().values()]
    try:
        found, touched = computed.compute(name, claim, tables, prediction=claim.single_run)
    except NotRun as missing:
        row |= {"verdict": "not run", "note": _sentences([str(missing), *notes])}
        return Judged(row, {**rests, "reasons": [str(missing)]})
    prerequisite: list[str] = []
    if claim.precondition is not None:
        prerequisite, more, precondition = _unmet(name, claim.precondition, tables)
        touched = pd.concat([touched, more]).drop_duplicates()
        rests["precondition"] = precondition
    evidence = weakest(touched)
    blocking = [
        *(["stand-in data cannot bear a verdict"] if evidence == "stand-in" else []),
        *([_few(found.seeds)] if found.seeds < SEEDS_NEEDED else []),
        *prerequisite,
    ]
    if claim.single_run:
        verdict, reason = single_run_side(claim, found.interval)
        if evidence not in ("stand-in", "protocol"):
            blocking.append(
                f"the level of a value says little with evidence {evidence}: it depends on how "
                "long, on how much and how large a network was trained"
            )
    else:
        verdict = side(claim.region, found.interval)
        reason = "the interval reaches across the margin"
        if found.interval.low == found.interval.high:
            reason = "the number of every seed is the margin itself"
    if blocking:
        if verdict != "inconclusive" and evidence != "stand-in" and found.seeds >= SEEDS_NEEDED:
            blocking.append(f"but for that it would be {verdict}")
        verdict = "inconclusive"
    elif verdict == "inconclusive":
        blocking = [reason]
    reasons = [*blocking, *found.reasons]
    row |= {
        "value": found.interval.mean,
        "ci_low": found.interval.low,
        "ci_high": found.interval.high,
        "n_seeds": found.seeds,
        "verdict": verdict,
        "evidence": evidence,
        "note": _sentences([*reasons, rests["tested"], *notes]),
    }
    rests |= {"reasons": reasons, "number": found.basis, "runs": basis.runs(touched)}
    return Judged(row, rests)


def _said(claim: Claim) -> dict[str, Any]:
    """What a claim's basis holds whether or not it was run."""
    tested = f"claimed: {claim.region}"
    if claim.single_run:
        tested = (
            f"the interval is for one further run; the paper's value is taken as {claim.region}"
        )
    return {
        "region": [basis.number(limit) for limit in claim.region.limits],
        "tested": tested,
        "main": claim.main,
        "note": claim.note,
        "doubts": {kind: text for kind, text in claim.doubts.model_dump().items() if text},
        "figures": list(claim.figures),
        "number": None,
        "precondition": None,
        "runs": {},
    }


def weakest(runs: pd.DataFrame) -> str:
    """What the least of these runs bears on."""
    kinds = set(runs["evidence"]) | ({"stand-in"} if runs["stand_in"].any() else set())
    unknown = kinds - set(WEAKEST_FIRST)
    if unknown:
        raise UserError(
            f"runs.csv: evidence {', '.join(sorted(map(str, unknown)))} is not one of "
            f"{', '.join(WEAKEST_FIRST)}"
        )
    return min(kinds, key=WEAKEST_FIRST.index)


def _unmet(
    name: str, condition: Precondition, tables: Mapping[str, pd.DataFrame]
) -> tuple[list[str], pd.DataFrame, dict[str, Any]]:
    """Why the precondition is not met (nothing if it is), the runs it touches, and its basis."""
    said: dict[str, Any] = {"text": condition.text, "holds": str(condition.holds), "met": False}
    try:
        found, touched = computed.compute(name, condition, tables)
    except NotRun as missing:
        none = tables["runs"].iloc[:0]
        return [f"precondition not run: {condition.text} ({missing})"], none, said
    mean, low, high = found.interval
    said |= {"interval": [basis.number(limit) for limit in found.interval], "number": found.basis}
    if found.seeds >= SEEDS_NEEDED and side(condition.holds, found.interval) == "reproduced":
        return [], touched, {**said, "met": True}
    numbers = f"{mean:.3g} [{low:.3g}, {high:.3g}] is not wholly {condition.holds}"
    if found.seeds < SEEDS_NEEDED:
        numbers = _few(found.seeds)
    return [f"precondition unmet: {condition.text} ({numbers})"], touched, said


def _few(seeds: int) -> str:
    counted = {0: "no seed has a value", 1: "only 1 seed has a value"}
    return f"{counted.get(seeds, f'only {seeds} seeds have a value')}, {SEEDS_NEEDED} are needed"


def _sentences(parts: Iterable[str]) -> str:
    return "; ".join(part for part in parts if part)
