"""What the tests of faults share: images, and small disks."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import trainings

Mount = Callable[..., Path]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the description of the prepared toy images."""
    return trainings.prepare(tmp_path_factory.mktemp("results"))


@contextmanager
def _disks(home: Path) -> Iterator[Mount]:
    """Yield a function that mounts a file system of a size (``1m``); skip where it may not."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = home / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    try:
        yield mount
    finally:
        for folder in mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a file system for one test."""
    with _disks(tmp_path) as mount:
        yield mount


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """Return a function that mounts a file system for a file of tests."""
    with _disks(tmp_path_factory.mktemp("disks")) as mount:
        yield mount
