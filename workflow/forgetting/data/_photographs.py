"""What published folders of photographs share: a cheap identity, and square thumbnails.

The folders hold hundreds of thousands of files, too many to read, or even to ask for their size,
whenever the workflow is parsed. So they are identified by the names of all files and the content
of a sample of them: a copy that lacks images, was encoded anew or was resized is other data,
while an edit of one single image, which no publication undergoes, may pass.
"""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from forgetting.content import Digest, Found
from forgetting.data._pictures import opened
from forgetting.data._published import identity
from forgetting.errors import UserError

SUFFIXES = (".jpg", ".jpeg")


def listing(folder: Path) -> list[str]:
    """Return the names of the JPEG files of a folder, sorted; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))


def found(
    root: Path,
    folders: Mapping[str, Sequence[str]],
    *,
    every: int,
    digest: Digest,
    lists: Sequence[Path] = (),
    also: Sequence[str] = (),
) -> Found:
    """Return what identifies folders of images: all names, and the content of some files.

    Args:
        root: The folder that the others are in.
        folders: Folder below ``root`` -> names of its images, sorted.
        every: The 1st, (every + 1)th, ... image of each folder is read.
        digest: Hashes files.
        lists: Files that are read in any case.
        also: Further checksums that the data depend on.

    Returns:
        The files that are read, the checksum, and the size in bytes of the files that are read.
    """
    files = (
        *lists,
        *(root / folder / name for folder, names in folders.items() for name in names[::every]),
    )
    names = sha256()
    for folder, members in folders.items():
        names.update("\n".join([f"{folder}/", *members, ""]).encode())
    size = sum(_size(path) for path in files)
    checksum = identity([digest(root, files), names.hexdigest(), *also])
    return Found(files, checksum, size)


def thumbnail(path: Path, size: int) -> np.ndarray:
    """Return the largest centred square of an image, resized (bicubic), (size, size, 3) uint8.

    Raises UserError for a file that is no image, by name.
    """
    from PIL import Image

    whole = opened(path).convert("RGB")
    side = min(whole.size)
    left, top = ((extent - side) // 2 for extent in whole.size)
    # Not the box of resize, which mixes in what lies around the square.
    square = whole.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
