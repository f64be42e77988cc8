"""The user's npz files: what is read, and everything that is refused."""

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetting.data import _npz
from forgetting.errors import UserError


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (8, 5, 4, 3), dtype=np.uint8),
        "train_labels": np.array([0, 1, 2, 3, 3, 2, 1, 0], dtype=np.uint8),
        "test_images": rng.integers(0, 256, (4, 5, 4, 3), dtype=np.uint8),
        "test_labels": np.array([3, 1, 2, 0], dtype=np.int32),
    }


def coarse() -> dict[str, np.ndarray]:
    return {
        "train_coarse_labels": np.array([0, 0, 1, 1, 1, 1, 0, 0]),
        "test_coarse_labels": np.array([1, 0, 1, 0]),
        "coarse_label_names": np.array(["ab", "cd"]),
        "label_names": np.array(["a", "b", "c", "d"]),
    }


def load(folder: Path, **changes):
    content = {**arrays(), **changes}
    np.savez(folder / "mine.npz", **{k: v for k, v in content.items() if v is not None})
    return _npz.load(folder, "mine", _npz.Settings())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_they_are(tmp_path, save):
    content = {**arrays(), **coarse()}
    save(tmp_path / "mine.npz", **content)
    dataset = _npz.load(tmp_path, "mine", _npz.Settings())
    for name, array in dataset.arrays().items():
        np.testing.assert_array_equal(array, content[name])
        assert array.dtype == (np.uint8 if name.endswith("images") else np.int64)
    assert dataset.label_names == ["a", "b", "c", "d"]
    assert dataset.coarse_label_names == ["ab", "cd"]
    assert not dataset.stand_in


def test_grey_images_gain_a_channel_axis(tmp_path):
    grey = {f"{part}_images": arrays()[f"{part}_images"][..., 0] for part in ("train", "test")}
    dataset = load(tmp_path, **grey)
    assert dataset.train_images.shape == (8, 5, 4, 1)
    np.testing.assert_array_equal(dataset.train_images[..., 0], grey["train_images"])


def test_other_arrays_are_left_alone(tmp_path):
    dataset = load(tmp_path, remark=np.array([{"a": 1}], dtype=object))
    assert len(dataset.train_images) == 8


