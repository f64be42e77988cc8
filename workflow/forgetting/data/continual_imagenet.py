"""Continual ImageNet: 1,000 classes of 700 images of 32x32 pixels, an array for each class.

The form in which the code of Dohare et al. (2024, Nature 632, 768-774;
https://github.com/shibhansh/loss-of-plasticity, which names the place to fetch it from) has the
classes of ILSVRC 2012: ``data_dir/continual-imagenet/classes/0.npy`` to ``999.npy``, each an array
(700, 3, 32, 32) with the channels first, of which the first 600 images are trained on and the last
100 tested on. The images are those of ImageNet, and so are the terms of their use. Nothing is
unpickled.

In which type the arrays are stored is not known to us, so that is read off each file: integers are
the pixels, 0 to 255; so are floating-point numbers, rounded, unless all of a file are at most 1:
then 1 stands for 255. Files of both scales together, negative numbers and larger ones are refused.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from forgetting.content import Digest, Found
from forgetting.data._photographs import found
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base

STAND_IN = False
FOLDER = Path("continual-imagenet", "classes")
# The content of every so-many-th file counts, beside the names of all.
EVERY = 100


class Settings(Base):
    """Which images of each class."""

    train_images: Annotated[int, Field(ge=1)] = 600
    """Training images of each class, the first of its file."""
    test_images: Annotated[int, Field(ge=1)] = 100
    """Test images of each class, the last of its file."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the arrays, identified by their names and the content of some, or None without any.

    The arrays are gigabytes, too many to read whenever the workflow is parsed.
    """
    root = data_dir / FOLDER.parent
    files = _files(data_dir)
    if not files:
        return None
    return found(root, {FOLDER.name: [path.name for path in files]}, every=EVERY, digest=digest)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the files to put where."""
    return [
        f"{data_dir / FOLDER}/0.npy to 999.npy, each of shape (700, 3, 32, 32)",
        "  (from https://github.com/shibhansh/loss-of-plasticity, section on Continual ImageNet)",
    ]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images class by class, (N, 32, 32, 3); UserError names the file that is wrong."""
    files = _files(data_dir)
    missing = {*range(len(files))} - {int(path.stem) for path in files}
    if len(files) < 2 or missing:
        raise UserError(
            f"{data_dir / FOLDER}: holds {len(files)} files, and "
            f"{min(missing, default=len(files))}.npy is missing; needed are 0.npy, 1.npy, ... "
            "without gaps"
        )
    counts = {"train": settings.train_images, "test": settings.test_images}
    images: dict[str, np.ndarray] = {}
    scales: dict[float, Path] = {}
    for number, path in enumerate(files):
        array = _array(path)
        if not images:
            shape = array.shape[2:] + array.shape[1:2]
            images = {p: np.empty((len(files) * n, *shape), np.uint8) for p, n in counts.items()}
        if len(array) < sum(counts.values()) or array.shape[2:] + array.shape[1:2] != shape:
            raise UserError(
                f"{path}: shape {array.shape}; needed are at least {counts['train']} images to "
                f"train on and {counts['test']} to test on, with {shape[2]} channels first, "
                f"{shape[0]}x{shape[1]}, as in {files[0].name}"
            )
        scale = _scale(array, path)
        scales.setdefault(scale, path)
        if len(scales) > 1:
            raise UserError(
                f"{path}: pixels from 0 to {255 / scale:g}, but in "
                f"{next(iter(scales.values()))} from 0 to {255 / next(iter(scales)):g}; store all "
                "in one way"
            )
        parts = {"train": array[: counts["train"]], "test": array[-counts["test"] :]}
        for part, count in counts.items():
            pixels = parts[part].transpose(0, 2, 3, 1)
            images[part][number * count : (number + 1) * count] = (
                pixels if array.dtype.kind in "iu" else np.rint(scale * pixels)
            )
    labels = {part: np.repeat(np.arange(len(files)), count) for part, count in counts.items()}
    return Dataset(
        name=name,
        train_images=images["train"],
        train_labels=labels["train"],
        test_images=images["test"],
        test_labels=labels["test"],
    )


def _files(data_dir: Path) -> list[Path]:
    """Return the classes' files, by number."""
    arrays = (path for path in (data_dir / FOLDER).glob("*.npy") if path.stem.isdecimal())
    return sorted(arrays, key=lambda path: int(path.stem))


def _array(path: Path) -> np.ndarray:
    """Return a file's images, (N, C, H, W)."""
    try:
        array = np.load(path, allow_pickle=False)
    # A damaged file makes its reader raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{path} is no array, or a truncated one: {error}; fetch it anew"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 4 or array.shape[1] not in (1, 3):
        what = getattr(array, "shape", "no single array")
        raise UserError(
            f"{path}: {what}; needed is an array (images, channels, height, width) with 1 or 3 "
            "channels"
        )
    if 0 in array.shape or array.dtype.kind not in "iuf":
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}; needed are numbers")
    return array


def _scale(array: np.ndarray, path: Path) -> float:
    """Return what the pixels are multiplied by, 1 or 255."""
    low, high = array.min(), array.max()
    # Written so that a NaN fails.
    if not (low >= 0 and high <= 255):
        raise UserError(
            f"{path}: pixels from {low:g} to {high:g}; needed are integers from 0 to 255, or "
            "floating-point numbers from 0 to 255 or from 0 to 1"
        )
    return 255.0 if array.dtype.kind == "f" and high <= 1 else 1.0
