"""How far each run is, read from its folder while others write it."""

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from forgetting import failure

State = Literal["waiting", "running", "stopped", "failed", "finished", "diverged"]


@dataclass(frozen=True)
class Progress:
    """A run's state; what is not known is None."""

    state: State
    """waiting: never begun; stopped: begun, and no process is at it now; failed: by an error."""
    task: int | None = None
    """Number of the phase in training, from 1."""
    tasks: int | None = None
    accuracy: float | None = None
    """Mean over the tasks evaluated last, by the benchmark's metric."""
    seconds: float | None = None
    """Time spent so far."""
    left: float | None = None
    """Seconds still to go at the present pace."""
    device: str | None = None
    error: str | None = None
    """What ended it, if that was an error."""


def of_run(folder: Path) -> Progress:
    """Return how far the run in a folder is; a folder that is not there is a run that waits."""
    record = _read(folder / "run.json")
    if record is not None:
        return Progress(
            state=record["status"], seconds=record["wall_seconds"], device=record["device"]
        )
    home = folder / ".resume"
    latest = _read(home / "progress.json")
    at_work = _locked(home / "lock")
    error = None if at_work else failure.read(home)
    idle: State = "failed" if error else "waiting" if latest is None else "stopped"
    state: State = "running" if at_work else idle
    if latest is None:
        return Progress(state=state, error=error)
    share, spent = latest["progress"], latest["elapsed"]
    return Progress(
        state=state,
        task=latest["task"],
        tasks=latest["tasks"],
        accuracy=latest["accuracy"],
        seconds=spent,
        left=spent * (1 - share) / share if share > 0 and at_work else None,
        device=latest["device"],
        error=error,
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _locked(path: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
