"""Nothing trained is trained twice: locks, signals and the rolling state of a run.

Everything lies in ``RUN/.resume``, which the workflow does not declare as an output (declared
outputs are deleted before a job starts and after it fails). A state belongs to a *key*: the
run's specification, the fingerprint of its code and the content of its inputs. A changed run
never takes up an old state.
"""

import contextlib
import fcntl
import io
import json
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch

from forgetting.results import atomic

LOOK_AGAIN = 0.2
"""Seconds between two looks at a lock that another process has."""


class Signals:
    """Remembers SIGTERM (save and end) and SIGUSR1 (save and go on) while a block runs."""

    def __init__(self) -> None:
        self.end: int | None = None
        self.save = False
        self._previous: dict[int, Any] = {}

    def _received(self, number: int, _: FrameType | None) -> None:
        self.save = True
        if number == signal.SIGTERM:
            self.end = number

    def end_if_asked(self) -> None:
        """End the process if SIGTERM was received."""
        if self.end is not None:
            raise SystemExit(128 + self.end)

    def __enter__(self) -> "Signals":
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._previous[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def locked(folder: Path, signals: Signals, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the run folder's exclusive lock; wait for whoever has it (``waiting`` is told once).

    SIGTERM ends the waiting. The kernel releases the lock when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        told = False
        while not _taken(file):
            if not told:
                waiting()
                told = True
            signals.end_if_asked()
            time.sleep(LOOK_AGAIN)
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Saver:
    """Called at every step: saves a state when it is time or a signal asks for it."""

    def __init__(
        self,
        path: Path,
        state: Callable[[], dict[str, Any]],
        signals: Signals,
        *,
        every: float,
        report: Callable[[], None],
        report_every: float = 5.0,
    ) -> None:
        self._path, self._state, self._signals, self._every = path, state, signals, every
        self._report, self._report_every = report, report_every
        self._next = time.monotonic() + every
        self._next_report = 0.0

    def __call__(self) -> None:
        """Save if due; end the process after saving if SIGTERM was received."""
        now = time.monotonic()
        if now >= self._next_report:
            self._report()
            self._next_report = now + self._report_every
        if self._signals.save or now >= self._next:
            save(self._path, self._state())
            self._signals.save = False
            self._next = time.monotonic() + self._every
        self._signals.end_if_asked()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a tree of tensors and plain values, whole or not at all."""
    # Not straight into the file: of a full disk PyTorch says that a position is unexpected.
    whole = io.BytesIO()
    torch.save(state, whole)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(whole.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> dict[str, Any] | None:
    """Return a saved tree, or None when there is none that can be read.

    A state is only ever read by the run that wrote it, and as plain data (no code runs).
    """
    try:
        # PyTorch writes checksums and does not look at them.
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"{damaged} does not match its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:
        # A state that cannot be read costs time, never a result: the training starts anew.
        path.unlink(missing_ok=True)
        return None


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")
