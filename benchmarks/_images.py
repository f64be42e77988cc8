"""Images to train on: MNIST where it is at hand, else random ones; and where peers expect them."""

import functools
import struct
from pathlib import Path

import numpy as np

from forgetting import datasets, sources
from forgetting.datasets import Dataset


@functools.cache
def random_images(images: int, *, classes: int = 10, size: int = 28, channels: int = 1) -> Dataset:
    """Return random images of as many classes, in turn; one of each to test on."""
    generator = np.random.default_rng(0)
    shape = (images + classes, size, size, channels)
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    labels = np.arange(images + classes) % classes
    return Dataset("random", pixels[:images], labels[:images], pixels[images:], labels[images:])


@functools.cache
def mnist(data_dir: Path | None, images: int) -> Dataset:
    """Return images of MNIST (or random ones without a folder), one of each digit to test on.

    Neither side of a row evaluates: ours always does, so it gets next to nothing to evaluate.
    """
    if data_dir is None:
        return random_images(images)
    whole = sources.load(sources.resolve("mnist", data_dir), data_dir)
    kept = datasets.first_per_class(whole, train=None, test=1)
    return datasets.Dataset(
        "mnist",
        kept.train_images[:images],
        kept.train_labels[:images],
        kept.test_images,
        kept.test_labels,
    )


def write_mnist(dataset: Dataset, folder: Path) -> None:
    """Write a data set as the four files of MNIST, where torchvision looks for them."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, name in (("train", "train"), ("test", "t10k")):
        images = getattr(dataset, f"{part}_images")
        labels = getattr(dataset, f"{part}_labels").astype(np.uint8)
        head = struct.pack(">IIII", 2051, *images.shape[:3])
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">II", 2049, len(labels))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
