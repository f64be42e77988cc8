"""Files of the results folder: written whole or not at all, and read back as they were."""

import contextlib
import importlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forgetting.finished import FinishedStudy


def load(study: str, preset: str = "quick", *, results: Path | str = "results") -> "FinishedStudy":
    """Return what a study has left behind, for plots of your own.

    ``load("collapse").tables["scores"]`` is a data frame; ``checkpoints(run)`` are a run's weights.

    Args:
        study: The study's name.
        preset: The preset it was run with.
        results: The folder of results.

    Raises:
        UserError: There is nothing of the study.
    """
    # Every job imports this module and none reads a finished study. Found by its name, the reader
    # is no part of their fingerprints.
    return importlib.import_module("forgetting.finished").load(study, preset, Path(results))


@contextlib.contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block succeeds.

    The temporary name keeps the suffix, because some writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
