"""CelebA, on small trees in the published layout."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetting import datasets, sources
from forgetting.data import celeba
from forgetting.errors import UserError
from test_sources import prepare

HEADER = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes "
    "No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling "
    "Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young "
)
NAMES = HEADER.split()
COUNT = 60
SMILING, MALE = NAMES.index("Smiling"), NAMES.index("Male")


def image_name(number: int) -> str:
    return f"{number + 1:06}.jpg"


def photograph(path: Path, number: int, *, size: tuple[int, int] = (178, 218)) -> None:
    """Write an image that is no solid colour, different for each number."""
    coarse = np.random.default_rng(number).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)


def tree(data_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write 60 images with their lists; return the attributes (60, 40) and the parts (60,)."""
    rng = np.random.default_rng(1)
    attributes = rng.choice([-1, 1], (COUNT, len(NAMES)))
    parts = np.repeat([0, 1, 2], [36, 8, 16])
    # Each cell of these two gets two images at the least, scattered over the part.
    for part in (0, 2):
        members = np.flatnonzero(parts == part)[1::2][:8]
        attributes[members, SMILING] = [-1, -1, 1, 1] * 2
        attributes[members, MALE] = [-1, 1] * 4
    root = data_dir / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    for number in range(COUNT):
        photograph(root / "img_align_celeba" / image_name(number), number)
    rows = [
        f"{image_name(n)} " + " ".join(f"{value:2d}" for value in row)
        for n, row in enumerate(attributes)
    ]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), HEADER, *rows, ""]))
    (root / "list_eval_partition.txt").write_text(
        "".join(f"{image_name(n)} {part}\n" for n, part in enumerate(parts))
    )
    return attributes, parts


def load(data_dir: Path, **settings) -> datasets.Dataset:
    few = {"train_images": 2, "test_images": 2}
    return celeba.load(data_dir, "celeba", celeba.Settings(**{**few, **settings}))


def expected(data_dir: Path, number: int, size: int) -> np.ndarray:
    with Image.open(data_dir / "celeba" / "img_align_celeba" / image_name(number)) as file:
        square = file.crop((0, 20, 178, 198))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("attribute", "domain", "size"), [("Smiling", "Male", 32), ("Mouth_Slightly_Open", "Young", 16)]
)
def test_cells_hold_the_first_images_of_the_list(tmp_path, attribute, domain, size):
    attributes, parts = tree(tmp_path)
    dataset = load(tmp_path, attribute=attribute, domain=domain, size=size)
    assert dataset.label_names == [
        f"not {attribute}, not {domain}",
        f"not {attribute}, {domain}",
        f"{attribute}, not {domain}",
        f"{attribute}, {domain}",
    ]
    assert dataset.coarse_label_names == [f"not {attribute}", attribute]
    assert not dataset.stand_in
    positive = attributes[:, NAMES.index(attribute)] == 1
    inside = attributes[:, NAMES.index(domain)] == 1
    for part, code in (("train", 0), ("test", 2)):
        numbers = [
            number
            for a in (False, True)
            for d in (False, True)
            for number in np.flatnonzero((parts == code) & (positive == a) & (inside == d))[:2]
        ]
        images = np.stack([expected(tmp_path, int(number), size) for number in numbers])
        np.testing.assert_array_equal(getattr(dataset, f"{part}_images"), images)
        assert getattr(dataset, f"{part}_labels").tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert getattr(dataset, f"{part}_coarse_labels").tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_torchvision_reads_the_same_tree_the_same_way(tmp_path, monkeypatch):
    import torch
    from torchvision.datasets import CelebA
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    tree(tmp_path)
    root = tmp_path / "celeba"
    # Lists that torchvision wants besides.
    for name, header in (
        ("identity_CelebA.txt", ""),
        ("list_bbox_celeba.txt", f"{COUNT}\nimage_id x_1\n"),
        ("list_landmarks_align_celeba.txt", f"{COUNT}\nlefteye_x\n"),
    ):
        (root / name).write_text(header + "".join(f"{image_name(n)} 1\n" for n in range(COUNT)))
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)
    small = Compose([CenterCrop(178), Resize(32, InterpolationMode.BICUBIC)])
    dataset = load(tmp_path)
    for split in ("train", "test"):
        theirs = CelebA(str(tmp_path), split=split, transform=small)
        cells = 2 * theirs.attr[:, SMILING] + theirs.attr[:, MALE]
        chosen = [int(i) for cell in range(4) for i in torch.nonzero(cells == cell)[:2, 0]]
        images = np.stack([np.asarray(theirs[i][0]) for i in chosen])
        np.testing.assert_array_equal(getattr(dataset, f"{split}_images"), images)
        assert getattr(dataset, f"{split}_labels").tolist() == cells[chosen].tolist()


