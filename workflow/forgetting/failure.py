"""Why a training ended without a result: a note in its run's folder, for ``status``."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from forgetting.results import atomic

NAME = "failure.json"


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Note the error that ends the block in a folder that is there; an older note goes."""
    note = folder / NAME
    note.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        # Suppressed: such as a full disk, which may be the error.
        with contextlib.suppress(OSError), atomic(note) as temporary:
            temporary.write_text(json.dumps(str(error) or type(error).__name__))
        raise


def read(folder: Path) -> str | None:
    """Return what was noted, if anything."""
    try:
        return json.loads((folder / NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
