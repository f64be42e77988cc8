"""Downsampled ImageNet: 32x32 arrays (Chrabaszcz, Loshchilov & Hutter 2017, arXiv 1707.08819).

``train_data_batch_1.npz`` to ``_10.npz`` and ``val_data.npz`` hold ``data``, (N, 3072) uint8, the
red, green and blue planes of each image, and ``labels``, 1 to 1000. The whole image was resized
to the square, without a crop. The labels are the numbers of ``map_clsloc.txt`` of the ILSVRC
development kit (lines such as ``n02119789 1 kit_fox``), which are not the order of the WordNet
ids, so that file must lie beside the arrays. Nothing is unpickled.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forgetting.content import Digest, Found, check_unpacked, read_bytes
from forgetting.errors import UserError

SIZE = 32
BATCHES = {
    "train": tuple(f"train_data_batch_{number}.npz" for number in range(1, 11)),
    "val": ("val_data.npz",),
}
# The archives' names; their members may lie in folders of these names.
ARCHIVES = {"train": "Imagenet32_train_npz", "val": "Imagenet32_val_npz"}
MAP = "map_clsloc.txt"


def find(root: Path, digest: Digest) -> Found | None:
    """Return the arrays and the map below ``root``, by their content; None if one is missing."""
    files = (root / MAP, *(_place(root, part, file) for part in BATCHES for file in BATCHES[part]))
    if not all(path.is_file() for path in files):
        return None
    return Found(files, digest(root, files), sum(path.stat().st_size for path in files))


def wanted(root: Path) -> list[str]:
    """Return the files to put where."""
    return [
        f"{root}/train_data_batch_1.npz to train_data_batch_10.npz, {root}/val_data.npz",
        f"  (from {ARCHIVES['train']}.zip and {ARCHIVES['val']}.zip, https://image-net.org) and",
        f"  {root / MAP} of the ILSVRC development kit, lines such as n02119789 1 kit_fox",
    ]


def load(root: Path, part: str, classes: Sequence[str], *, count: int) -> list[np.ndarray]:
    """Return the first ``count`` images of each class, (count, 32, 32, 3), or fewer if so few.

    ``part`` is train or val, ``classes`` are WordNet ids. Reads as many batches as it takes.
    """
    numbers = _numbers(root / MAP, classes)
    pieces: dict[str, list[np.ndarray]] = {label: [] for label in classes}
    for file in BATCHES[part]:
        missing = {label: count - sum(map(len, pieces[label])) for label in classes}
        if not any(missing.values()):
            break
        path = _place(root, part, file)
        labels, pixels = _labels(path), _member(path, "data")
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * SIZE**2):
            raise UserError(
                f"{path}: data is {pixels.dtype} of shape {pixels.shape} for {len(labels)} "
                f"labels; needed is uint8 of shape ({len(labels)}, {3 * SIZE**2})"
            )
        for label in classes:
            members = np.flatnonzero(labels == numbers[label])[: missing[label]]
            pieces[label].append(pixels[members])
    return [
        np.concatenate(pieces[label]).reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
        for label in classes
    ]


def _place(root: Path, part: str, file: str) -> Path:
    unpacked = root / ARCHIVES[part] / file
    return unpacked if unpacked.is_file() else root / file


def _numbers(path: Path, classes: Sequence[str]) -> dict[str, int]:
    """Return WordNet id -> label, checked not to be in the order of the ids."""
    take = f"put {MAP} of the ILSVRC development kit there"
    numbers = {}
    for number, line in enumerate(read_bytes(path).decode(errors="replace").splitlines(), 1):
        fields = line.split()
        if len(fields) < 2 or not fields[1].isdecimal():
            raise UserError(
                f"{path}, line {number}: needed is a line such as n02119789 1 kit_fox; {take}"
            )
        numbers[fields[0]] = int(fields[1])
    missing = [label for label in classes if label not in numbers]
    if missing or len({*numbers.values()}) < len(numbers):
        what = f"has no line for {missing[0]}" if missing else "gives one number to two classes"
        raise UserError(f"{path}: {what}; {take}")
    if sorted(numbers, key=numbers.__getitem__) == sorted(numbers):
        raise UserError(
            f"{path}: numbers the classes in the order of their WordNet ids, which is not that "
            f"of the arrays; {take}"
        )
    return numbers


def _labels(path: Path) -> np.ndarray:
    labels = _member(path, "labels")
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or (labels < 1).any():
        raise UserError(f"{path}: labels must be integers from 1, one for each image")
    return labels


def _member(path: Path, key: str) -> np.ndarray:
    try:
        check_unpacked(path)
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[key])
    except UserError:
        raise
    # A damaged zip file makes its readers raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path}: {key} cannot be read ({error}); put the published file there again"
        ) from error
