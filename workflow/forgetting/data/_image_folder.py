"""The user's own images: a folder of image files, one folder per class.

``data_dir/NAME/train/CLASS/*`` and ``data_dir/NAME/test/CLASS/*`` with the same classes; or,
without ``train`` and ``test``, ``data_dir/NAME/CLASS/*``, of which every fifth image of each
class (the 5th, 10th, ... by file name) is held out for testing. Classes are numbered by name.
Images must share one size, or the setting ``size`` resizes them; they are read as grey when all
are grey, as RGB otherwise.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from forgetting.content import Digest, Found
from forgetting.data._pictures import opened
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base

STAND_IN = False
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
HELD_OUT_EVERY = 5


class Settings(Base):
    """How the images are read."""

    size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Height and width to resize to (bicubic), in pixels; null: the images share one size."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the folder's images, identified by names and content, or None without any."""
    root = data_dir / name
    places = ("*/*", "train/*/*", "test/*/*")
    files = tuple(sorted(path for place in places for path in root.glob(place) if _is_image(path)))
    if not files:
        return None
    return Found(files, digest(root, files), sum(path.stat().st_size for path in files))


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the folders to make."""
    root = data_dir / name
    return [
        f"{root}/train/CLASS/*.png and {root}/test/CLASS/*.png",
        f"  (or {root}/CLASS/*.png, of which every fifth is held out for testing)",
    ]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images with the folders' names as classes; UserError names the wrong file."""
    root = data_dir / name
    files = _split(root)
    classes = sorted(files["train"])
    if sorted(files["test"]) != classes:
        different = sorted(set(classes) ^ set(files["test"]))
        raise UserError(f"{root}: train and test differ in the classes {', '.join(different)}")
    arrays: dict[str, Any] = {}
    pictures = {
        part: [_picture(path, settings.size) for label in classes for path in members[label]]
        for part, members in files.items()
    }
    everything = pictures["train"] + pictures["test"]
    grey = all(picture.mode == "L" for _, picture in everything)
    shape = everything[0][1].size
    for path, picture in everything:
        if picture.size != shape:
            raise UserError(
                f"{path} is {picture.size[0]}x{picture.size[1]}, others are "
                f"{shape[0]}x{shape[1]}; set settings: {{size: PIXELS}} to resize all of them"
            )
    for part, members in files.items():
        images = [np.asarray(p if grey else p.convert("RGB")) for _, p in pictures[part]]
        stacked = np.stack(images)
        arrays[f"{part}_images"] = stacked[..., None] if grey else stacked
        arrays[f"{part}_labels"] = np.repeat(
            np.arange(len(classes), dtype=np.int64), [len(members[label]) for label in classes]
        )
    return Dataset(name=name, label_names=classes, **arrays)


def _split(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Return part -> class -> image files."""
    there = [part for part in ("train", "test") if (root / part).is_dir()]
    if len(there) == 1:
        raise UserError(
            f"{root}: holds the folder {there[0]} alone; make train and test, or one folder per "
            "class and neither"
        )
    if there:
        parts = {part: _classes(root / part) for part in ("train", "test")}
    else:
        members = _classes(root)
        parts = {
            "train": {
                label: [path for n, path in enumerate(paths, 1) if n % HELD_OUT_EVERY]
                for label, paths in members.items()
            },
            "test": {
                label: paths[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
                for label, paths in members.items()
            },
        }
    for part, classes in parts.items():
        for label, paths in classes.items():
            if not paths:
                raise UserError(
                    f"{root}: class {label} has no {part} image (without the folders train and "
                    f"test a class needs at least {HELD_OUT_EVERY} images)"
                )
    return parts


def _classes(folder: Path) -> dict[str, list[Path]]:
    classes = {
        path.name: sorted(file for file in path.iterdir() if _is_image(file))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }
    if not classes:
        raise UserError(f"{folder}: holds no folder of images; make one folder per class")
    return classes


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _picture(path: Path, size: int | None) -> Any:
    """Return (path, PIL image) in grey or RGB."""
    from PIL import Image

    found = opened(path)
    if size is not None:
        found = found.resize((size, size), Image.Resampling.BICUBIC)
    return path, found
