"""What a data set on disk is identified by: its files and the checksum of their content."""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from forgetting.errors import UserError
from forgetting.results import atomic


class Found(NamedTuple):
    """A data set that is there."""

    files: tuple[Path, ...]
    checksum: str
    size: int
    """Bytes."""


Digest = Callable[[Path, Sequence[Path]], str]
"""(root, files below it) -> sha256 of the files' content."""


def digester(cache: Path | None) -> Digest:
    """Return a function that hashes files, remembering the results in the file ``cache``.

    A remembered checksum is used while every file has the path, size and modification time it
    had; without ``cache`` the content is always read.
    """

    def digest(root: Path, files: Sequence[Path]) -> str:
        if cache is None:
            return _content(root, files)
        known = _remembered(cache)
        place, stamp = str(root.absolute()), _stamp(root, files)
        if known.get(place, {}).get("stamp") != stamp:
            known[place] = {"stamp": stamp, "checksum": _content(root, files)}
            # The cache only saves time: a place that cannot be written must not end the workflow.
            with contextlib.suppress(OSError), atomic(cache) as temporary:
                temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
        return known[place]["checksum"]

    return digest


def check(content: bytes, path: Path | str, *, md5: str) -> bytes:
    """Return ``content`` of the published file ``path`` if its md5 is ``md5``, else raise."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise UserError(
            f"{path} is corrupt or truncated: its md5 is {found}, published is {md5}; delete it "
            "and fetch it again"
        )
    return content


def read_bytes(path: Path) -> bytes:
    """Return the content of a file of the user; UserError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def check_unpacked(path: Path) -> None:
    """Raise UserError for a zip file that unpacks to more than the machine's memory."""
    with zipfile.ZipFile(path) as file:
        size = sum(member.file_size for member in file.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise UserError(
            f"{path}: unpacks to {size / 1e9:,.0f} GB, and this machine's memory is "
            f"{memory / 1e9:,.0f} GB; store fewer or smaller images"
        )


def _remembered(cache: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _stamp(root: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(f"{path.relative_to(root)}\0{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _content(root: Path, files: Sequence[Path]) -> str:
    """One file: its sha256, as sha256sum prints it; a folder: that of its names and checksums."""
    if list(files) == [root]:
        return hashlib.sha256(read_bytes(root)).hexdigest()
    digest = hashlib.sha256()
    for path in files:
        own = hashlib.sha256(read_bytes(path)).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{own}\n".encode())
    return digest.hexdigest()
