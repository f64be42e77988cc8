"""Parquet files that carry their own checksum, so that a damaged one is named and never read.

Parquet's own checksums cover the pages, not what says where they are and what they mean. Here the
SHA-256 of the whole file stands in its metadata, taken with zeros in its own place. To other
programs the files are parquet like any other.
"""

import hashlib
from pathlib import Path

import pyarrow
import pyarrow.parquet

from forgetting.errors import UserError
from forgetting.results import atomic

MARK, EMPTY = b"sha256:", b"0" * 64


def write(table: pyarrow.Table, path: Path) -> None:
    """Write a table with its schema's metadata, whole or not at all."""
    metadata = {**(table.schema.metadata or {}), b"checksum": MARK + EMPTY}
    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), buffer)
    content = bytearray(buffer.getvalue())
    start = content.rindex(MARK) + len(MARK)
    content[start : start + len(EMPTY)] = hashlib.sha256(content).hexdigest().encode()
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read(path: Path) -> pyarrow.Table:
    """Return a table; a file without a checksum, of another program, is read as it is.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    try:
        content = bytearray(path.read_bytes())
        _check(content)
        # Not read_table, which imports what reads whole folders of files.
        return pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).read()
    except (FileNotFoundError, pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a table that can be read ({error}); "
            f"start the workflow again with --forcerun {path}"
        ) from None


def _check(content: bytearray) -> None:
    start = content.rfind(MARK) + len(MARK)
    if start < len(MARK):
        return
    end = start + len(EMPTY)
    found = bytes(content[start:end])
    content[start:end] = EMPTY
    if hashlib.sha256(content).hexdigest().encode() != found:
        raise ValueError("its content does not match its checksum")
