"""One array a class: trees in the published layout, in every type they may be stored in."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from forgetting import datasets, sources
from forgetting.data import continual_imagenet
from forgetting.errors import UserError
from test_sources import prepare

FEW = {"train_images": 6, "test_images": 2}


def classes(data_dir: Path, *, count: int = 12, images: int = 8, store=lambda a: a, size=32):
    """Write the files; return what they hold, (count, images, 3, size, size) uint8."""
    root = data_dir / "continual-imagenet" / "classes"
    root.mkdir(parents=True)
    shape = (count, images, 3, size, size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for number, array in enumerate(pixels):
        np.save(root / f"{number}.npy", store(array))
    return pixels


def load(data_dir: Path, **settings):
    chosen = continual_imagenet.Settings(**{**FEW, **settings})
    return continual_imagenet.load(data_dir, "continual-imagenet", chosen)


STORED = {
    "uint8": lambda a: a,
    "int64": lambda a: a.astype(np.int64),
    "float32": lambda a: a.astype(np.float32),
    "unit float32": lambda a: a.astype(np.float32) / 255,
    "unit float64": lambda a: a / 255,
    "unit float16": lambda a: (a / 255).astype(np.float16),
    "fortran": np.asfortranarray,
}


@pytest.mark.parametrize("kind", STORED)
def test_first_images_train_and_last_test(tmp_path, kind):
    pixels = classes(tmp_path, store=STORED[kind])
    for settings, train, test in (({}, 6, 2), ({"train_images": 3, "test_images": 4}, 3, 4)):
        dataset = load(tmp_path, **settings)
        assert dataset.train_images.shape == (12 * train, 32, 32, 3)
        for number in range(12):
            for part, expected in (
                ("train", pixels[number, :train]),
                ("test", pixels[number, -test:]),
            ):
                images = getattr(dataset, f"{part}_images")
                chosen = images[getattr(dataset, f"{part}_labels") == number]
                np.testing.assert_array_equal(chosen, expected.transpose(0, 2, 3, 1))
    assert not dataset.stand_in
    assert dataset.class_names("fine") == tuple(map(str, range(12)))


def test_the_published_numbers_are_the_defaults(tmp_path):
    pixels = classes(tmp_path, count=2, images=700, size=8)
    dataset = continual_imagenet.load(tmp_path, "continual-imagenet", continual_imagenet.Settings())
    assert (len(dataset.train_images), len(dataset.test_images)) == (1200, 200)
    assert np.array_equal(dataset.test_images[-1], pixels[1, -1].transpose(1, 2, 0))


def test_files_are_in_the_order_of_their_numbers(tmp_path):
    """And not in that of their names, where 10 comes before 2."""
    pixels = classes(tmp_path)
    dataset = load(tmp_path)
    first = dataset.train_images[np.arange(12) * 6]
    np.testing.assert_array_equal(first, pixels[:, 0].transpose(0, 2, 3, 1))


class Bomb:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def written(content):
    return lambda path: np.save(path, content)


GOOD = np.full((8, 3, 32, 32), 7, np.uint8)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (written(GOOD[:7]), r"shape \(7, 3, 32, 32\); needed are at least 6 images to train on"),
        (written(GOOD[..., :16]), r"32x32, as in 0\.npy"),
        (written(GOOD[:, :1]), r"with 3 channels first"),
        (written(GOOD[0]), r"\(3, 32, 32\); needed is an array \(images, channels"),
        (written(GOOD.transpose(0, 2, 3, 1)), r"needed is an array \(images, channels"),
        (written(GOOD.astype(bool)), "bool of shape"),
        (written(GOOD.astype(np.int16) - 8), "pixels from -1 to -1; needed are integers"),
        (written(GOOD * np.int16(40)), "pixels from 280 to 280"),
        (written(GOOD - 7.1), "pixels from -0.1 to -0.1"),
        (written(np.where(GOOD, np.nan, 0)), "pixels from nan to nan"),
        (written(GOOD / 255), r"from 0 to 1, but in .*0\.npy from 0 to 255"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "no array, or a truncated one"),
        (lambda path: path.write_text("nothing"), "no array, or a truncated one"),
        (lambda path: path.rename(path.with_name("12.npy")), r"holds 12 files, and 3\.npy is miss"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, damage, said):
    classes(tmp_path)
    path = tmp_path / "continual-imagenet" / "classes" / "3.npy"
    damage(path)
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path)
    assert str(path.parent) in str(caught.value)


def test_nothing_is_unpickled(tmp_path):
    classes(tmp_path)
    trap = tmp_path / "sprung"
    path = tmp_path / "continual-imagenet" / "classes" / "3.npy"
    path.write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(UserError, match=r"3\.npy is no array"):
        load(tmp_path)
    np.save(path, np.array([Bomb(trap)], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"3\.npy is no array"):
        load(tmp_path)
    assert not trap.exists()


def test_identity_is_names_and_the_content_of_a_few(tmp_path, monkeypatch):
    monkeypatch.setattr(continual_imagenet, "EVERY", 5)
    classes(tmp_path)
    root = tmp_path / "continual-imagenet" / "classes"
    source = sources.resolve("continual-imagenet", tmp_path)
    assert source.component == "continual_imagenet"
    assert [path.name for path in source.files] == ["0.npy", "5.npy", "10.npy"]
    assert source.size == sum(path.stat().st_size for path in source.files)
    np.save(root / "5.npy", GOOD)
    changed = sources.resolve("continual-imagenet", tmp_path)
    assert changed.checksum != source.checksum
    (root / "11.npy").unlink()
    assert sources.resolve("continual-imagenet", tmp_path).checksum != changed.checksum


def test_absent_files_are_listed(tmp_path):
    (tmp_path / "continual-imagenet" / "classes").mkdir(parents=True)
    with pytest.raises(UserError, match=r"/continual-imagenet/classes/0\.npy to 999\.npy, each"):
        sources.resolve("continual-imagenet", tmp_path)


def test_the_command_prepares_it(tmp_path):
    place, out = tmp_path / "raw", tmp_path / "out"
    classes(place)
    wish = {"any_of": "continual-imagenet", "settings": FEW, "images_per_class": 4}
    source = sources.resolve(wish, place)
    done = prepare(source, place, out)
    assert done.returncode == 0, done.stderr
    key = sources.key(source)
    dataset = datasets.read(out / f"{key}.safetensors")
    said = json.loads((out / f"{key}.json").read_text())
    assert (said["shape"], said["classes"], said["stand_in"]) == ([32, 32, 3], 12, False)
    assert np.bincount(dataset.train_labels).tolist() == [4] * 12
    whole = load(place)
    np.testing.assert_array_equal(
        dataset.train_images[dataset.train_labels == 3],
        whole.train_images[whole.train_labels == 3][:4],
    )
