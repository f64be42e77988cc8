"""The published data sets, on small files in the published formats."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from forgetting import sources
from forgetting.content import Found
from forgetting.data import _cifar, _idx, cifar10, cifar100, fashion_mnist, mnist
from forgetting.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


CONTENT = {
    "train-images": idx(IMAGES),
    "train-labels": idx(LABELS),
    "test-images": idx(IMAGES[:2]),
    "test-labels": idx(LABELS[:2]),
}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}


@pytest.fixture
def small(monkeypatch):
    """MNIST with four small files of known checksums."""
    files = [
        _idx.IdxFile(name, md5(PACKED[name]), len(PACKED[name]), md5(CONTENT[name]))
        for name in CONTENT
    ]
    collection = mnist.FILES._replace(files=tuple(files))
    monkeypatch.setattr(mnist, "FILES", collection)
    monkeypatch.setattr(mnist, "PUBLISHED", collection.published())
    return collection


def put(data_dir: Path, *, packed: bool) -> Path:
    folder = data_dir / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in CONTENT:
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes((PACKED if packed else CONTENT)[name])
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_packed_and_unpacked_are_the_same_data(tmp_path, small, packed):
    put(tmp_path, packed=packed)
    source = sources.resolve("mnist", tmp_path)
    assert sources.to_json(source) == sources.to_json(
        sources.resolve("mnist", tmp_path / "none", download=True)
    )
    dataset = sources.load(source, tmp_path)
    np.testing.assert_array_equal(dataset.train_images, IMAGES[..., None])
    np.testing.assert_array_equal(dataset.train_labels, LABELS)
    np.testing.assert_array_equal(dataset.test_images, IMAGES[:2, ..., None])
    assert dataset.train_labels.dtype == np.int64


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", list(CONTENT))
@pytest.mark.parametrize("damage", ["flip", "truncate", "lengthen", "empty"])
def test_a_damaged_file_is_refused_by_name(tmp_path, small, packed, name, damage):
    path = put(tmp_path, packed=packed) / (f"{name}.gz" if packed else name)
    source = sources.resolve("mnist", tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    path.write_bytes(
        {"flip": content, "truncate": content[:-1], "lengthen": content + b"\0", "empty": b""}[
            damage
        ]
    )
    with pytest.raises(UserError, match="corrupt or truncated") as caught:
        sources.load(source, tmp_path, download=True)
    assert str(path) in str(caught.value)
    assert path.exists()


def test_one_missing_file_is_missing(tmp_path, small):
    (put(tmp_path, packed=True) / "test-labels.gz").unlink()
    with pytest.raises(UserError, match=r"test-labels\.gz  md5 "):
        sources.resolve("mnist", tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1\0", idx(LABELS)[:-1], idx(LABELS) + b"\0"],
)
def test_only_whole_idx_files_are_parsed(content):
    with pytest.raises(UserError, match="x is not an IDX file"):
        _idx.parse(content, Path("x"))


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server of this machine over tmp_path/web."""
    root = tmp_path / "web"
    root.mkdir()
    handler = functools.partial(Handler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield root, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_missing_files_are_downloaded_from_the_first_place_that_works(
    tmp_path, small, server, monkeypatch
):
    root, url = server
    monkeypatch.setattr(mnist, "FILES", small._replace(urls=(f"{url}nowhere/", url)))
    for name, content in PACKED.items():
        (root / f"{name}.gz").write_bytes(content)
    place = tmp_path / "data"
    source = sources.resolve("mnist", place, download=True)
    with pytest.raises(UserError, match="--config download=true"):
        sources.load(source, place)
    assert not place.exists()
    dataset = sources.load(source, place, download=True)
    np.testing.assert_array_equal(dataset.train_labels, LABELS)
    there = sorted(path.name for path in (place / "MNIST" / "raw").iterdir())
    assert there == sorted(f"{name}.gz" for name in PACKED)


def test_a_download_with_a_wrong_checksum_leaves_nothing(tmp_path, small, server, monkeypatch):
    root, url = server
    monkeypatch.setattr(mnist, "FILES", small._replace(urls=(url,)))
    for name in PACKED:
        (root / f"{name}.gz").write_bytes(b"something else")
    place = tmp_path / "data"
    with pytest.raises(UserError, match=r"train-images\.gz .* cannot be downloaded"):
        sources.load(sources.resolve("mnist", place, download=True), place, download=True)
    assert list((place / "MNIST" / "raw").iterdir()) == []


def test_a_download_into_a_place_that_cannot_be_written(tmp_path, small):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "data"
    with pytest.raises(UserError, match="cannot be downloaded; fetch it by hand"):
        sources.load(sources.resolve("mnist", place, download=True), place, download=True)


class Python2Pickler(pickle._Pickler):
    """Writes bytes and arrays the way Python 2 did, which the published batches are written in."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content):
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch[bytes] = save_bytes

    def save_global(self, obj, name=None):
        module = {"numpy._core.multiarray": "numpy.core.multiarray"}.get(
            obj.__module__, obj.__module__
        )
        self.write(f"c{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    dispatch[type(os.mkdir)] = save_global
    dispatch[type] = save_global


def python2(obj: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(obj)
    return stream.getvalue()


def pixels(count: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


HUNDRED = {
    "train": {
        "data": pixels(4, seed=1),
        "fine_labels": [2, 0, 1, 2],
        "coarse_labels": [1, 0, 0, 1],
    },
    "test": {"data": pixels(2, seed=2), "fine_labels": [1, 0], "coarse_labels": [0, 0]},
    "meta": {"fine_label_names": ["a", "b", "c"], "coarse_label_names": ["ab", "c"]},
}


@pytest.fixture
def small_cifar(monkeypatch):
    """CIFAR-100 with small batches of known checksums, and its archive's bytes."""
    batches = {name: python2(batch) for name, batch in HUNDRED.items()}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive = stream.getvalue()
    small = cifar100.ARCHIVE._replace(
        md5=md5(archive),
        train={"train": md5(batches["train"])},
        test={"test": md5(batches["test"])},
        meta={"meta": md5(batches["meta"])},
    )
    monkeypatch.setattr(cifar100, "ARCHIVE", small)
    return archive, batches


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_from_the_archive_and_unpacked(tmp_path, small_cifar, packed):
    archive, batches = small_cifar
    if packed:
        (tmp_path / "cifar-100-python.tar.gz").write_bytes(archive)
    else:
        (tmp_path / "cifar-100-python").mkdir()
        for name, content in batches.items():
            (tmp_path / "cifar-100-python" / name).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    dataset = sources.load(sources.resolve("cifar100", tmp_path), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert dataset.train_images.shape == (4, 32, 32, 3)
    raw = HUNDRED["train"]["data"]
    np.testing.assert_array_equal(dataset.train_images[1, 0, :, 0], raw[1, :32])
    np.testing.assert_array_equal(dataset.train_images[1, 31, :, 2], raw[1, -32:])
    assert dataset.train_labels.tolist() == [2, 0, 1, 2]
    assert dataset.train_coarse_labels.tolist() == [1, 0, 0, 1]
    assert dataset.test_labels.tolist() == [1, 0]
    assert dataset.label_names == ["a", "b", "c"]
    assert dataset.coarse_label_names == ["ab", "c"]


def test_a_damaged_archive_is_refused_by_name(tmp_path, small_cifar):
    path = tmp_path / "cifar-100-python.tar.gz"
    path.write_bytes(small_cifar[0][:-5])
    with pytest.raises(UserError, match=r"cifar-100-python\.tar\.gz is corrupt or truncated"):
        sources.load(sources.resolve("cifar100", tmp_path), tmp_path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_batch_with_a_wrong_checksum_is_not_unpickled(tmp_path, small_cifar):
    trap = tmp_path / "sprung"
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, content in small_cifar[1].items():
        (folder / name).write_bytes(content)
    (folder / "train").write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(UserError, match="train is corrupt or truncated: its md5 is"):
        sources.load(sources.resolve("cifar100", tmp_path), tmp_path)
    assert not trap.exists()


def test_even_with_the_right_checksum_only_arrays_are_rebuilt(tmp_path):
    trap = tmp_path / "sprung"
    for content in (pickle.dumps(Bomb(trap)), python2(Bomb(trap))):
        with pytest.raises(UserError, match="is not allowed"):
            _cifar.unpickle(content, Path("batch"), md5=md5(content))
    assert not trap.exists()


def test_the_checksums_are_those_of_torchvision():
    from torchvision import datasets as published

    for ours, theirs in ((mnist, published.MNIST), (fashion_mnist, published.FashionMNIST)):
        assert [(f"{f.name}.gz", f.md5) for f in ours.FILES.files] == theirs.resources
        assert list(ours.FILES.urls) == theirs.mirrors
        assert ours.FILES.folder == f"{theirs.__name__}/raw"
    for ours, theirs in ((cifar10, published.CIFAR10), (cifar100, published.CIFAR100)):
        archive = ours.ARCHIVE
        assert (archive.name, archive.url) == (theirs.filename, theirs.url)
        assert (archive.md5, archive.folder) == (theirs.tgz_md5, theirs.base_folder)
        assert [list(item) for item in archive.train.items()] == theirs.train_list
        assert [list(item) for item in archive.test.items()] == theirs.test_list
        assert archive.meta == {theirs.meta["filename"]: theirs.meta["md5"]}
    assert fashion_mnist.FILES.label_names == tuple(published.FashionMNIST.classes)


def test_data_sets_have_identities_of_their_own():
    found = [module.PUBLISHED for module in (mnist, fashion_mnist, cifar10, cifar100)]
    assert all(isinstance(item, Found) and item.size > 10**7 for item in found)
    assert len({item.checksum for item in found}) == len(found)
