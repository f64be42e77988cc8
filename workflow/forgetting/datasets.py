"""Prepared image data sets: arrays of bytes in one file that loads at the speed of the disk.

Preparing (``python -m forgetting prepare``) turns whatever a data set is published as into uint8
images and integer labels, once; every run after that reads this form. The file is safetensors,
with the names of the classes and a checksum of the arrays in its header; beside it stands a JSON
file with the same description, for the commands that need no pixels.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from forgetting.errors import UserError
from forgetting.results import atomic, read_json

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONAL = ("train_coarse_labels", "test_coarse_labels")


@dataclass(frozen=True)
class Dataset:
    """Training and test images with their labels, as numpy arrays on the host."""

    name: str
    train_images: np.ndarray
    """(N, H, W, C) uint8."""
    train_labels: np.ndarray
    """(N,) int64, 0 to classes - 1."""
    test_images: np.ndarray
    """(M, H, W, C) uint8."""
    test_labels: np.ndarray
    """(M,) int64."""
    train_coarse_labels: np.ndarray | None = None
    """(N,) int64, or None where the data set has no second level of classes."""
    test_coarse_labels: np.ndarray | None = None
    label_names: list[str] | None = None
    coarse_label_names: list[str] | None = None
    stand_in: bool = False
    """Whether it only stands in for real images (verdicts on it say nothing of a paper)."""
    source: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: name, component, settings, checksum and size of the source."""

    def class_names(self, labels: str) -> tuple[str, ...]:
        """Return the names of the ``fine`` or ``coarse`` classes, their numbers where unnamed."""
        fine = labels == "fine"
        numbers = self.train_labels if fine else self.train_coarse_labels
        named = self.label_names if fine else self.coarse_label_names
        if numbers is None:
            return ()
        return tuple(named or map(str, range(int(numbers.max()) + 1)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name, the absent ones left out."""
        named = {name: getattr(self, name) for name in ARRAYS + OPTIONAL}
        return {name: array for name, array in named.items() if array is not None}


def first_per_class(dataset: Dataset, *, train: int | None, test: int | None) -> Dataset:
    """Keep the first ``train`` and ``test`` images of every class, in the order of the file.

    None keeps all. Raises UserError where a class has fewer.
    """
    changes: dict[str, Any] = {}
    for part, count in (("train", train), ("test", test)):
        if count is None:
            continue
        labels = getattr(dataset, f"{part}_labels")
        members = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
        fewest = min(map(len, members))
        if fewest < count:
            setting = "images_per_class" if part == "train" else "test_images_per_class"
            raise UserError(
                f"data set {dataset.name}: {setting} is {count}, but a class has only {fewest} "
                f"{part} images; set {setting} to at most {fewest}"
            )
        kept = np.sort(np.concatenate([indices[:count] for indices in members]))
        for name, array in dataset.arrays().items():
            if name.startswith(part):
                changes[name] = array[kept]
    return replace(dataset, **changes) if changes else dataset


def checksum(dataset: Dataset) -> str:
    """Return the sha256 of the arrays and of the names of the classes."""
    digest = hashlib.sha256()
    for name, array in sorted(dataset.arrays().items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps([dataset.label_names, dataset.coarse_label_names]).encode())
    return digest.hexdigest()


def describe(dataset: Dataset, *, key: str) -> dict[str, Any]:
    """Return what the JSON file beside the prepared arrays says."""
    images = dataset.train_images
    scaled = images.reshape(-1, images.shape[-1])
    coarse = dataset.train_coarse_labels
    return {
        "key": key,
        "name": dataset.name,
        "checksum": checksum(dataset),
        "stand_in": dataset.stand_in,
        "source": dataset.source,
        "classes": int(dataset.train_labels.max()) + 1,
        "coarse_classes": None if coarse is None else int(coarse.max()) + 1,
        "shape": list(images.shape[1:]),
        "train_images": len(images),
        "test_images": len(dataset.test_images),
        "label_names": dataset.label_names,
        "coarse_label_names": dataset.coarse_label_names,
        "mean": [float(x) / 255 for x in scaled.mean(axis=0, dtype=np.float64)],
        "std": [float(x) / 255 for x in scaled.std(axis=0, dtype=np.float64)],
    }


def write(
    dataset: Dataset,
    path: Path,
    *,
    path_json: Path,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the prepared arrays to ``path`` and their description to ``path_json``.

    ``extra`` is added to the description. Each file appears whole or not at all.
    """
    description = {**describe(dataset, key=path.stem), **(extra or {})}
    text = json.dumps(description)
    # One entry only: safetensors writes several in an order that changes from file to file.
    header = json.dumps({"description": text, "seal": _seal(text, description["checksum"])})
    arrays = {name: np.ascontiguousarray(array) for name, array in dataset.arrays().items()}
    with atomic(path) as temporary:
        # Not save_file, which makes a file that only its owner may read.
        temporary.write_bytes(save(arrays, metadata={"forgetting": header}))
    with atomic(path_json) as temporary:
        temporary.write_text(json.dumps(description, indent=1) + "\n")


def again(path: Path) -> str:
    """Return what to do with a prepared file that is missing or damaged."""
    return f"prepare it again: rm -f {path.absolute()}, then start the workflow"


def read(path: Path, *, described: Path | None = None) -> Dataset:
    """Read a prepared data set and check it against its checksum.

    Raises UserError, naming the file, where it is missing, truncated or changed, or where the JSON
    file ``described`` says something else.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["forgetting"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = json.loads(header["description"])
        dataset = Dataset(
            name=metadata["name"],
            label_names=metadata["label_names"],
            coarse_label_names=metadata["coarse_label_names"],
            stand_in=metadata["stand_in"],
            source=metadata["source"],
            **arrays,
        )
        intact = _seal(header["description"], checksum(dataset)) == header["seal"]
    except FileNotFoundError:
        raise UserError(f"{path}: not there; {again(path)}") from None
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a prepared data set ({error}); {again(path)}") from error
    if not intact:
        raise UserError(f"{path}: the content does not match its checksum; {again(path)}")
    if described and read_json(described, otherwise=again(described)) != metadata:
        raise UserError(f"{described}: does not describe {path.name}; {again(described)}")
    return dataset


def _seal(text: str, arrays: str) -> str:
    """Return the checksum of a description together with that of the arrays."""
    return hashlib.sha256(f"{text}\n{arrays}".encode()).hexdigest()
