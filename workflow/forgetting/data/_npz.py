"""The user's own images: ``data_dir/NAME.npz``.

Arrays: ``train_images`` and ``test_images``, uint8, (N, H, W, C) with 1 to 4 channels or
(N, H, W); ``train_labels`` and ``test_labels``, integers 0 to classes - 1, (N,). Optional:
``train_coarse_labels`` and ``test_coarse_labels`` (both or neither), ``label_names`` and
``coarse_label_names`` (one string per class). ``numpy.savez`` and ``savez_compressed`` write it.
Objects and pickles are never loaded.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from forgetting.content import Digest, Found, check_unpacked
from forgetting.datasets import ARRAYS, OPTIONAL, Dataset
from forgetting.errors import UserError
from forgetting.messages import cut
from forgetting.settings import Settings as Base

STAND_IN = False
NAMES = ("label_names", "coarse_label_names")
CHANNELS = 4
PARTS = ("train", "test")


class Settings(Base):
    """A file of arrays has no settings."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return ``data_dir/NAME.npz``, identified by its content, or None."""
    path = data_dir / f"{name}.npz"
    if not path.is_file():
        return None
    return Found((path,), digest(path, [path]), path.stat().st_size)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the file to put where and what it holds."""
    return [
        f"{data_dir / name}.npz with {', '.join(ARRAYS)}",
        f"  (uint8 images N x H x W x C or N x H x W, integer labels; optional: "
        f"{', '.join(OPTIONAL + NAMES)})",
    ]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the data set; UserError names the file and the array that is wrong."""
    path = data_dir / f"{name}.npz"
    arrays = _arrays(path)
    images = {part: _images(arrays[f"{part}_images"], f"{part}_images", path) for part in PARTS}
    if images["train"].shape[1:] != images["test"].shape[1:]:
        raise UserError(
            f"{path}: train_images are {images['train'].shape[1:]} and test_images "
            f"{images['test'].shape[1:]} (height, width, channels); they must be equal"
        )
    present = [key for key in OPTIONAL if key in arrays]
    if len(present) == 1:
        raise UserError(f"{path}: holds {present[0]} alone; give {' and '.join(OPTIONAL)}")
    if "coarse_label_names" in arrays and not present:
        raise UserError(f"{path}: holds coarse_label_names without {' and '.join(OPTIONAL)}")
    levels = {"": "label_names"} | ({"coarse_": "coarse_label_names"} if present else {})
    labels: dict[str, Any] = {}
    names = {}
    for level, key in levels.items():
        names[level] = _names(arrays[key], key, path) if key in arrays else None
        for part in PARTS:
            what = f"{part}_{level}labels"
            labels[what] = _labels(arrays[what], what, path, images=len(images[part]))
        _check_classes(labels, level, path, names=names[level])
    return Dataset(
        name=name,
        train_images=images["train"],
        test_images=images["test"],
        label_names=names[""],
        coarse_label_names=names.get("coarse_"),
        **labels,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays we know, and check their presence."""
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"{path} is not an npz file (or a truncated one); write it with numpy.savez"
            )
        check_unpacked(path)
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in ARRAYS if key not in file.files]
            if missing:
                raise UserError(
                    f"{path}: holds no {', '.join(missing)} (but {', '.join(file.files)}); "
                    f"needed are {', '.join(ARRAYS)}"
                )
            arrays = {}
            for key in file.files:
                if key in ARRAYS + OPTIONAL + NAMES:
                    arrays[key] = np.asarray(_array(file, key, path))
            return arrays
    except UserError:
        raise
    # A damaged zip file makes its readers raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path} is corrupt or truncated: {cut(str(error))}; write it anew"
        ) from error


def _array(file: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    try:
        array = file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UserError(
            f"{path}: {key} holds Python objects, which are never loaded; store numbers "
            "(uint8 images of one size, integer labels, names as strings)"
        ) from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {key} is not an array; write it with numpy.savez")
    return array


def _images(array: np.ndarray, what: str, path: Path) -> np.ndarray:
    if array.dtype != np.uint8:
        problem = f"{what} is {array.dtype}"
        if array.dtype.kind == "f" and np.isnan(array).any():
            problem += " and holds NaN"
        raise UserError(f"{path}: {problem}; images must be uint8, 0 to 255")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or array.shape[3] > CHANNELS:
        raise UserError(
            f"{path}: {what} has shape {array.shape}; needed is (N, height, width) or "
            f"(N, height, width, channels) with 1 to {CHANNELS} channels and no size of 0"
        )
    return array


def _labels(array: np.ndarray, what: str, path: Path, *, images: int) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise UserError(f"{path}: {what} is {array.dtype}; labels must be integers from 0")
    if array.shape != (images,):
        raise UserError(
            f"{path}: {what} has shape {array.shape} for {images} images; needed is ({images},)"
        )
    if int(array.min()) < 0:
        raise UserError(f"{path}: {what} holds {array.min()}; labels are integers from 0")
    if int(array.max()) >= images * 1000:
        raise UserError(f"{path}: {what} holds {array.max()}; labels are 0 to classes - 1")
    return array.astype(np.int64)


def _check_classes(
    labels: dict[str, np.ndarray], level: str, path: Path, *, names: list[str] | None
) -> None:
    """Check that the labels are 0 to classes - 1, with training images for each."""
    train, test = (labels[f"{part}_{level}labels"] for part in PARTS)
    classes = int(train.max()) + 1
    if names is not None and len(names) != classes:
        raise UserError(
            f"{path}: train_{level}labels go to {classes - 1}, but {level}label_names has "
            f"{len(names)} names; needed is one name for each of the labels 0 to classes - 1"
        )
    present = np.unique(train)
    if len(present) < classes:
        first = np.flatnonzero(present != np.arange(len(present)))[0]
        raise UserError(
            f"{path}: train_{level}labels go to {classes - 1}, but {classes - len(present)} labels "
            f"have no image (the first is {first}); number the classes from 0 without gaps"
        )
    if int(test.max()) >= classes:
        raise UserError(
            f"{path}: test_{level}labels hold {test.max()}, but train_{level}labels only 0 to "
            f"{classes - 1}"
        )


def _names(array: np.ndarray, what: str, path: Path) -> list[str]:
    if array.dtype.kind != "U" or array.ndim != 1:
        raise UserError(
            f"{path}: {what} is {array.dtype} of shape {array.shape}; needed is a list of strings"
        )
    return [str(name) for name in array]
