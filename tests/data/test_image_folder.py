"""The user's folders of image files."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetting import sources
from forgetting.data import _image_folder
from forgetting.errors import UserError


def picture(path: Path, value: int, *, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255)).save(path)


def load(folder: Path, **settings):
    return _image_folder.load(folder, "mine", _image_folder.Settings(**settings))


def tree(folder: Path, **options) -> Path:
    for part, count in (("train", 3), ("test", 2)):
        for number, label in enumerate(("cat", "ant")):
            for i in range(count):
                value = 100 * (part == "test") + 10 * number + i
                picture(folder / "mine" / part / label / f"{i}.png", value, **options)
    return folder / "mine"


def test_train_and_test_folders(tmp_path):
    tree(tmp_path)
    dataset = load(tmp_path)
    assert dataset.label_names == ["ant", "cat"]
    assert dataset.train_images.shape == (6, 5, 6, 3)
    assert dataset.train_images[:, 0, 0, 0].tolist() == [10, 11, 12, 0, 1, 2]
    assert (dataset.train_images[..., 2] == 255).all()
    assert dataset.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test_images[:, 0, 0, 0].tolist() == [110, 111, 100, 101]
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]


def test_grey_stays_grey(tmp_path):
    tree(tmp_path, mode="L")
    dataset = load(tmp_path)
    assert dataset.train_images.shape == (6, 5, 6, 1)
    picture(tmp_path / "mine" / "train" / "ant" / "9.png", 7)
    assert load(tmp_path).train_images.shape == (7, 5, 6, 3)


def test_every_fifth_of_a_flat_folder_is_held_out(tmp_path):
    for label in ("a", "b"):
        for i in range(11):
            picture(tmp_path / "mine" / label / f"{i:02}.png", i + 100 * (label == "b"))
    dataset = load(tmp_path)
    assert dataset.test_images[:, 0, 0, 0].tolist() == [4, 9, 104, 109]
    assert dataset.train_images[:9, 0, 0, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10]
    assert dataset.train_labels.tolist() == [0] * 9 + [1] * 9


def test_too_few_to_hold_out(tmp_path):
    picture(tmp_path / "mine" / "a" / "1.png", 1)
    with pytest.raises(UserError, match="class a has no test image"):
        load(tmp_path)


def test_sizes_must_agree_or_be_set(tmp_path):
    odd = tree(tmp_path) / "test" / "cat" / "9.png"
    picture(odd, 3, size=(9, 9))
    with pytest.raises(UserError, match="9x9, others are 6x5") as caught:
        load(tmp_path)
    assert str(odd) in str(caught.value)
    assert load(tmp_path, size=8).test_images.shape == (5, 8, 8, 3)


def test_a_damaged_image_is_named(tmp_path):
    path = tree(tmp_path) / "train" / "ant" / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"1\.png is not an image, or a truncated one"):
        load(tmp_path)
    path.write_text("hello")
    with pytest.raises(UserError, match=r"1\.png is not an image"):
        load(tmp_path)


def test_train_without_test(tmp_path):
    picture(tmp_path / "mine" / "train" / "ant" / "1.png", 1)
    with pytest.raises(UserError, match="holds the folder train alone"):
        load(tmp_path)


def test_linked_folders_count(tmp_path):
    tree(tmp_path).rename(tmp_path / "elsewhere")
    for part in ("train", "test"):
        (tmp_path / "mine" / part).mkdir(parents=True)
        for label in ("ant", "cat"):
            there = tmp_path / "elsewhere" / part / label
            (tmp_path / "mine" / part / label).symlink_to(there, target_is_directory=True)
    assert len(sources.resolve("mine", tmp_path).files) == len(load(tmp_path).train_images) + 4


def test_classes_must_agree(tmp_path):
    picture(tree(tmp_path) / "train" / "bee" / "1.png", 1)
    with pytest.raises(UserError, match="differ in the classes bee"):
        load(tmp_path)


def test_loose_and_hidden_files_are_left_out(tmp_path):
    root = tree(tmp_path)
    (root / "train" / "ant" / "notes.txt").write_text("x")
    picture(root / "train" / "ant" / ".0.png", 77)
    assert len(load(tmp_path).train_images) == 6


def test_it_is_found_and_followed_by_content(tmp_path):
    root = tree(tmp_path)
    cache = tmp_path / "cache.json"
    first = sources.resolve("mine", tmp_path, cache=cache)
    assert first.component == "_image_folder"
    assert len(first.files) == 10
    assert sources.resolve("mine", tmp_path, cache=cache) == first
    assert sources.load(first, tmp_path).source["checksum"] == first.checksum
    picture(root / "train" / "ant" / "0.png", 99)
    assert sources.resolve("mine", tmp_path, cache=cache).checksum != first.checksum
    (root / "train" / "ant" / "0.png").rename(root / "train" / "ant" / "00.png")
    picture(root / "train" / "ant" / "0.png", 10)
    assert sources.resolve("mine", tmp_path).checksum != first.checksum


def test_a_folder_without_images_is_not_there(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="data set mine is not in"):
        sources.resolve("mine", tmp_path)


def test_what_is_no_image_is_left_alone(tmp_path):
    root = tree(tmp_path)
    for name in ("notes.txt", ".hidden.png", "Thumbs.db", "x.npy"):
        (root / "train" / "ant" / name).write_bytes(b"cos\nabort\n(tR.")
    (root / "train" / "ant" / "folder.png").mkdir()
    (root / "train" / "ant" / "loop.png").symlink_to("loop.png")
    (root / "train" / "ant" / "nowhere.png").symlink_to("nowhere")
    (root / "train" / "README").write_text("")
    assert load(tmp_path).train_images.shape == (6, 5, 6, 3)
    assert len(sources.resolve("mine", tmp_path).files) == 10


def test_a_loop_of_folders_ends(tmp_path):
    root = tree(tmp_path)
    (root / "train" / "ant" / "again").symlink_to(root, target_is_directory=True)
    assert load(tmp_path).train_images.shape == (6, 5, 6, 3)
    (root / "train" / "again").symlink_to(root / "train", target_is_directory=True)
    with pytest.raises(UserError, match="class again has no train image"):
        load(tmp_path)


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG that says to have any size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(10_001, 10_001, b""), "has 10001x10001 pixels; an image may have at most"),
        (png(60_000, 60_000, b""), "is not an image"),
        (png(0, 5, b""), "is not an image"),
        (png(6, 5, b"\0" * 10), "is not an image"),
        (png(6, 5, b"\0" * 35)[:-30], "is not an image"),
        (b"", "is not an image"),
        (b"cos\nabort\n(tR.", "is not an image"),
        (b"GIF89a" + b"\xff" * 20, "is not an image"),
        (b"II*\0" + b"\xff" * 20, "is not an image"),
        (b"P5 99999 99999 255 ", "is not an image"),
        # Formats that call other programs, or that nobody asked for.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n%%EndComments\n", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_hostile_images_are_refused_by_name(tmp_path, content, said):
    path = tree(tmp_path) / "train" / "ant" / "1.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{path} {said}")