IMAGES = arrays()["train_images"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_images": IMAGES.astype(np.float32)}, "train_images is float32; images must be"),
        (
            {"train_images": np.full(IMAGES.shape, np.nan)},
            "train_images is float64 and holds NaN",
        ),
        ({"test_images": arrays()["test_images"].astype(np.int64)}, "test_images is int64"),
        ({"train_images": IMAGES[0, 0]}, r"train_images has shape \(4, 3\)"),
        ({"train_images": IMAGES.transpose(0, 3, 1, 2)[..., None]}, "train_images has shape"),
        ({"train_images": np.zeros((8, 3, 5, 6), np.uint8)}, "1 to 4 channels"),
        ({"train_images": IMAGES[:0], "train_labels": arrays()["train_labels"][:0]}, "size of 0"),
        ({"train_images": IMAGES[:, :4]}, "they must be equal"),
        ({"train_images": IMAGES[:7]}, r"train_labels has shape \(8,\) for 7 images"),
        ({"train_labels": None}, "holds no train_labels"),
        ({"test_labels": np.array([0.0, 1.0, 2.0, np.nan])}, "test_labels is float64"),
        ({"train_labels": np.eye(8, 4, dtype=np.uint8)}, r"train_labels has shape \(8, 4\)"),
        ({"train_labels": np.array([-1, 1, 2, 3, 3, 2, 1, 0])}, "train_labels holds -1"),
        ({"train_labels": np.array([1, 2, 3, 4, 4, 3, 2, 1])}, "the first is 0"),
        ({"train_labels": np.array([0, 1, 2, 2**62, 3, 2, 1, 0])}, "train_labels holds 4611686"),
        ({"test_labels": np.array([0, 1, 2, 4])}, "test_labels hold 4"),
        ({"label_names": np.array(["a", "b", "c"])}, "label_names has 3 names"),
        ({"label_names": np.array([1, 2, 3, 4])}, "label_names is int64"),
        ({"train_coarse_labels": np.zeros(8, int)}, "holds train_coarse_labels alone"),
        ({"coarse_label_names": np.array(["a"])}, "holds coarse_label_names without"),
        (
            {**coarse(), "test_coarse_labels": np.array([0, 1, 2, 0])},
            "test_coarse_labels hold 2",
        ),
        ({"train_images": np.array([1, None], dtype=object)}, "train_images holds Python objects"),
        ({"train_labels": np.array([0, 1, 2, 3, 7999, 2, 1, 0])}, "7995 labels have no image"),
        ({"train_labels": np.array([0, 1, 2, 2**64 - 1, 3, 2, 1, 0], np.uint64)}, "holds 1844674"),
        ({"train_labels": np.array([True] * 8)}, "train_labels is bool"),
        ({"train_labels": np.array(list("abcdabcd"))}, "train_labels is <U1"),
        ({"test_labels": np.array([0, 1, 2])}, r"test_labels has shape \(3,\) for 4 images"),
        ({"test_labels": np.int64(3)}, r"test_labels has shape \(\)"),
        ({"test_images": IMAGES[:0], "test_labels": np.zeros(0, int)}, "size of 0"),
        ({"train_images": IMAGES.astype(">u2")}, "train_images is >u2"),
        ({"train_images": IMAGES.astype("M8[s]")}, "train_images is datetime64"),
        ({"train_images": np.zeros(8, [("a", "u1"), ("b", "u1")])}, "train_images is "),
        ({"train_images": np.zeros(8, [("a", object)])}, "train_images holds Python objects"),
        (
            {"label_names": np.array([["a", "b", "c", "d"]])},
            r"label_names is <U1 of shape \(1, 4\)",
        ),
        ({"label_names": np.array([b"a", b"b", b"c", b"d"])}, "label_names is |S1"),
        (
            {"label_names": np.array(["a", "b", "c", 4], dtype=object)},
            "label_names holds Python objects, which are never loaded",
        ),
    ],
)
def test_wrong_arrays_are_refused_by_file_and_name(tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path, **changes)
    assert str(tmp_path / "mine.npz") in str(caught.value)


def test_the_order_in_memory_is_no_matter(tmp_path):
    turned = {key: np.asfortranarray(array) for key, array in arrays().items()}
    dataset = load(tmp_path, **turned)
    for name, array in arrays().items():
        np.testing.assert_array_equal(dataset.arrays()[name], array)


def archive(folder: Path, members: dict[str, bytes], **options: Any) -> Path:
    """Write an npz file member by member, over whole ones."""
    path = folder / "mine.npz"
    np.savez(path, **arrays())
    with zipfile.ZipFile(path) as whole:
        content = {name: whole.read(name) for name in whole.namelist()} | members
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, text in content.items():
            file.writestr(name, text)
    return path


def npy(header: str, *, version: tuple[int, int] = (1, 0), content: bytes = b"") -> bytes:
    """Return a file of one array with any header."""
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + content


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': SHAPE, }\n"
SIZE = 8 * 5 * 4 * 3


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path, version):
    header = HEADER.replace("SHAPE", "(8, 5, 4, 3)")
    images = npy(header, version=version, content=arrays()["train_images"].tobytes())
    archive(tmp_path, {"train_images.npy": images})
    dataset = _npz.load(tmp_path, "mine", _npz.Settings())
    np.testing.assert_array_equal(dataset.train_images, arrays()["train_images"])


