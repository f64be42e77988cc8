"""MNIST: 60,000 and 10,000 handwritten digits, 28x28 grey (LeCun, Cortes & Burges 1998).

The four files as published, with the checksums that torchvision lists; those of the unpacked
files were taken from unpacking the verified ones.
"""

from pathlib import Path

from forgetting.content import Digest, Found
from forgetting.data._idx import Collection, IdxFile
from forgetting.datasets import Dataset
from forgetting.settings import Settings as Base

STAND_IN = False
FILES = Collection(
    folder="MNIST/raw",
    urls=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            9912422,
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "d53e105ee54ea40749a09fcbcd1e9432",
            28881,
            "a25bea736e30d166cdddb491f175f624",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            "9fb629c4189551a2d022fa330f9573f3",
            1648877,
            "2646ac647ad5339dbf082846283269ea",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "ec29112dd5afa0611ce80d1b7f02629c",
            4542,
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    label_names=tuple("0123456789"),
)
PUBLISHED = FILES.published()


class Settings(Base):
    """MNIST has no settings."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the files in ``data_dir/MNIST/raw``, or None when one is missing."""
    return FILES.find(data_dir)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the files to put where."""
    return FILES.wanted(data_dir)


def download(data_dir: Path) -> None:
    """Download the missing files into ``data_dir``."""
    FILES.download(data_dir)


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images, (N, 28, 28, 1), in the published order."""
    return FILES.load(data_dir, name)