def test_more_images_keep_the_earlier_ones(tmp_path):
    tree(tmp_path)
    few, more = load(tmp_path, train_images=1), load(tmp_path, train_images=2)
    np.testing.assert_array_equal(few.train_images, more.train_images[::2])


def test_only_the_needed_images_are_decoded(tmp_path):
    tree(tmp_path)
    first = load(tmp_path)
    used = {bytes(image) for image in np.concatenate([first.train_images, first.test_images])}
    folder = tmp_path / "celeba" / "img_align_celeba"
    for number in range(COUNT):
        if bytes(expected(tmp_path, number, 32)) not in used:
            (folder / image_name(number)).write_text("no image")
    assert datasets.checksum(load(tmp_path)) == datasets.checksum(first)


def test_an_image_that_is_none_is_named(tmp_path):
    tree(tmp_path)
    folder = tmp_path / "celeba" / "img_align_celeba"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"\.jpg is not an image, or a truncated one"):
        load(tmp_path)


def test_absent_or_incomplete_files_are_listed(tmp_path):
    wanted = (
        f"{tmp_path}/celeba/list_attr_celeba.txt  md5 75e246fa4810816ffd6ee81facbd244c",
        f"{tmp_path}/celeba/list_eval_partition.txt  md5 d32c9cbf5e040fd4025c592c306e6668",
        f"{tmp_path}/celeba/img_align_celeba/000001.jpg to 202599.jpg",
    )

    def refused() -> None:
        with pytest.raises(UserError) as caught:
            sources.resolve("celeba", tmp_path)
        assert all(line in str(caught.value) for line in wanted)
        assert "download=true" not in str(caught.value)

    refused()
    tree(tmp_path)
    assert sources.resolve("celeba", tmp_path).component == "celeba"
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba"):
        path = tmp_path / "celeba" / name
        path.rename(tmp_path / "aside")
        refused()
        (tmp_path / "aside").rename(path)


def test_the_checksums_are_those_that_torchvision_lists():
    from torchvision.datasets import CelebA

    theirs = {(name, md5) for _, md5, name in CelebA.file_list}
    assert {celeba.ATTRIBUTES, celeba.PARTITION, celeba.ARCHIVE} <= theirs


def test_missing_images_are_counted_and_named(tmp_path):
    attributes, parts = tree(tmp_path)
    lost = np.flatnonzero((parts == 0) & (attributes[:, SMILING] == 1))
    lost = lost[attributes[lost, MALE] == 1][:2]
    for number in lost:
        (tmp_path / "celeba" / "img_align_celeba" / image_name(number)).unlink()
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    assert "2 of the 16 images needed are missing" in str(caught.value)
    assert image_name(lost[0]) in str(caught.value)
    assert "unpack img_align_celeba.zip" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attribute": "Smilling"}, r"'Smilling' is no attribute .*did you mean Smiling\?"),
        ({"domain": "male"}, r"'male' is no attribute .*did you mean Male\?"),
        ({"attribute": "Male"}, "both Male; name two different attributes"),
        ({"train_images": 5000}, r"settings\.train_images is 5000, but there are only \d+ images"),
        ({"test_images": 1000}, r"settings\.test_images is 1000, but there are only \d+ images"),
    ],
)
def test_wrong_settings_are_explained(tmp_path, settings, said):
    tree(tmp_path)
    with pytest.raises(UserError, match=said):
        load(tmp_path, **settings)


