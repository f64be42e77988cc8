"""ImageNet, on small trees in both published forms, and our choice of its classes."""

import fnmatch
import importlib.util
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetting import datasets, sources
from forgetting.data import imagenet
from forgetting.errors import UserError
from test_sources import prepare

LISTS = ("animals_1", "animals_2", "artifacts_1", "artifacts_2")
KNOWN = {
    name: members for kind in imagenet.class_lists().values() for name, members in kind.items()
}
IDS = [label for members in KNOWN.values() for label in members]
FEW = {"train_images": 3, "test_images": 2}


def photograph(path: Path, seed: int, *, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    picture.save(path, format="JPEG", quality=90)


def folders(data_dir: Path, *names: str) -> Path:
    """Write folders of 4 training and 3 validation images for lists of classes."""
    root = data_dir / "imagenet"
    number = 0
    for label in (label for name in names for label in KNOWN[name]):
        for part, count in (("train", 4), ("val", 3)):
            for i in range(count):
                number += 1
                file = (
                    f"{label}_{i}.JPEG" if part == "train" else f"ILSVRC2012_val_{number:08}.JPEG"
                )
                size = [(60, 45), (41, 58), (50, 50)][number % 3]
                photograph(root / part / label / file, number, size=size)
    return root


def arrays(data_dir: Path, *, per_batch: int = 1, under: bool = False) -> dict[str, np.ndarray]:
    """Write the eleven files and the map; return WordNet id -> (10 x per_batch, 32, 32, 3)."""
    rng = np.random.default_rng(3)
    root = data_dir / "imagenet32"
    numbers = dict(zip(rng.permutation(IDS), range(1, len(IDS) + 1), strict=True))
    drawn: dict[str, list[np.ndarray]] = {label: [] for label in IDS}
    for file in [*(f"train_data_batch_{n}" for n in range(1, 11)), "val_data"]:
        count = 2 if file == "val_data" else per_batch
        labels = rng.permutation(np.repeat(list(numbers), count))
        images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        for label, image in zip(labels, images, strict=True):
            drawn[str(label)].append(image)
        folder = root
        if under:
            folder /= "Imagenet32_val_npz" if file == "val_data" else "Imagenet32_train_npz"
        folder.mkdir(parents=True, exist_ok=True)
        planes = [images[..., channel].reshape(len(images), -1) for channel in range(3)]
        flat = np.concatenate(planes, axis=1)
        codes = np.array([numbers[label] for label in labels])
        np.savez(folder / f"{file}.npz", data=flat, labels=codes, mean=flat.mean(axis=0))
    lines = [f"{label} {number} some_thing\n" for label, number in numbers.items()]
    (root / "map_clsloc.txt").write_text("".join(lines))
    return {label: np.stack(images) for label, images in drawn.items()}


def load(data_dir: Path, classes: list[str] | str, **settings) -> datasets.Dataset:
    return imagenet.load(
        data_dir, "imagenet", imagenet.Settings(classes=classes, **{**FEW, **settings})
    )


def test_four_lists_of_ten_and_eight_superclasses_of_six_share_no_class():
    kinds = imagenet.class_lists()
    assert {name: len(members) for name, members in kinds["lists"].items()} == dict.fromkeys(
        LISTS, 10
    )
    assert [len(members) for members in kinds["superclasses"].values()] == [6] * 8
    assert len({*IDS}) == len(IDS) == 88
    nouns = [noun for members in KNOWN.values() for noun in members.values()]
    assert len({*nouns}) == len(nouns)
    assert "choice of ours" in " ".join(json.loads(imagenet.CLASSES.read_text())["about"])


def synsets() -> tuple[list[str], dict[str, str]]:
    """Return the ids of the 1,000 classes, sorted, and id -> its words, from timm's files."""
    # Only files are needed: timm itself, and its import of torch, are not.
    spec = importlib.util.find_spec("timm")
    if spec is None:
        pytest.skip("timm is not installed")
    info = Path(spec.submodule_search_locations[0]) / "data" / "_info"
    words = dict(
        line.split("\t", 1)
        for line in (info / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    )
    return (info / "imagenet_synsets.txt").read_text().split(), words


def test_every_class_is_one_of_imagenets_by_id_and_name():
    known, words = synsets()
    assert len(known) == 1000
    for members in KNOWN.values():
        for label, noun in members.items():
            assert label in known
            assert words[label].split(", ")[0] == noun


def test_animals_are_animals_and_artifacts_artifacts():
    known, words = synsets()
    # Sorted ids: the animals go to the puffer, the artifacts from the abacus to the yurt.
    animals = known[: 1 + [words[label].split(",")[0] for label in known].index("puffer")]
    first, last = (
        next(i for i, label in enumerate(known) if words[label].startswith(noun))
        for noun in ("abacus", "yurt")
    )
    assert len(animals) == first
    artifacts = known[first : last + 1]
    for name, kind in (
        *((name, animals) for name in ("animals_1", "animals_2", "bird", "dog", "insect")),
        *((name, artifacts) for name in ("artifacts_1", "artifacts_2", "furniture")),
        *((name, artifacts) for name in ("motor_vehicle", "musical_instrument", "watercraft")),
        ("fruit", known[last + 1 :]),
    ):
        assert {*KNOWN[name]} <= {*kind}, name


def test_ids_and_names_are_in_the_order_of_torchvisions_categories():
    from torchvision.models import ResNet18_Weights

    categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    nouns = {label: noun for members in KNOWN.values() for label, noun in members.items()}
    # Torchvision's classes are sorted by id, and it names them by number only.
    places = [categories.index(nouns[label]) for label in sorted(nouns)]
    assert places == sorted(places)


def test_the_class_lists_are_installed_with_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["forgetting.data"]
    assert any(fnmatch.fnmatch(imagenet.CLASSES.name, pattern) for pattern in patterns)


def test_folders_are_read_as_torchvision_reads_them(tmp_path):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    root = folders(tmp_path, "animals_1", "bird")
    dataset = load(tmp_path, ["animals_1", "bird"], size=16)
    assert dataset.coarse_label_names == ["animals_1", "bird"]
    assert dataset.label_names[0] == "n01443537 goldfish"
    assert not dataset.stand_in
    for part, place, count in (("train", "train", 3), ("test", "val", 2)):
        theirs = ImageFolder(str(root / place))
        images = getattr(dataset, f"{part}_images")
        labels = getattr(dataset, f"{part}_labels")
        coarse = getattr(dataset, f"{part}_coarse_labels")
        assert images.shape == (16 * count, 16, 16, 3)
        assert coarse.tolist() == [0] * 10 * count + [1] * 6 * count
        for number, name in enumerate(dataset.label_names):
            label = name.split()[0]
            members = [i for i, c in enumerate(theirs.targets) if theirs.classes[c] == label]
            for i, image in zip(members[:count], images[labels == number], strict=True):
                photo = theirs[i][0]
                square = CenterCrop(min(photo.size))(photo)
                small = Resize(16, InterpolationMode.BICUBIC)(square)
                # Torchvision rounds half a pixel to the other side now and then.
                if sum(photo.size) % 2 == 0:
                    np.testing.assert_array_equal(image, np.asarray(small))
                left, top = ((side - min(photo.size)) // 2 for side in photo.size)
                box = (left, top, left + min(photo.size), top + min(photo.size))
                ours = photo.crop(box).resize((16, 16), Image.Resampling.BICUBIC)
                np.testing.assert_array_equal(image, np.asarray(ours))


@pytest.mark.parametrize("under", [False, True])
def test_arrays_follow_the_map(tmp_path, under):
    drawn = arrays(tmp_path, under=under)
    dataset = load(tmp_path, ["bird", "artifacts_2"])
    classes = [*KNOWN["bird"], *KNOWN["artifacts_2"]]
    assert [name.split()[0] for name in dataset.label_names] == classes
    for number, label in enumerate(classes):
        np.testing.assert_array_equal(
            dataset.train_images[dataset.train_labels == number], drawn[label][:3]
        )
        np.testing.assert_array_equal(
            dataset.test_images[dataset.test_labels == number], drawn[label][10:]
        )
    assert dataset.train_coarse_labels.tolist() == [0] * 18 + [1] * 30


def test_arrays_are_read_as_far_as_needed(tmp_path):
    drawn = arrays(tmp_path, per_batch=2)
    (tmp_path / "imagenet32" / "train_data_batch_3.npz").write_text("no array")
    dataset = load(tmp_path, "fruit", train_images=4)
    first = next(iter(KNOWN["fruit"]))
    np.testing.assert_array_equal(dataset.train_images[:4], drawn[first][:4])
    with pytest.raises(UserError, match=r"train_data_batch_3\.npz: labels cannot be read"):
        load(tmp_path, "fruit", train_images=5)


def test_names_of_kinds_stand_for_all_of_their_kind(tmp_path):
    arrays(tmp_path)
    assert load(tmp_path, "lists").coarse_label_names == list(LISTS)
    superclasses = load(tmp_path, "superclasses")
    assert superclasses.coarse_label_names == list(imagenet.class_lists()["superclasses"])
    assert len(superclasses.label_names) == 48
    both = load(tmp_path, ["dog", "superclasses"])
    assert both.coarse_label_names[0] == "dog"
    assert len(both.label_names) == 48


def test_folders_come_before_arrays(tmp_path):
    arrays(tmp_path)
    from_arrays = sources.resolve("imagenet", tmp_path)
    folders(tmp_path, "dog")
    from_folders = sources.resolve("imagenet", tmp_path)
    assert from_arrays.checksum != from_folders.checksum
    assert {path.suffix for path in from_folders.files} == {".JPEG"}


@pytest.mark.parametrize(
    ("classes", "settings", "said"),
    [
        ("cats", {}, "found 'cats'; allowed are animals_1, .*, lists, superclasses"),
        ([], {}, "settings.classes is empty"),
        ("bird", {"train_images": 12}, r"train_images is 12, but class n\d+ \(\w.*\) has only 10"),
        ("bird", {"test_images": 3}, r"test_images is 3, but class n\d+ \(.*\) has only 2"),
        ("bird", {"size": 64}, "settings.size is 64, but the arrays in .* are 32x32"),
    ],
)
def test_wrong_settings_are_explained(tmp_path, classes, settings, said):
    arrays(tmp_path)
    with pytest.raises(UserError, match=said):
        load(tmp_path, classes, **settings)


def test_absent_and_incomplete_data_are_listed(tmp_path):
    def refused() -> None:
        with pytest.raises(UserError) as caught:
            sources.resolve("imagenet", tmp_path)
        for line in (
            f"{tmp_path}/imagenet/train/n01440764/*.JPEG and {tmp_path}/imagenet/val/n01440764/",
            f"{tmp_path}/imagenet32/train_data_batch_1.npz to train_data_batch_10.npz",
            f"{tmp_path}/imagenet32/map_clsloc.txt",
        ):
            assert line in str(caught.value)

    refused()
    arrays(tmp_path)
    assert sources.resolve("imagenet", tmp_path).component == "imagenet"
    for name in ("map_clsloc.txt", "val_data.npz", "train_data_batch_10.npz"):
        (tmp_path / "imagenet32" / name).unlink()
        refused()
        arrays(tmp_path)
    (tmp_path / "imagenet32").rename(tmp_path / "aside")
    root = folders(tmp_path, "dog")
    assert sources.resolve("imagenet", tmp_path).component == "imagenet"
    # The validation images as they are unpacked, before they are sorted into folders.
    for path in (root / "val").glob("*/*"):
        path.rename(root / "val" / path.name)
    refused()


def test_missing_folders_are_named(tmp_path):
    root = folders(tmp_path, "dog")
    load(tmp_path, "dog")
    with pytest.raises(UserError, match=r"train: 10 of the 16 classes needed have no folder"):
        load(tmp_path, ["dog", "animals_1"])
    label = next(iter(KNOWN["dog"]))
    (root / "val" / label).rename(root / "aside")
    with pytest.raises(UserError, match=f"val: 1 of the 6 classes needed have no .*: {label}$"):
        load(tmp_path, "dog")


def test_a_damaged_image_is_named(tmp_path):
    path = folders(tmp_path, "dog") / "train" / next(iter(KNOWN["dog"]))
    for file in path.iterdir():
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"_0\.JPEG is not an image, or a truncated one"):
        load(tmp_path, "dog")


def sorted_map(root: Path) -> None:
    lines = [f"{label} {number} x\n" for number, label in enumerate(sorted(IDS), 1)]
    (root / "map_clsloc.txt").write_text("".join(lines))


def changed_batch(**changes):
    def change(root: Path) -> None:
        path = root / "train_data_batch_1.npz"
        with np.load(path) as file:
            content = {key: file[key] for key in ("data", "labels")}
        content |= {key: edit(content[key]) for key, edit in changes.items()}
        np.savez(path, **content)

    return change


def one_number_twice(root: Path) -> None:
    path = root / "map_clsloc.txt"
    first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, f"{second.split()[0]} 1 x", *rest]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (sorted_map, r"map_clsloc\.txt: numbers the classes in the order of their WordNet ids"),
        (one_number_twice, r"map_clsloc\.txt: gives one number to two classes"),
        (
            lambda root: (root / "map_clsloc.txt").write_text("n01440764 tench, Tinca tinca\n"),
            r"map_clsloc\.txt, line 1: needed is a line such as n02119789 1 kit_fox",
        ),
        (
            lambda root: (root / "map_clsloc.txt").write_text("n02119789 1 kit_fox\n"),
            r"map_clsloc\.txt: has no line for n",
        ),
        (
            changed_batch(labels=lambda labels: labels - 1),
            r"train_data_batch_1\.npz: labels must be integers from 1",
        ),
        (
            changed_batch(data=lambda data: data.astype(np.float32)),
            r"train_data_batch_1\.npz: data is float32 of shape",
        ),
        (changed_batch(data=lambda data: data[:, :192]), r"needed is uint8 of shape \(\d+, 3072\)"),
        (changed_batch(data=lambda data: data[1:]), r"needed is uint8 of shape \(\d+, 3072\)"),
        (
            changed_batch(labels=lambda labels: labels.astype(object)),
            r"train_data_batch_1\.npz: labels cannot be read",
        ),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path, damage, said):
    arrays(tmp_path)
    damage(tmp_path / "imagenet32")
    with pytest.raises(UserError, match=said):
        load(tmp_path, "bird")