@pytest.mark.parametrize(
    "member",
    [
        npy(HEADER.replace("SHAPE", "(8, 5, 4, 3)"), version=(9, 9), content=bytes(SIZE)),
        npy(HEADER.replace("SHAPE", "(8, 5, 4, 3)"), content=bytes(SIZE - 1)),
        npy(HEADER.replace("SHAPE", f"({2**40}, 64, 64, 3)")),
        npy(HEADER.replace("SHAPE", f"({2**62}, {2**62}, 64, 3)")),
        npy(HEADER.replace("SHAPE", f"({'9' * 5000},)")),
        npy(HEADER.replace("SHAPE", "(-8, 5, 4, 3)")),
        npy(HEADER.replace("SHAPE", "('a',)")),
        npy(HEADER.replace("SHAPE", "[8, 5, 4, 3]")),
        npy(HEADER.replace("SHAPE", "(" * 200 + ")" * 200)),
        npy(HEADER.replace("SHAPE", "__import__('os').mkdir('sprung')")),
        npy(HEADER.replace("|u1", "no type").replace("SHAPE", "(8,)")),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (8,), }\n", content=b"cos\nabort\n."),
        npy("not a header"),
        npy("x" * 60_000),
        npy("", content=b""),
        b"\x93NUMPY",
        b"",
        b"cos\nabort\n(tR.",
    ],
    ids=lambda member: repr(member[:40]),
)
def test_a_member_with_any_header_is_refused_by_file(tmp_path, member, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive(tmp_path, {"train_images.npy": member})
    with pytest.raises(UserError, match=r"mine\.npz") as caught:
        _npz.load(tmp_path, "mine", _npz.Settings())
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "sprung").exists()


def test_a_member_that_is_no_array_is_refused(tmp_path):
    path = archive(tmp_path, {"train_images": b"text"})
    with zipfile.ZipFile(path, "w") as file:
        for name in _npz.ARRAYS:
            file.writestr(name, b"text")
    with pytest.raises(UserError, match="is not an array"):
        _npz.load(tmp_path, "mine", _npz.Settings())


def test_a_file_that_unpacks_beyond_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    path = archive(tmp_path, {"more.npy": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2000}.__getitem__)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(UserError, match=r"mine\.npz: unpacks to 0 GB, and this machine's memory"):
        _npz.load(tmp_path, "mine", _npz.Settings())


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path):
    path = archive(tmp_path, {}, compression=zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        said = struct.pack("<I", file.getinfo("train_images.npy").file_size)
    path.write_bytes(content.replace(said, struct.pack("<I", 200)))
    with pytest.raises(UserError, match=r"mine\.npz is corrupt or truncated"):
        _npz.load(tmp_path, "mine", _npz.Settings())


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_never_loaded(tmp_path):
    trap = tmp_path / "sprung"
    with pytest.raises(UserError, match="Python objects"):
        load(tmp_path, train_images=np.array([Bomb(trap)], dtype=object))
    (tmp_path / "mine.npz").write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(UserError, match="not an npz file"):
        _npz.load(tmp_path, "mine", _npz.Settings())
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as file:
        for name in _npz.ARRAYS:
            file.writestr(f"{name}.npy", pickle.dumps(Bomb(trap)))
    with pytest.raises(UserError, match=r"mine\.npz"):
        _npz.load(tmp_path, "mine", _npz.Settings())
    assert not trap.exists()


def test_a_single_array_is_not_an_npz_file(tmp_path):
    np.save(tmp_path / "mine.npy", IMAGES)
    (tmp_path / "mine.npy").rename(tmp_path / "mine.npz")
    with pytest.raises(UserError, match="not an npz file"):
        _npz.load(tmp_path, "mine", _npz.Settings())


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), packed=st.booleans())
def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(tmp_path, place, bit, packed):
    path = tmp_path / "mine.npz"
    (np.savez_compressed if packed else np.savez)(path, **arrays())
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = _npz.load(tmp_path, "mine", _npz.Settings()).arrays()
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        for name, array in arrays().items():
            np.testing.assert_array_equal(found[name], array)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_by_name(tmp_path, share):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"mine\.npz"):
        _npz.load(tmp_path, "mine", _npz.Settings())
