"""CIFAR-10: 50,000 and 10,000 colour photographs, 32x32, ten classes (Krizhevsky 2009).

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
    name="cifar-10-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    size=170498071,
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
)
PUBLISHED = ARCHIVE.published()


class Settings(Base):
    """CIFAR-10 has no settings."""


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
    """Return the images, (N, 32, 32, 3), in the published order."""
    return ARCHIVE.load(data_dir, name, labels="labels", label_names="label_names")