def test_finding_reads_one_image_of_each_class_and_part(tmp_path, monkeypatch):
    root = folders(tmp_path, "dog", "animals_1")
    read: list[Path] = []
    content = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or content(path))
    cache = tmp_path / "cache.json"
    source = sources.resolve("imagenet", tmp_path, cache=cache)
    firsts = {min(folder.iterdir()) for folder in root.glob("*/*")}
    assert len(firsts) == 32
    assert {*read} == {*source.files} == firsts
    assert source.size == sum(path.stat().st_size for path in firsts)
    read.clear()
    assert sources.resolve("imagenet", tmp_path, cache=cache) == source
    assert read == []


def test_identity_follows_names_samples_and_the_choice_of_classes(tmp_path, monkeypatch):
    root = folders(tmp_path, "dog")
    label = next(iter(KNOWN["dog"]))
    seen = [sources.resolve("imagenet", tmp_path).checksum]
    photograph(root / "train" / label / f"{label}_0.JPEG", 99, size=(30, 30))
    seen.append(sources.resolve("imagenet", tmp_path).checksum)
    (root / "train" / label / f"{label}_3.JPEG").unlink()
    seen.append(sources.resolve("imagenet", tmp_path).checksum)
    photograph(root / "train" / "n01440764" / "n01440764_0.JPEG", 5, size=(30, 30))
    assert sources.resolve("imagenet", tmp_path).checksum == seen[-1]
    fewer = {"lists": {}, "superclasses": {"dog": KNOWN["dog"]}}
    monkeypatch.setattr(imagenet, "class_lists", lambda: fewer)
    seen.append(sources.resolve("imagenet", tmp_path).checksum)
    assert len(set(seen)) == 4


