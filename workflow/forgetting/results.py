"""Files of the results folder: written whole or not at all, and read back as they were."""

import contextlib
import importlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetting.errors import UserError

if TYPE_CHECKING:
    from forgetting.finished import FinishedStudy

_TEMPORARY = re.compile(r"\..*\.\d+-[0-9a-f]{8}(\.\w+)?")


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

    The temporary name keeps the suffix, because some writers choose the format by it. An OSError
    of writing (a full disk, a folder that is read-only) names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # Of a failed write the system names no file; a failed copy names its source first.
        named = {str(name) for name in (error.filename, error.filename2)}
        if error.errno is None or not named & {"None", str(temporary)}:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Delete what processes that were killed while they wrote left in a folder and below it.

    Only for a folder in which nobody else writes now.
    """
    for path in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def read_json(path: Path, *, otherwise: str) -> Any:
    """Return what a JSON file of the results holds.

    Raises:
        UserError: It is missing or damaged; the message ends in ``otherwise``, what to do then.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not there; {otherwise}") from None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); {otherwise}") from None
