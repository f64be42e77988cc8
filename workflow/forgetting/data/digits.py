"""Scikit-learn's handwritten digits: 1,797 real grey images of 8x8 pixels, ten classes.

They are the test part of the "Optical Recognition of Handwritten Digits" data set (Alpaydin &
Kaynak, 1998, UCI Machine Learning Repository), installed with scikit-learn, so no download is
needed. Pixels count ink from 0 to 16 and are scaled to bytes. A fifth of each class, drawn once
from a fixed seed, is held out for testing (1,438 training and 359 test images).
"""

from hashlib import sha256
from pathlib import Path

import numpy as np

from forgetting.content import Digest, Found
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.settings import Settings as Base

STAND_IN = True
# Of the pixels and the labels as bytes: a release of scikit-learn with other digits is noticed.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
SPLIT_SEED = 8


class Settings(Base):
    """The digits have no settings."""


def find(data_dir: Path, name: str, digest: Digest) -> Found:
    """Return the digits' identity: they are always there."""
    return Found((), SHA256, 0)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return what to install where the digits are missing."""
    return ["the digits come with scikit-learn; install it"]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the digits, (N, 8, 8, 1), with the fixed split."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.int64)
    if sha256(pixels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest() != SHA256:
        raise UserError(
            "data set digits: the installed scikit-learn has other digits than the ones this "
            "split is defined on; install the pinned release of scikit-learn"
        )
    rng = np.random.default_rng(SPLIT_SEED)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        test[rng.choice(members, size=round(len(members) / 5), replace=False)] = True
    images = np.rint(pixels[..., None] * (255 / 16)).astype(np.uint8)
    return Dataset(
        name=name,
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        label_names=[str(label) for label in range(10)],
        stand_in=STAND_IN,
    )
