"""Classes of ImageNet (ILSVRC 2012; Russakovsky et al. 2015), small: photographs of WordNet nouns.

Two published forms are read. Folders of JPEG files, ``data_dir/imagenet/train/n01440764/*.JPEG``
and ``data_dir/imagenet/val/n01440764/*.JPEG``, as torchvision's ImageFolder has them; of an image
the largest centred square is resized. Or, where there are no such folders, the 32x32 arrays of
``forgetting.data._imagenet_arrays`` in ``data_dir/imagenet32``. The two differ in how images were
made small, so they count as different data.

Which classes: ``imagenet_classes.json`` beside this file names lists and superclasses of WordNet
ids, a choice of ours. The fine label is the class, the coarse label its list or superclass. Only
folders of these classes are looked at. The test images are those of the validation part.
"""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from forgetting.content import Digest, Found
from forgetting.data import _imagenet_arrays as arrays
from forgetting.data._photographs import found, listing, thumbnail
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base

STAND_IN = False
CLASSES = Path(__file__).with_name("imagenet_classes.json")
FOLDER = "imagenet"
ARRAYS = "imagenet32"
# One image of each class and part counts with its content: no class has as many as this.
EVERY = 10_000


class Settings(Base):
    """Which classes, how many images, and how large."""

    classes: list[str] | str = "lists"
    """Names from imagenet_classes.json: lists (``animals_1``) or superclasses (``bird``), one or
    several; ``lists`` and ``superclasses`` stand for all of their kind."""
    size: Annotated[int, Field(ge=8, le=256)] = 32
    """Height and width in pixels; the published arrays have 32 only."""
    train_images: Annotated[int, Field(ge=1)] = 700
    """Training images of each class, the first by file name or in the arrays; there are 732 to
    1,300."""
    test_images: Annotated[int, Field(ge=1, le=50)] = 50
    """Test images of each class."""


@cache
def class_lists() -> dict[str, dict[str, dict[str, str]]]:
    """Return {"lists" or "superclasses": {name: {WordNet id: name of the class}}}."""
    known = json.loads(CLASSES.read_text())
    return {kind: known[kind] for kind in ("lists", "superclasses")}


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the folders of our classes, or the arrays, or None.

    Folders count by the names of all images and the content of the first of each class. The
    choice of classes is part of the identity.
    """
    choice = sha256(json.dumps(class_lists()).encode()).hexdigest()
    root = data_dir / FOLDER
    if folders := _folders(root):
        return found(root, folders, every=EVERY, digest=digest, also=[choice])
    there = arrays.find(data_dir / ARRAYS, digest)
    if there is None:
        return None
    both = sha256(f"{there.checksum} {choice}".encode()).hexdigest()
    return there._replace(checksum=both)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the folders to make, or the arrays to put where."""
    root = data_dir / FOLDER
    return [
        f"{root}/train/n01440764/*.JPEG and {root}/val/n01440764/*.JPEG",
        "  (ILSVRC 2012 from https://image-net.org, a folder per class in both parts; needed are "
        f"the classes of {CLASSES.name} that a study names)",
        "  or, 32x32 only,",
        *(f"  {line}" for line in arrays.wanted(data_dir / ARRAYS)),
    ]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images class by class, (N, size, size, 3); UserError names what is wrong."""
    chosen = _chosen(name, settings)
    classes = {label: noun for members in chosen.values() for label, noun in members.items()}
    coarse = np.repeat(np.arange(len(chosen)), [len(members) for members in chosen.values()])
    content: dict[str, Any] = {}
    for part, place in (("train", "train"), ("test", "val")):
        count = settings.train_images if part == "train" else settings.test_images
        images = _images(data_dir, name, place, list(classes), count=count, size=settings.size)
        for label, members in zip(classes, images, strict=True):
            if len(members) < count:
                raise UserError(
                    f"data set {name} in {data_dir}: settings.{part}_images is {count}, but class "
                    f"{label} ({classes[label]}) has only {len(members)} images in {place}; "
                    "set it to at most that, or complete the files"
                )
        content[f"{part}_images"] = np.concatenate(images)
        content[f"{part}_labels"] = np.repeat(np.arange(len(classes)), count)
        content[f"{part}_coarse_labels"] = np.repeat(coarse, count)
    return Dataset(
        name=name,
        label_names=[f"{label} {noun}" for label, noun in classes.items()],
        coarse_label_names=list(chosen),
        **content,
    )


def _chosen(name: str, settings: Settings) -> dict[str, dict[str, str]]:
    """Return list or superclass -> WordNet id -> name of the class, as the settings name them."""
    kinds = class_lists()
    known = {key: members for lists in kinds.values() for key, members in lists.items()}
    named = [settings.classes] if isinstance(settings.classes, str) else settings.classes
    chosen: dict[str, dict[str, str]] = {}
    for key in named:
        if key not in known and key not in kinds:
            raise UserError(
                f"data set {name}: settings.classes: found {key!r}; allowed are "
                f"{', '.join([*known, *kinds])}"
            )
        chosen |= {each: known[each] for each in kinds.get(key, [key])}
    if not chosen:
        raise UserError(f"data set {name}: settings.classes is empty; write a name such as lists")
    return chosen


def _folders(root: Path) -> dict[str, list[str]]:
    """Return PART/CLASS -> names of its images, for our classes; empty if a part has none."""
    folders: dict[str, list[str]] = {}
    labels = [
        label for lists in class_lists().values() for group in lists.values() for label in group
    ]
    for part in ("train", "val"):
        images = {f"{part}/{label}": listing(root / part / label) for label in labels}
        there = {folder: names for folder, names in images.items() if names}
        if not there:
            return {}
        folders |= there
    return folders


def _images(
    data_dir: Path, name: str, part: str, labels: list[str], *, count: int, size: int
) -> list[np.ndarray]:
    """Return the first images of each class, (count or fewer, size, size, 3)."""
    root = data_dir / FOLDER
    if folders := _folders(root):
        missing = [label for label in labels if f"{part}/{label}" not in folders]
        if missing:
            raise UserError(
                f"{root / part}: {len(missing)} of the {len(labels)} classes needed have no "
                f"folder with JPEG files: {', '.join(missing[:3])}{', ...' * (len(missing) > 3)}"
            )
        files = [(root / part / label, folders[f"{part}/{label}"][:count]) for label in labels]
        return [np.stack([thumbnail(path / file, size) for file in names]) for path, names in files]
    if size != arrays.SIZE:
        raise UserError(
            f"data set {name}: settings.size is {size}, but the arrays in {data_dir / ARRAYS} are "
            f"{arrays.SIZE}x{arrays.SIZE}; set it to {arrays.SIZE}, or put the JPEG files in {root}"
        )
    return arrays.load(data_dir / ARRAYS, part, labels, count=count)
