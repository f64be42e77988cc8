"""Starting the workflow: which code and interpreter jobs use, mistakes as messages, records."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from forgetting.errors import UserError

Found = TypeVar("Found")
DEFAULT_LIMIT = (100, 1)
"""Job starts in so many seconds, of Snakemake's --max-jobs-per-timespan."""
# glibc gives blocks above 128 kB back to the kernel as soon as they are freed and asks for them
# anew, page fault by page fault; activations are such blocks. Keeping them makes a ResNet train
# 1.2 times and predict 1.35 times as fast on one thread. Other C libraries ignore the names.
MALLOC = " ".join(
    [
        "MALLOC_MMAP_THRESHOLD_=33554432",
        "MALLOC_TRIM_THRESHOLD_=2147483647",
        "MALLOC_TOP_PAD_=67108864",
    ]
)


def or_exit(function: Callable[..., Found], *arguments: Any) -> Found:
    """Call a function; a user's mistake ends the program with its message and status 1."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(str(error))


def use_this_clone(root: Path) -> str:
    """Put this interpreter first in PATH; return what makes a shell run the code under ``root``.

    Raises:
        UserError: The repository lies where Snakemake or Python cannot name it.
    """
    if taken := {*"{}:"} & {*str(root)}:
        raise UserError(
            f"{root}: the path of the repository holds {' and '.join(sorted(taken))}, which "
            "Snakemake and Python take for something else; move or rename the folder"
        )
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    package = shlex.quote(str(root / "workflow"))
    return f"export PYTHONPATH={package} PYTHONDONTWRITEBYTECODE=1 {MALLOC}; "


def calm(scheduler: Any) -> None:
    """Take off Snakemake's default limit of job starts, 100 a second, which nothing here reaches.

    With a limit its scheduler (9.27) looks for work again one timespan after every look, and so
    after each of those looks too, for ever: after n jobs n times a second, which after a hundred
    jobs takes a tenth of a core and more. What ends a job wakes it as well. (A longer timespan is
    no way out: the program ends when the last of these timers has. Settings are no way either:
    they are put in place after the Snakefile was read; the scheduler is there when it starts.)
    """
    limiter = getattr(scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None


def guard(results: Path, touching: bool = False) -> None:
    """Refuse to go on with runs that Snakemake has no records of: it would not redo them.

    ``touching``: the user is accepting them (``--touch``).

    Raises:
        UserError: There are runs and no records.
    """
    records = [results / ".snakemake" / kind for kind in ("metadata", "incomplete")]
    if touching or any(folder.is_dir() and any(folder.iterdir()) for folder in records):
        return
    if any((results / ".snakemake").glob("*.db")):
        return
    run = next(results.glob("*/*/runs/*/*/*/*/run.json"), None)
    if run is not None:
        raise UserError(
            f"{results}: holds runs ({run.relative_to(results).parent}, ...) but no records of "
            "how they were made, so what is out of date cannot be told. Copy the hidden folder "
            ".snakemake along with the results, or accept the runs as they are: "
            "snakemake --cores 1 --touch TARGET, or name another place: --config results=PATH"
        )
