"""The real images, where they are at hand beside the repository."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from forgetting import datasets, sources
from forgetting.errors import UserError

DATA = Path(__file__).parents[3] / "shared" / "data"


def need(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"no {name} in ../shared/data")
    return DATA


@pytest.mark.parametrize(
    ("name", "folder", "first"),
    [
        ("mnist", "MNIST", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
        ("fashion_mnist", "FashionMNIST", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
    ],
)
def test_mnist_and_fashion_mnist(tmp_path, name, folder, first):
    place = need(folder)
    source = sources.resolve(name, place)
    dataset = sources.load(source, place)
    assert dataset.train_images.shape == (60_000, 28, 28, 1)
    assert dataset.test_images.shape == (10_000, 28, 28, 1)
    assert dataset.train_labels[:10].tolist() == first
    assert len(dataset.label_names) == 10
    assert source.size == sum(path.stat().st_size for path in source.files)
    datasets.write(dataset, tmp_path / "m.safetensors", path_json=tmp_path / "m.json")
    assert datasets.checksum(datasets.read(tmp_path / "m.safetensors")) == datasets.checksum(
        dataset
    )


def test_unpacked_files_are_the_same_data(tmp_path):
    from torchvision.datasets import MNIST

    place = need("MNIST")
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (place / "MNIST" / "raw").glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    source = sources.resolve("mnist", tmp_path)
    assert source == sources.resolve("mnist", place)
    unpacked = sources.load(source, tmp_path)
    assert datasets.checksum(unpacked) == datasets.checksum(sources.load(source, place))
    theirs = MNIST(str(tmp_path), train=False)
    np.testing.assert_array_equal(theirs.data.numpy(), unpacked.test_images[..., 0])
    np.testing.assert_array_equal(theirs.targets.numpy(), unpacked.test_labels)
    with (raw / "train-images-idx3-ubyte").open("r+b") as file:
        file.truncate(40_000_000)
    with pytest.raises(UserError, match="train-images-idx3-ubyte is corrupt or truncated"):
        sources.load(source, tmp_path)


@pytest.mark.parametrize(
    ("name", "fallback", "classes", "train", "test"),
    [("cifar100", "cifar100-subset", 100, 150, 50), ("cifar10", "cifar10-subset", 10, 1000, 200)],
)
def test_the_subsets_stand_in_for_cifar(name, fallback, classes, train, test):
    place = need(f"{fallback}.npz")
    source = sources.resolve([name, fallback], place)
    if source.name == name:
        pytest.skip(f"{name} itself is at hand")
    dataset = sources.load(source, place)
    assert dataset.train_images.shape == (classes * train, 32, 32, 3)
    assert np.bincount(dataset.train_labels).tolist() == [train] * classes
    assert np.bincount(dataset.test_labels).tolist() == [test] * classes
    assert len(dataset.label_names) == classes
    assert (dataset.train_coarse_labels is None) == (classes == 10)
    wish = {"any_of": fallback, "images_per_class": 10, "test_images_per_class": 5}
    small = sources.load(sources.resolve(wish, place), place)
    assert np.bincount(small.train_labels).tolist() == [10] * classes
    members = np.flatnonzero(dataset.train_labels == 3)[:10]
    np.testing.assert_array_equal(
        small.train_images[small.train_labels == 3], dataset.train_images[members]
    )


def test_a_truncated_copy_is_refused_by_name(tmp_path):
    place = need("MNIST")
    shutil.copytree(place / "MNIST", tmp_path / "MNIST")
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte\.gz is corrupt or truncated"):
        sources.load(sources.resolve("mnist", tmp_path), tmp_path)
