"""CIFAR-100: 50,000 and 10,000 colour photographs, 32x32, 100 classes in 20 (Krizhevsky 2009).

The checksums are those that torchvision lists. How the pickles it ships as are read safely is
told in ``forgetting.data._cifar``.
"""

from pathlib import Path

from forgetting.content import Digest, Found
from forgetting.data._cifar import Archive
from forgetting.datasets import Dataset
from forgetting.settings import Settings as Base

STAND_IN = False
ARCHIVE = Archive(
    name="cifar-100-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    size=169001437,
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "7973b15100ade9c7d40fb424638fde48"},
)
PUBLISHED = ARCHIVE.published()


class Settings(Base):
    """CIFAR-100 has no settings."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the archive or its unpacked members in ``data_dir``, or None."""
    return ARCHIVE.find(data_dir)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the files to put where."""
    return ARCHIVE.wanted(data_dir)


def download(data_dir: Path) -> None:
    """Download the archive into ``data_dir``."""
    ARCHIVE.download(data_dir)


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Return the images, (N, 32, 32, 3), with fine and coarse labels, in the published order."""
    return ARCHIVE.load(
        data_dir, name, labels="fine_labels", label_names="fine_label_names", coarse=True
    )
