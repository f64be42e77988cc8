"""Folders and globs whose names a shell, Snakemake or Python's formatting would take apart."""

from pathlib import Path

import numpy as np
import pytest

from clones import copy_repository

STRANGE = "a 'b' \"c\" $(touch pwned) `touch pwned` ;touch pwned; %s & | > é 漢 *?[z]"
# Clones and results cannot lie in such folders, which is said; data can.
BRACES = "{x} {{y}} {params.code} a:b"
# A class of characters that matches a "d" and nothing else of what is there.
ONLY = "*/mlp/sg[d'\"$(touch pwned)`;{x}&é 漢]/*"


def images(path: Path) -> None:
    """Write ten classes that are told apart by one pixel."""
    path.parent.mkdir(parents=True)
    labels = np.arange(10).repeat(8)
    pixels = np.zeros((80, 4, 4), np.uint8)
    pixels.reshape(80, 16)[np.arange(80), labels] = 255
    arrays = {"train_images": pixels, "train_labels": labels}
    arrays |= {"test_images": pixels, "test_labels": labels}
    np.savez(path, **arrays)


def one_run(study: dict) -> None:
    del study["runs"]["wide"]
    study["runs"]["narrow"]["strategies"] = ["sgd", "lwf"]
    study["benchmarks"]["split-digits"]["dataset"] = "mine"
    study["measures"] = {}
    study["tables"] = {}
    study["figures"] = {"average_accuracy": study["figures"]["average_accuracy"]}
    study["tune"] = {"seeds": [900], "grids": {"sgd": {"training.learning_rate": [0.1]}}}


@pytest.mark.slow
def test_strange_names_reach_the_commands_as_they_are(tmp_path: Path) -> None:
    home = tmp_path / STRANGE
    home.mkdir()
    clone = copy_repository(home / "clone")
    clone.study(one_run)
    data, results = home / BRACES / "data", home / "results:é"
    images(data / "mine.npz")
    config = ["--config", f"data_dir={data}", f"results={results}", f"only={ONLY}"]
    clone.snakemake("all", *config)
    clone.snakemake("tune", *config)
    clone.snakemake("partial", *config)
    study = results / "quick/collapse"
    assert (study / "runs/split-digits/mlp/sgd/seeds0/run.json").exists()
    assert not (study / "runs/split-digits/mlp/lwf").exists()
    for name in ("tables/scores.csv", "figures/average_accuracy.png", "claims.csv"):
        assert (study / "partial/only" / name).exists()
        assert (study / "partial" / name).exists()
    assert (study / "partial/only/tune/proposal.yaml").exists()
    assert "Nothing to be done" in clone.snakemake("all", *config)
    assert list(tmp_path.rglob("pwned*")) == []


@pytest.mark.parametrize("folder", ["{x}", "a}", "a:b"])
def test_a_clone_where_snakemake_cannot_name_it(tmp_path: Path, folder: str) -> None:
    clone = copy_repository(tmp_path / folder)
    shown = clone.snakemake("--dry-run", rc=1)
    assert f"{clone.root}: the path of the repository holds" in shown
    assert "Traceback" not in shown
    assert not (clone.root / "results").exists()