def test_a_cell_that_is_empty_asks_for_other_attributes(tmp_path):
    tree(tmp_path)
    path = tmp_path / "celeba" / "list_attr_celeba.txt"
    count, header, *rows = path.read_text().splitlines()
    male = [" ".join([*row.split()[: 1 + MALE], "1", *row.split()[2 + MALE :]]) for row in rows]
    path.write_text("\n".join([count, header, *male]))
    with pytest.raises(UserError, match=r'only 0 images of "not Smiling, not Male".*choose other'):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "change", "said"),
    [
        ("list_attr_celeba.txt", 0, "61", "first line must be the number of images .* here 60"),
        ("list_attr_celeba.txt", 40, None, "first line must be the number of images .* here 59"),
        ("list_attr_celeba.txt", 9, "000008.jpg 1 -1", "line 10: needed are an image and 40"),
        (
            "list_attr_celeba.txt",
            9,
            " ".join(["000008.jpg", *["0"] * 40]),
            "line 10: needed are an image and 40 values of 1 or -1",
        ),
        ("list_eval_partition.txt", 4, "000005.jpg 3", "line 5: needed are an image and 0, 1 or 2"),
        ("list_eval_partition.txt", 4, None, "has no line for 000005.jpg"),
    ],
)
def test_damaged_lists_are_refused_by_name(tmp_path, name, line, change, said):
    tree(tmp_path)
    path = tmp_path / "celeba" / name
    lines = path.read_text().splitlines()
    lines[line : line + 1] = [] if change is None else [change]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)


def test_an_empty_list_is_refused(tmp_path):
    tree(tmp_path)
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("")
    with pytest.raises(UserError, match="first line must be the number of images"):
        load(tmp_path)


def test_finding_reads_the_lists_and_a_sample(tmp_path, monkeypatch):
    tree(tmp_path)
    monkeypatch.setattr(celeba, "EVERY", 25)
    read: list[str] = []
    content = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or content(path))
    source = sources.resolve("celeba", tmp_path, cache=tmp_path / "cache.json")
    sample = ["000001.jpg", "000026.jpg", "000051.jpg"]
    assert read == ["list_attr_celeba.txt", "list_eval_partition.txt", *sample]
    assert [path.name for path in source.files] == read
    assert source.size == sum(path.stat().st_size for path in source.files)
    known = len(read)
    assert sources.resolve("celeba", tmp_path, cache=tmp_path / "cache.json") == source
    assert len(read) == known


def test_identity_follows_lists_names_and_sample(tmp_path, monkeypatch):
    tree(tmp_path)
    monkeypatch.setattr(celeba, "EVERY", 25)
    folder = tmp_path / "celeba" / "img_align_celeba"

    def checksum() -> str:
        return sources.resolve("celeba", tmp_path).checksum

    seen = [checksum()]
    os.utime(folder / "000001.jpg", (1, 1))
    assert checksum() == seen[0]
    photograph(folder / "000026.jpg", 999)
    seen.append(checksum())
    (folder / "000031.jpg").rename(folder / "000131.jpg")
    seen.append(checksum())
    with (tmp_path / "celeba" / "list_attr_celeba.txt").open("a") as file:
        file.write("\n")
    seen.append(checksum())
    assert len(set(seen)) == 4
    (folder / "000001.jpg").unlink()
    (folder / "000001.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"000001\.jpg cannot be read"):
        checksum()


def test_the_command_prepares_it(tmp_path):
    place, out = tmp_path / "raw", tmp_path / "out"
    attributes, parts = tree(place)
    settings = {"attribute": "Smiling", "train_images": 3, "test_images": 2, "size": 16}
    source = sources.resolve({"any_of": "celeba", "settings": settings}, place)
    assert source.component == "celeba"
    assert not source.stand_in
    done = prepare(source, place, out)
    assert done.returncode == 0, done.stderr
    key = sources.key(source)
    dataset = datasets.read(out / f"{key}.safetensors")
    said = json.loads((out / f"{key}.json").read_text())
    assert dataset.train_images.shape == (12, 16, 16, 3)
    assert (said["classes"], said["coarse_classes"], said["stand_in"]) == (4, 2, False)
    assert said["label_names"][3] == "Smiling, Male"
    smiling_men = (attributes[:, SMILING] == 1) & (attributes[:, MALE] == 1) & (parts == 0)
    images = [expected(place, int(n), 16) for n in np.flatnonzero(smiling_men)[:3]]
    np.testing.assert_array_equal(dataset.train_images[9:], np.stack(images))
    (place / "celeba" / "img_align_celeba" / "000001.jpg").write_bytes(b"other")
    done = prepare(source, place, tmp_path / "again")
    assert done.returncode == 1
    assert "start the workflow again" in done.stderr
    assert "Traceback" not in done.stderr
