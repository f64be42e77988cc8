"""The gallery and the README's results are about the reference runs as they are."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from studies import REPOSITORY

GALLERY = (REPOSITORY / "docs/gallery.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
VERDICTS = ("reproduced", "contradicted", "inconclusive", "not run")
REFERENCES = sorted((REPOSITORY / "docs/reference").glob("*-small"))


@pytest.mark.parametrize("target", re.findall(r"\]\((reference/[^)]*)\)", GALLERY))
def test_what_the_gallery_shows_is_there(target: str) -> None:
    assert (REPOSITORY / "docs" / target).is_file()


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda path: path.name)
def test_a_reference_run_is_in_the_gallery_and_counted_in_the_readme(reference: Path) -> None:
    study = reference.name.removesuffix("-small")
    assert f"\n## {study}\n" in GALLERY
    with (reference / "claims.csv").open(encoding="utf-8", newline="") as file:
        verdicts = Counter(row["verdict"] for row in csv.DictReader(file))
    counts = [str(verdicts[word]) for word in VERDICTS]
    assert f"| `{study}` | {' | '.join(counts)} | [scorecard](docs/reference/" in README
