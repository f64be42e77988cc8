"""Which data set a study means, what it is identified by, and the command that prepares it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forgetting import datasets, sources
from forgetting.errors import UserError

PACKAGE = Path(sources.__file__).parents[1]


def save(folder: Path, name: str, *, seed: int = 0, per_class: int = 4) -> Path:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3, dtype=np.uint8), per_class)
    path = folder / f"{name}.npz"
    np.savez(
        path,
        train_images=rng.integers(0, 256, (len(labels), 4, 4, 3), dtype=np.uint8),
        train_labels=labels,
        test_images=rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8),
        test_labels=labels[:6],
    )
    return path


def test_the_first_present_of_a_list_is_used(tmp_path):
    save(tmp_path, "second")
    save(tmp_path, "third")
    assert sources.resolve(["cifar100", "second", "third"], tmp_path).name == "second"
    save(tmp_path, "first")
    assert sources.resolve(["first", "second"], tmp_path).name == "first"
    assert sources.resolve({"any_of": ["none", "third"]}, tmp_path).name == "third"


def test_what_can_be_downloaded_counts_only_when_downloads_are_allowed(tmp_path):
    save(tmp_path, "subset")
    wish = ["cifar100", "subset"]
    assert sources.resolve(wish, tmp_path).name == "subset"
    source = sources.resolve(wish, tmp_path, download=True)
    assert (source.name, source.files) == ("cifar100", ())
    assert source.size == 169001437
    assert not source.stand_in
    assert sources.resolve("digits", tmp_path, download=True).stand_in


def test_nothing_present_says_what_to_put_where(tmp_path):
    with pytest.raises(UserError) as caught:
        sources.resolve(["mnist", "cifar100", "mine"], tmp_path)
    text = str(caught.value)
    for line in (
        f"{tmp_path}/MNIST/raw/train-images-idx3-ubyte.gz  md5 f68b3c2dcbeaaa9fbdd348bbdeb94873",
        f"{tmp_path}/MNIST/raw/t10k-labels-idx1-ubyte.gz  md5 ec29112dd5afa0611ce80d1b7f02629c",
        f"{tmp_path}/cifar-100-python.tar.gz  md5 eb9058c3a382ffc7106e4002c42a8d85",
        f"{tmp_path}/cifar-100-python/train  md5 16019d7e3df5f24257cddd939b257f8d",
        f"{tmp_path}/mine.npz with train_images, train_labels, test_images, test_labels",
        f"{tmp_path}/mine/train/CLASS/*.png",
        "--config download=true",
    ):
        assert line in text


def test_a_misspelt_name_is_guessed(tmp_path):
    with pytest.raises(UserError, match="did you mean fashion_mnist"):
        sources.resolve("fashon_mnist", tmp_path)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("../secret", "a name is letters"),
        ("/etc/passwd", "a name is letters"),
        (".hidden", "a name is letters"),
        ("", "a name is letters"),
        ([], "list of names is empty"),
        (7, "any_of"),
        ({"any_of": "digits", "images_per_class": 0}, "images_per_class: found 0"),
        ({"any_of": "digits", "images": 3}, "images: found 3"),
        ({"any_of": "digits", "settings": {"size": 9}}, "data set digits: settings.size: found 9"),
        ({"any_of": "shapes", "settings": {"size": 1}}, "data set shapes: settings.size: found 1"),
    ],
)
def test_a_wrong_reference_is_explained(tmp_path, reference, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        sources.resolve(reference, tmp_path)


def test_dashes_and_underscores_name_the_same_component(tmp_path):
    source = sources.resolve("fashion-mnist", tmp_path, download=True)
    assert source.component == "fashion_mnist"


def test_keys_are_names_unless_something_differs(tmp_path):
    def key(reference):
        return sources.key(sources.resolve(reference, tmp_path))

    assert key("shapes") == "shapes"
    assert key({"any_of": "shapes", "settings": {"size": 16}}) == "shapes"
    keys = [
        key({"any_of": "shapes", "settings": {"size": 12}}),
        key({"any_of": "shapes", "settings": {"size": 13}}),
        key({"any_of": "shapes", "images_per_class": 12}),
        key({"any_of": "shapes", "test_images_per_class": 12}),
        key({"any_of": "digits", "images_per_class": 12}),
    ]
    assert len(set(keys)) == len(keys)
    for found in keys:
        name, _, digest = found.partition("-")
        assert name in ("shapes", "digits")
        assert len(digest) == 8
        int(digest, 16)


def test_the_parameter_is_canonical_and_without_paths(tmp_path):
    save(tmp_path, "mine")
    wish = {"any_of": ["mine"], "images_per_class": 2}
    source = sources.resolve(wish, tmp_path)
    text = sources.to_json(source)
    assert str(tmp_path) not in text
    assert sources.from_json(text) == source
    assert text == json.dumps(json.loads(text), sort_keys=True)
    assert sources.to_json(sources.from_json(text)) == text
    with pytest.raises(UserError, match="--source"):
        sources.from_json("{}")


def test_identity_follows_content_not_time_or_place(tmp_path):
    (tmp_path / "other").mkdir()
    path = save(tmp_path, "mine")
    first = sources.to_json(sources.resolve("mine", tmp_path))
    os.utime(path, (1, 1))
    assert sources.to_json(sources.resolve("mine", tmp_path)) == first
    (tmp_path / "other" / "mine.npz").write_bytes(path.read_bytes())
    assert sources.to_json(sources.resolve("mine", tmp_path / "other")) == first
    save(tmp_path, "mine", seed=1)
    assert sources.to_json(sources.resolve("mine", tmp_path)) != first


def test_checksums_are_remembered_until_the_file_changes(tmp_path, monkeypatch):
    path = save(tmp_path, "mine")
    cache = tmp_path / "cache" / "checksums.json"
    first = sources.resolve("mine", tmp_path, cache=cache)
    remembered = json.loads(cache.read_text())
    assert [entry["checksum"] for entry in remembered.values()] == [first.checksum]

    def forbidden(self):
        raise AssertionError(f"{self} is read again")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", forbidden)
        assert sources.resolve("mine", tmp_path, cache=cache) == first
    os.utime(path, (5, 5))
    assert sources.resolve("mine", tmp_path, cache=cache) == first
    save(tmp_path, "mine", seed=1)
    assert sources.resolve("mine", tmp_path, cache=cache).checksum != first.checksum


@pytest.mark.parametrize("content", ["", "[1]", '{"a": ', "\0"])
def test_a_damaged_cache_is_forgotten(tmp_path, content):
    save(tmp_path, "mine")
    cache = tmp_path / "checksums.json"
    cache.write_text(content)
    expected = sources.resolve("mine", tmp_path)
    assert sources.resolve("mine", tmp_path, cache=cache) == expected


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path):
    save(tmp_path, "mine")
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "checksums.json"
    assert sources.resolve("mine", tmp_path, cache=cache) == sources.resolve("mine", tmp_path)


def test_resolving_imports_no_torch_and_is_fast(tmp_path):
    save(tmp_path, "mine")
    code = (
        "import sys, time; from pathlib import Path; from forgetting import sources\n"
        f"place = Path({str(tmp_path)!r}); names = ['digits', 'shapes', ['cifar100', 'mine']]\n"
        "times = []\n"
        "for _ in range(6):\n"
        "    start = time.perf_counter()\n"
        "    [sources.key(sources.resolve(n, place)) for n in names]\n"
        "    times.append(time.perf_counter() - start)\n"
        "print(min(times))\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'PIL', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.05


def test_loading_selects_and_records_the_source(tmp_path):
    save(tmp_path, "mine")
    wish = {"any_of": "mine", "images_per_class": 2, "test_images_per_class": 1}
    source = sources.resolve(wish, tmp_path)
    dataset = sources.load(source, tmp_path)
    assert np.bincount(dataset.train_labels).tolist() == [2, 2, 2]
    assert np.bincount(dataset.test_labels).tolist() == [1, 1, 1]
    assert dataset.source == json.loads(sources.to_json(source))


def test_a_file_that_changed_since_planning_is_refused(tmp_path):
    save(tmp_path, "mine")
    source = sources.resolve("mine", tmp_path)
    save(tmp_path, "mine", seed=1)
    with pytest.raises(UserError, match="start the workflow again"):
        sources.load(source, tmp_path)
    (tmp_path / "mine.npz").unlink()
    with pytest.raises(UserError, match=r"mine\.npz with train_images"):
        sources.load(source, tmp_path)


def prepare(source: sources.Source, data_dir: Path, out: Path) -> subprocess.CompletedProcess[str]:
    key = sources.key(source)
    command = [sys.executable, "-m", "forgetting", "prepare"]
    command += ["--source", sources.to_json(source), "--data-dir", str(data_dir)]
    command += ["--code", "abc", "--out", str(out / f"{key}.safetensors")]
    command += ["--out-json", str(out / f"{key}.json")]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prepares_from_a_folder_it_does_not_touch(tmp_path):
    place, out = tmp_path / "raw", tmp_path / "out"
    place.mkdir()
    save(place, "mine")
    place.chmod(0o555)
    before = (place.stat().st_mtime_ns, sorted(place.iterdir()))
    source = sources.resolve({"any_of": "mine", "images_per_class": 3}, place)
    done = prepare(source, place, out)
    place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert (place.stat().st_mtime_ns, sorted(place.iterdir())) == before
    key = sources.key(source)
    dataset = datasets.read(out / f"{key}.safetensors")
    said = json.loads((out / f"{key}.json").read_text())
    assert said["code"] == "abc"
    assert said["key"] == key
    assert said["checksum"] == datasets.checksum(dataset)
    assert said["train_images"] == 9
    assert len(list(out.iterdir())) == 2


def test_of_many_names_the_first_are_explained(tmp_path):
    names = [f"mine{number}" for number in range(40)]
    with pytest.raises(UserError) as raised:
        sources.resolve(names, tmp_path)
    message = str(raised.value)
    assert f"{tmp_path}/mine3.npz" in message
    assert f"{tmp_path}/mine4.npz" not in message
    assert "nor is there one of ['mine4', 'mine5'" in message
    assert message.count("Put there") == 4


def test_the_command_ends_with_one_message(tmp_path):
    path = save(tmp_path, "mine")
    path.write_bytes(path.read_bytes()[:-100])
    done = prepare(sources.resolve("mine", tmp_path), tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_component_offers_what_is_asked_of_it(tmp_path):
    start = time.perf_counter()
    for name in sources.available():
        if name in ("celeba", "continual_imagenet", "imagenet"):  # cannot be downloaded
            place = tmp_path / name.replace("_", "-")
            with pytest.raises(UserError, match=f"Put there:(\\n.*)*{place}/"):
                sources.resolve(name, tmp_path, download=True)
            continue
        wish = sources.resolve(name, tmp_path, download=True)
        assert wish.component == name
        assert isinstance(wish.stand_in, bool)
        assert wish.stand_in == (name in ("digits", "shapes"))
    assert time.perf_counter() - start < 1
