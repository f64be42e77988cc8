"""The prepared form: what is written is read back, and damage is refused by name."""

import hashlib
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetting import datasets
from forgetting.datasets import Dataset
from forgetting.errors import UserError


def make(*, coarse: bool = True, shape: tuple[int, ...] = (5, 4, 3)) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.array([2, 0, 1, 0, 1, 2, 2, 1, 0])
    return Dataset(
        name="toy",
        train_images=rng.integers(0, 256, (9, *shape), dtype=np.uint8),
        train_labels=labels,
        test_images=rng.integers(0, 256, (6, *shape), dtype=np.uint8),
        test_labels=np.array([0, 1, 2, 2, 1, 0]),
        train_coarse_labels=labels // 2 if coarse else None,
        test_coarse_labels=np.array([0, 0, 1, 1, 0, 0]) if coarse else None,
        label_names=["a", "b", "ç"],
        coarse_label_names=["ab", "c"] if coarse else None,
        stand_in=True,
        source={"name": "toy", "checksum": "0", "size": 1},
    )


def same(one: Dataset, other: Dataset) -> bool:
    arrays, others = one.arrays(), other.arrays()
    return (
        arrays.keys() == others.keys()
        and all(
            arrays[k].dtype == others[k].dtype and np.array_equal(arrays[k], others[k])
            for k in arrays
        )
        and all(
            getattr(one, k) == getattr(other, k)
            for k in ("name", "label_names", "coarse_label_names", "stand_in", "source")
        )
    )


def write(dataset: Dataset, folder):
    path = folder / "toy-1234abcd.safetensors"
    datasets.write(dataset, path, path_json=path.with_suffix(".json"), extra={"code": "c0de"})
    return path


@pytest.mark.parametrize("coarse", [True, False])
def test_round_trip(tmp_path, coarse):
    dataset = make(coarse=coarse)
    path = write(dataset, tmp_path)
    assert same(dataset, datasets.read(path))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{path.stem}.json", path.name]
    # As readable as any other file of the results.
    assert path.stat().st_mode == path.with_suffix(".json").stat().st_mode


def test_description(tmp_path):
    dataset = make()
    said = json.loads(write(dataset, tmp_path).with_suffix(".json").read_text())
    pixels = dataset.train_images.reshape(-1, 3) / 255
    np.testing.assert_allclose(said.pop("mean"), pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(said.pop("std"), pixels.std(axis=0), rtol=1e-12)
    assert said == {
        "key": "toy-1234abcd",
        "name": "toy",
        "checksum": datasets.checksum(dataset),
        "stand_in": True,
        "source": {"name": "toy", "checksum": "0", "size": 1},
        "classes": 3,
        "coarse_classes": 2,
        "shape": [5, 4, 3],
        "train_images": 9,
        "test_images": 6,
        "label_names": ["a", "b", "ç"],
        "coarse_label_names": ["ab", "c"],
        "code": "c0de",
    }


def test_the_same_data_give_the_same_bytes(tmp_path):
    digests = set()
    for name in "abcdefgh":
        (tmp_path / name).mkdir()
        path = write(make(), tmp_path / name)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda d: replace(d, train_labels=d.train_labels[::-1].copy()),
        lambda d: replace(d, train_images=d.train_images ^ 1),
        lambda d: replace(d, label_names=["a", "b", "d"]),
        lambda d: replace(d, train_images=d.train_images.reshape(9, 4, 5, 3)),
        lambda d: replace(d, test_coarse_labels=None),
    ],
)
def test_checksum_sees_every_change(change):
    assert datasets.checksum(change(make())) != datasets.checksum(make())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.safetensors: not there"):
        datasets.read(tmp_path / "no.safetensors")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(tmp_path, place, bit):
    dataset = make()
    path = write(dataset, tmp_path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = datasets.read(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert same(dataset, found)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_by_name(tmp_path, share):
    path = write(make(), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="toy-1234abcd"):
        datasets.read(path)


def test_a_flipped_pixel_is_refused(tmp_path):
    path = write(make(), tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"toy-1234abcd\.safetensors: .* checksum"):
        datasets.read(path)


def test_sixty_thousand_images_load_in_well_under_a_second(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(60_000) % 10
    path = write(Dataset("m", images, labels, images[:10_000], labels[:10_000]), tmp_path)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        datasets.read(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_first_per_class_keeps_the_first_in_file_order():
    dataset = datasets.first_per_class(make(), train=2, test=1)
    whole = make()
    assert dataset.train_labels.tolist() == [2, 0, 1, 0, 1, 2]
    np.testing.assert_array_equal(dataset.train_images, whole.train_images[:6])
    np.testing.assert_array_equal(dataset.train_coarse_labels, whole.train_coarse_labels[:6])
    np.testing.assert_array_equal(dataset.test_images, whole.test_images[:3])
    assert dataset.test_labels.tolist() == [0, 1, 2]


def test_first_per_class_keeps_all_by_default():
    assert same(datasets.first_per_class(make(), train=None, test=None), make())


def test_first_per_class_refuses_more_than_there_are():
    with pytest.raises(UserError, match="images_per_class is 4, but a class has only 3"):
        datasets.first_per_class(make(), train=4, test=None)
    with pytest.raises(UserError, match="test_images_per_class is 3, but a class has only 2"):
        datasets.first_per_class(make(), train=None, test=3)
