"""Reading of the CIFAR archives (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

The published files are Python pickles, and unpickling can run code. So nothing is unpickled
before the md5 of the very bytes at hand is the published one, and then only by an unpickler that
knows no name but the three that rebuild a numpy array. The archive is read where it lies;
nothing is unpacked to the disk, so the folder may be read-only.
"""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from forgetting.content import Found, check, read_bytes
from forgetting.data._published import fetch, identity
from forgetting.datasets import Dataset
from forgetting.errors import UserError


class Archive(NamedTuple):
    """One published archive and its members."""

    name: str
    url: str
    md5: str
    size: int
    """Bytes as published."""
    folder: str
    """Of the members, inside the archive as in the data folder."""
    train: dict[str, str]
    """Member -> md5."""
    test: dict[str, str]
    meta: dict[str, str]

    def members(self) -> dict[str, str]:
        """Return the md5 of every member."""
        return {**self.train, **self.test, **self.meta}

    def published(self) -> Found:
        """Return the identity of the data set, whichever form its files are in."""
        return Found((), identity([self.md5]), self.size)

    def find(self, data_dir: Path) -> Found | None:
        """Return the archive, or its unpacked members, or None when one is missing."""
        if (data_dir / self.name).is_file():
            return self.published()._replace(files=(data_dir / self.name,))
        paths = tuple(data_dir / self.folder / member for member in self.members())
        return self.published()._replace(files=paths) if all(p.is_file() for p in paths) else None

    def wanted(self, data_dir: Path) -> list[str]:
        """Return the files to put where, with their checksums."""
        return [
            f"the archive published at {self.url}, or the files unpacked from it:",
            f"  {data_dir / self.name}  md5 {self.md5}",
            "  or",
            *(
                f"  {data_dir / self.folder / member}  md5 {md5}"
                for member, md5 in self.members().items()
            ),
        ]

    def download(self, data_dir: Path) -> None:
        """Download the archive."""
        fetch([self.url], data_dir / self.name, md5=self.md5)

    def load(
        self, data_dir: Path, name: str, *, labels: str, label_names: str, coarse: bool = False
    ) -> Dataset:
        """Return the data set, images as (N, 32, 32, 3); the keys are those of its pickles."""
        members = self._members(data_dir)
        parts: dict[str, Any] = {}
        for part, files in (("train", self.train), ("test", self.test)):
            batches = [members[file] for file in files]
            pixels = np.concatenate([batch["data"] for batch in batches])
            parts[f"{part}_images"] = np.ascontiguousarray(
                pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            )
            parts[f"{part}_labels"] = _joined(batches, labels)
            if coarse:
                parts[f"{part}_coarse_labels"] = _joined(batches, "coarse_labels")
        (meta,) = (members[file] for file in self.meta)
        return Dataset(
            name=name,
            label_names=list(meta[label_names]),
            coarse_label_names=list(meta["coarse_label_names"]) if coarse else None,
            **parts,
        )

    def _members(self, data_dir: Path) -> dict[str, Any]:
        archive = data_dir / self.name
        if archive.is_file():
            packed = check(read_bytes(archive), archive, md5=self.md5)
            with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
                contents = {
                    member: tar.extractfile(f"{self.folder}/{member}").read()  # type: ignore[union-attr]
                    for member in self.members()
                }
        else:
            folder = data_dir / self.folder
            contents = {member: read_bytes(folder / member) for member in self.members()}
        return {
            member: unpickle(contents[member], data_dir / self.folder / member, md5=md5)
            for member, md5 in self.members().items()
        }


# The names in a Python 2 pickle of an array, and what they are called today.
NUMPY = {
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
}


class _Unpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and builtin containers, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in NUMPY:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return NUMPY[f"{module}.{name}"]


def unpickle(content: bytes, path: Path, *, md5: str) -> Any:
    """Return the object of a published batch whose md5 is verified first."""
    check(content, path, md5=md5)
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is not a CIFAR batch: {error}") from error


def _joined(batches: list[dict[str, Any]], key: str) -> np.ndarray:
    return np.concatenate([np.asarray(batch[key], dtype=np.int64) for batch in batches])
