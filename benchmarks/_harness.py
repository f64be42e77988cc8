"""What a row of the suite is, and how it is measured.

A row is some work, timed here and as people would do it instead. The two take turns in one
process, after one turn each that warms up; what counts is the median over turns of the ratio
within a turn, since whatever else a machine is busy with meets both. Every turn returns seconds
for one unit of its work (a step, a batch, the whole); what comes before is not in it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Turn = Callable[[], float]
Clock = Literal["wall", "cpu"]
FEW = 3
_CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
_chosen: Clock = "wall"


class NotMeasured(Exception):
    """Why a row has no numbers here, and what to type to change that."""


@dataclass(frozen=True)
class Scale:
    """How much work is measured."""

    repeats: int = 5
    """Turns that count."""
    tiny: bool = False
    """Whether sizes only show that everything runs."""
    data_dir: Path | None = None
    """Where MNIST lies; without it, random images of its size stand in."""

    def of(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Goal:
    """A limit of the value that a row has."""

    limit: float
    kind: Literal["at least", "at most"] = "at least"

    def met(self, value: float) -> bool:
        return value >= self.limit if self.kind == "at least" else value <= self.limit


@dataclass(frozen=True)
class Floor:
    """What the unit of work cannot do without."""

    operations: float = 0.0
    """Additions and multiplications of its matrix products."""
    bytes: float = 0.0
    """Read or written."""
    among: float = 0.0
    """Bytes that these are of, over and over: what fits into a cache is faster."""
    dtype: str = "float32"
    device: str = "cpu"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    against: str
    ours: Turn
    theirs: Turn | None = None
    goal: Goal | None = None
    value: Literal["ratio", "cost", "over floor", "seconds", "share"] = "ratio"
    """What is judged. ratio: theirs over ours; cost: ours over theirs; share: ours as it is."""
    unit: str = ""
    """What the seconds are for: "a step"."""
    floor: Floor | None = None
    most: int = 100
    """Turns that are enough, where one takes long."""
    remark: Callable[[], str] = lambda: ""
    """Called after the turns."""
    hardware: str = ""
    """What is not there, so that the turns only show that the code runs."""

    @classmethod
    def alone(cls, work: str, ours: Turn, limit: float, **more: Any) -> "Row":
        """Return a row that is against nothing: seconds, unless told, of which there is a most."""
        goal = Goal(limit, "at most")
        return cls(work, "-", ours, goal=goal, **{"value": "seconds", **more})


@dataclass(frozen=True)
class Measured:
    """A row's numbers."""

    row: Row
    ours: tuple[float, ...] = ()
    theirs: tuple[float, ...] = ()
    floor: float = float("nan")
    """Seconds."""
    remark: str = ""
    reason: str = ""
    """Why there are no numbers."""

    @property
    def values(self) -> list[float]:
        """The judged value of every turn."""
        pairs = zip(self.ours, self.theirs, strict=False)
        match self.row.value:
            case "ratio":
                return [other / mine for mine, other in pairs]
            case "cost":
                return [mine / other for mine, other in pairs]
            case "over floor":
                return [seconds / self.floor for seconds in self.ours]
        return list(self.ours)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def use_clock(clock: Clock) -> None:
    """Time wall clock, or this process's CPU seconds (for a machine that is busy otherwise)."""
    global _chosen
    _chosen = clock


def chosen_clock() -> Clock:
    return _chosen


def now() -> float:
    """Return the time of the chosen clock, in seconds."""
    return _CLOCKS[_chosen]()


def measure(row: Row, repeats: int, floor: Callable[[Floor], float]) -> Measured:
    """Take the turns of a row; ``floor`` says how many seconds its least work takes here."""
    sides: list[Turn] = [row.ours] if row.theirs is None else [row.ours, row.theirs]
    seconds: list[list[float]] = [[] for _ in sides]
    try:
        if row.hardware:
            for side in sides:
                side()
            return Measured(row, reason=f"{row.hardware}; its code ran on the CPU at a tiny size")
        # What takes so long that a few turns are enough needs no warming up.
        for turn in range(0 if row.most <= FEW else -1, min(repeats, row.most)):
            for side, found in zip(sides, seconds, strict=True):
                spent = side()
                if turn >= 0:
                    found.append(spent)
    except NotMeasured as reason:
        return Measured(row, reason=str(reason))
    least = floor(row.floor) if row.floor else float("nan")
    return Measured(row, *map(tuple, [*seconds, ()][:2]), floor=least, remark=row.remark())