def test_arrays_are_identified_by_content(tmp_path):
    arrays(tmp_path)
    source = sources.resolve("imagenet", tmp_path)
    assert len(source.files) == 12
    assert source.size == sum(path.stat().st_size for path in source.files)
    changed_batch(data=lambda data: data[::-1])(tmp_path / "imagenet32")
    assert sources.resolve("imagenet", tmp_path).checksum != source.checksum


@pytest.mark.parametrize("form", ["folders", "arrays"])
def test_the_command_prepares_it(tmp_path, form):
    place, out = tmp_path / "raw", tmp_path / "out"
    folders(place, "dog", "bird") if form == "folders" else arrays(place)
    settings = {"classes": ["dog", "bird"], **FEW}
    source = sources.resolve({"any_of": "imagenet", "settings": settings}, place)
    done = prepare(source, place, out)
    assert done.returncode == 0, done.stderr
    key = sources.key(source)
    dataset = datasets.read(out / f"{key}.safetensors")
    said = json.loads((out / f"{key}.json").read_text())
    assert said["shape"] == [32, 32, 3]
    assert (said["classes"], said["coarse_classes"], said["stand_in"]) == (12, 2, False)
    assert said["coarse_label_names"] == ["dog", "bird"]
    assert datasets.checksum(dataset) == datasets.checksum(load(place, ["dog", "bird"]))
    bad = sources.resolve({"any_of": "imagenet", "settings": {"classes": "cats"}}, place)
    done = prepare(bad, place, tmp_path / "again")
    assert done.returncode == 1
    assert "allowed are animals_1" in done.stderr
    assert "Traceback" not in done.stderr
