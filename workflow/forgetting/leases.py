"""GPUs of one machine, lent to so many jobs each: a GPU has places, and a place is a locked file.

A job takes a free place for as long as it lives; the kernel gives it back when the process ends,
however it ends. The files lie in the temporary folder, where all workflows of a machine find them,
whoever started them. Inside a SLURM job they are that job's own: SLURM has lent it its GPUs, and
numbers them from 0 in every job.

A GPU goes by the id it is known by: an index and a UUID of the same one count as two.
"""

import fcntl
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from forgetting.errors import UserError


class Lease(NamedTuple):
    """A place on a GPU."""

    gpu: str
    """Its id, for CUDA_VISIBLE_DEVICES."""
    descriptor: int
    """The open, locked file; closing it ends the lease, as the end of the process does."""


def visible(setting: str | None, count: int) -> list[str]:
    """Return the ids of the GPUs that a process may use.

    Args:
        setting: CUDA_VISIBLE_DEVICES; None where it is not set.
        count: How many GPUs PyTorch sees.
    """
    if setting is None:
        return [str(index) for index in range(count)]
    ids: list[str] = []
    for text in map(str.strip, setting.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[\w/-]+", text):
            break  # CUDA ends its list there too
        ids.append(text)
    return ids[:count]


def take(
    ids: Sequence[str],
    places: int,
    *,
    waiting: Callable[[str], None],
    look: Callable[[], None] = lambda: None,
    pause: float = 0.5,
) -> Lease:
    """Take a place on one of the GPUs, on one with few jobs first; wait until there is one.

    Args:
        ids: GPUs to choose from.
        places: Jobs that share a GPU.
        waiting: Told once that all places are taken.
        look: Called before every pause; may end the waiting by an exception.
        pause: Seconds between two looks.

    Raises:
        UserError: A file of the lock cannot be opened.
    """
    told = False
    while True:
        for place in range(places):
            for gpu in ids:
                descriptor = _opened(_home(gpu, place))
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                else:
                    return Lease(gpu, descriptor)
        if not told:
            waiting(
                f"all places on GPU {', '.join(ids)} are taken ({places} on each, jobs_per_gpu): "
                "waiting for one"
            )
            told = True
        look()
        time.sleep(pause)


def _home(gpu: str, place: int) -> Path:
    job = os.environ.get("SLURM_JOB_ID")
    scope = f"{platform.node()}-job{job}" if job else platform.node()
    name = f"forgetting-{scope}-gpu{gpu}.slot{place}"
    return Path(tempfile.gettempdir(), re.sub(r"[^\w.-]", "_", name))


def _opened(path: Path) -> int:
    """Open a lock file, or make one that every user of the machine can open."""
    try:
        while True:
            try:
                # Not to be created here: in /tmp that is refused where the file is another user's.
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                usual = os.umask(0o022)
                try:
                    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
                except FileExistsError:
                    continue  # another process was faster
                finally:
                    os.umask(usual)
    except OSError as error:
        raise UserError(
            f"{path}: the lock file of a GPU cannot be opened ({error.strerror}); delete it, or "
            "name another temporary folder (export TMPDIR=/path)"
        ) from None
