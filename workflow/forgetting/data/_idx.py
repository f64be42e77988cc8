"""Reading of MNIST's IDX files, packed or unpacked, verified before use.

Format (LeCun et al., http://yann.lecun.com/exdb/mnist/): two zero bytes, a byte for the type
(8: unsigned bytes), a byte for the number of dimensions, the dimensions as big-endian 32-bit
integers, then the values.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forgetting.content import Found, check, read_bytes
from forgetting.data._published import fetch, identity
from forgetting.datasets import Dataset
from forgetting.errors import UserError


class IdxFile(NamedTuple):
    """One published file."""

    name: str
    """Without ``.gz``."""
    md5: str
    """Of the file as published, with ``.gz``."""
    size: int
    """Bytes as published."""
    unpacked_md5: str


class Collection(NamedTuple):
    """The four files of a data set and where they are."""

    folder: str
    """Below the data folder, in torchvision's layout."""
    urls: tuple[str, ...]
    """Prefixes of the places of publication."""
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    """Training images, training labels, test images, test labels."""
    label_names: tuple[str, ...]

    def published(self) -> Found:
        """Return the identity of the data set, whichever form its files are in."""
        checksum = identity([file.md5 for file in self.files])
        return Found((), checksum, sum(file.size for file in self.files))

    def find(self, data_dir: Path) -> Found | None:
        """Return the files, packed or unpacked, or None when one is missing."""
        paths = [_place(data_dir / self.folder, file) for file in self.files]
        there = tuple(path for path in paths if path is not None)
        return self.published()._replace(files=there) if len(there) == len(paths) else None

    def wanted(self, data_dir: Path) -> list[str]:
        """Return the files to put where, with their checksums."""
        folder = data_dir / self.folder
        return [
            f"the files published at {self.urls[0]} (as they are, or unpacked without .gz):",
            *(f"  {folder / file.name}.gz  md5 {file.md5}" for file in self.files),
        ]

    def download(self, data_dir: Path) -> None:
        """Download the files that are missing."""
        for file in self.files:
            if _place(data_dir / self.folder, file) is None:
                path = data_dir / self.folder / f"{file.name}.gz"
                fetch([f"{url}{path.name}" for url in self.urls], path, md5=file.md5)

    def load(self, data_dir: Path, name: str) -> Dataset:
        """Return the data set, images as (N, 28, 28, 1)."""
        arrays = [_read(data_dir / self.folder, file) for file in self.files]
        return Dataset(
            name=name,
            train_images=arrays[0][..., None],
            train_labels=arrays[1].astype(np.int64),
            test_images=arrays[2][..., None],
            test_labels=arrays[3].astype(np.int64),
            label_names=list(self.label_names),
        )


def _place(folder: Path, file: IdxFile) -> Path | None:
    for path in (folder / f"{file.name}.gz", folder / file.name):
        if path.is_file():
            return path
    return None


def _read(folder: Path, file: IdxFile) -> np.ndarray:
    path = _place(folder, file)
    assert path is not None, "find comes before load"
    content = read_bytes(path)
    if path.suffix == ".gz":
        content = gzip.decompress(check(content, path, md5=file.md5))
    else:
        check(content, path, md5=file.unpacked_md5)
    return parse(content, path)


def parse(content: bytes, path: Path) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes; UserError names ``path``."""
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
    if content[:3] != b"\0\0\x08" or len(content) != start + int(np.prod(shape, dtype=object)):
        raise UserError(f"{path} is not an IDX file of unsigned bytes, or not a whole one")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
