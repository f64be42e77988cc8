"""The moments of training whose weights are kept: their names, and which weights they were."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LET_GO = "let-go.json"
"""Names of the checkpoints of a finished run that were deleted on purpose, beside its state."""


def name(task: int, epoch: float | None) -> str:
    """Return the name of a moment; no epoch (None or 0) stands for the end of the task.

    Six digits where they are the whole number, else as many as it has: other epochs, other names.
    """
    if not epoch:
        return f"task-{task}"
    short = f"{epoch:g}"
    return f"task-{task}-epoch-{short if float(short) == epoch else repr(float(epoch))}"


def identity(record: Mapping[str, Any]) -> str:
    """Return a hash of all weights that a run kept, from its run.json."""
    text = json.dumps(record["checkpoints"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def let_go(state: Path) -> set[str]:
    """Return the names of the checkpoints that were let go, from the folder of the run's state."""
    try:
        return set(json.loads((state / LET_GO).read_text()))
    except FileNotFoundError:
        return set()
