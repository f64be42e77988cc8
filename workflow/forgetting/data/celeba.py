"""CelebA: 202,599 aligned faces, 178x218, with 40 binary attributes (Liu et al., ICCV 2015).

The files as published (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), unpacked, in
torchvision's layout. Two attributes make the data set: one is predicted, the other tells two
domains apart. The coarse label is the predicted attribute; the fine label is the cell of both,
so a benchmark can train one domain after the other on the same coarse classes (men, then women).

Of each cell the first images are taken, in the order of the published list, from the published
training and test parts (the validation part is not used); nothing else is decoded. An image is
cut to its central 178x178 square, which holds the whole face, and resized.
"""

import difflib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from forgetting.content import Digest, Found, read_bytes
from forgetting.data._photographs import found, listing, thumbnail
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base

STAND_IN = False
FOLDER = "celeba"
IMAGES = "img_align_celeba"
# Name -> md5 as published; torchvision lists the same.
ATTRIBUTES = ("list_attr_celeba.txt", "75e246fa4810816ffd6ee81facbd244c")
PARTITION = ("list_eval_partition.txt", "d32c9cbf5e040fd4025c592c306e6668")
ARCHIVE = ("img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb")
PARTS = {"0": "train", "1": "validation", "2": "test"}
# About 200 of the images count with their content.
EVERY = 1000


class Settings(Base):
    """Which two attributes, how many images, and how large."""

    attribute: str = "Smiling"
    """The attribute that is predicted, one of the 40, as published (``Mouth_Slightly_Open``)."""
    domain: str = "Male"
    """The attribute that tells the two domains apart."""
    size: Annotated[int, Field(ge=8, le=178)] = 32
    """Height and width in pixels, of the central square resized (bicubic)."""
    train_images: Annotated[int, Field(ge=1)] = 5000
    """Training images of each cell (attribute x domain)."""
    test_images: Annotated[int, Field(ge=1)] = 1000
    """Test images of each cell."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the files, identified by both lists, all names and every 1000th image, or None."""
    root = data_dir / FOLDER
    lists = tuple(root / name for name, _ in (ATTRIBUTES, PARTITION))
    images = listing(root / IMAGES)
    if not images or not all(path.is_file() for path in lists):
        return None
    return found(root, {IMAGES: images}, every=EVERY, digest=digest, lists=lists)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the files to put where, with their checksums."""
    root = data_dir / FOLDER
    return [
        "the files published at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html "
        "(Align&Cropped Images), the images unpacked:",
        *(f"  {root / name}  md5 {md5}" for name, md5 in (ATTRIBUTES, PARTITION)),
        f"  {root / IMAGES}/000001.jpg to 202599.jpg  from {ARCHIVE[0]}, md5 {ARCHIVE[1]}",
    ]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images cell by cell, (N, size, size, 3); UserError names the wrong file."""
    if settings.attribute == settings.domain:
        raise UserError(
            f"data set {name}: settings.attribute and settings.domain are both "
            f"{settings.domain}; name two different attributes"
        )
    root = data_dir / FOLDER
    cells = _cells(root, settings)
    chosen = {
        "train": _first(cells["train"], name, settings, "train_images"),
        "test": _first(cells["test"], name, settings, "test_images"),
    }
    _check_present(root / IMAGES, [image for images in chosen.values() for image in images])
    arrays: dict[str, Any] = {}
    for part, images in chosen.items():
        arrays[f"{part}_images"] = np.stack(
            [thumbnail(root / IMAGES / image, settings.size) for image in images]
        )
        labels = np.repeat(np.arange(4), len(images) // 4)
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_coarse_labels"] = labels // 2
    return Dataset(
        name=name,
        label_names=_cell_names(settings),
        coarse_label_names=[f"not {settings.attribute}", settings.attribute],
        **arrays,
    )


def _cell_names(settings: Settings) -> list[str]:
    """Return the names of the cells: number 2 x attribute + domain."""
    attribute, domain = ([f"not {name}", name] for name in (settings.attribute, settings.domain))
    return [", ".join(pair) for pair in product(attribute, domain)]


def _cells(root: Path, settings: Settings) -> dict[str, list[list[str]]]:
    """Return part -> cell -> names of images, in the order of the list of attributes."""
    parts = _partition(root / PARTITION[0])
    cells: dict[str, list[list[str]]] = {part: [[], [], [], []] for part in PARTS.values()}
    path = root / ATTRIBUTES[0]
    for image, positive, inside in _attributes(path, settings):
        if image not in parts:
            raise UserError(f"{root / PARTITION[0]}: has no line for {image}, which {path} lists")
        cells[parts[image]][2 * positive + inside].append(image)
    return cells


def _attributes(path: Path, settings: Settings) -> Iterator[tuple[str, bool, bool]]:
    """Yield (name of the image, has the attribute, belongs to the domain)."""
    lines = _lines(path)
    again = f"put the published file there (md5 {ATTRIBUTES[1]})"
    header = lines[1].split() if len(lines) > 1 else []
    if not lines or lines[0].strip() != str(len(lines) - 2):
        raise UserError(
            f"{path}: its first line must be the number of images that follow the line of names, "
            f"here {max(len(lines) - 2, 0)}; the file is truncated or another one; {again}"
        )
    for attribute in (settings.attribute, settings.domain):
        if attribute not in header:
            alike = difflib.get_close_matches(attribute, header, n=1)
            hint = f" (did you mean {alike[0]}?)" if alike else ""
            raise UserError(
                f"data set celeba: {attribute!r} is no attribute of {path}{hint}; there are "
                f"{', '.join(header)}"
            )
    columns = [1 + header.index(name) for name in (settings.attribute, settings.domain)]
    for number, line in enumerate(lines[2:], 3):
        fields = line.split()
        values = [fields[column] for column in columns] if len(fields) == 1 + len(header) else []
        if not values or not {*values} <= {"1", "-1"}:
            raise UserError(
                f"{path}, line {number}: needed are an image and {len(header)} values of 1 or -1; "
                f"{again}"
            )
        yield fields[0], values[0] == "1", values[1] == "1"


def _partition(path: Path) -> dict[str, str]:
    """Return image -> part."""
    parts = {}
    for number, line in enumerate(_lines(path), 1):
        image, _, part = line.strip().partition(" ")
        if part.strip() not in PARTS:
            raise UserError(
                f"{path}, line {number}: needed are an image and 0, 1 or 2; put the published "
                f"file there (md5 {PARTITION[1]})"
            )
        parts[image] = PARTS[part.strip()]
    return parts


def _lines(path: Path) -> list[str]:
    return read_bytes(path).decode(errors="replace").rstrip().splitlines()


def _first(cells: list[list[str]], name: str, settings: Settings, setting: str) -> list[str]:
    """Return as many images of each cell as the setting says, cell by cell."""
    count = getattr(settings, setting)
    fewest = min(map(len, cells))
    if fewest < count:
        cell = _cell_names(settings)[[len(images) for images in cells].index(fewest)]
        way = f"set it to at most {fewest}" if fewest else "choose other attributes"
        raise UserError(
            f"data set {name}: settings.{setting} is {count}, but there are only {fewest} images "
            f'of "{cell}" in that part; {way}'
        )
    return [image for images in cells for image in images[:count]]


def _check_present(folder: Path, images: list[str]) -> None:
    there = {*listing(folder)}
    missing = [image for image in images if image not in there]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of the {len(images)} images needed are missing, the first "
            f"is {missing[0]}; unpack {ARCHIVE[0]} (md5 {ARCHIVE[1]}) there again"
        )
