"""Fashion-MNIST: 60,000 and 10,000 articles of clothing, 28x28 grey (Xiao, Rasul & Vollgraf 2017).

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
    folder="FashionMNIST/raw",
    urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    files=(
        IdxFile(
            "train-images-idx3-ubyte",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            26421880,
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "25c81989df183df01b3e8a0aad5dffbe",
            29515,
            "9018921c3c673c538a1fc5bad174d6f9",
        ),
        IdxFile(
            "t10k-images-idx3-ubyte",
            "bef4ecab320f06d8554ea6380940ec79",
            4422102,
            "8181f5470baa50b63fa0f6fddb340f0a",
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "bb300cfdad3c16e7a12a480ee83cd310",
            5148,
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
    label_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)
PUBLISHED = FILES.published()


class Settings(Base):
    """Fashion-MNIST has no settings."""


def find(data_dir: Path, name: str, digest: Digest) -> Found | None:
    """Return the files in ``data_dir/FashionMNIST/raw``, or None when one is missing."""
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
