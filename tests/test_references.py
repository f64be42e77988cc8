"""Reference runs: kept as the run left them, their verdicts those of the claims as they are now."""

import argparse
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from forgetting.commands import reference, rejudge
from forgetting.errors import UserError
from studies import REPOSITORY

KEPT = REPOSITORY / "docs/reference"
STUDIES = sorted(path.name.removesuffix("-small") for path in KEPT.glob("*-small"))


NUMBER = re.compile(r"-?\d*\.\d+(e[-+]?\d+)?|-?\d+e[-+]?\d+")


def words(path: Path) -> str:
    """What a scorecard says, without pictures and fractions: last digits differ by processor."""
    text = re.sub(r"data:image/png;base64,[^\"]+", "picture", path.read_text())
    return NUMBER.sub("#", text)


def again(references: Path, preset: str = "small") -> None:
    rejudge.run(argparse.Namespace(preset=preset, root=REPOSITORY, references=references))


@pytest.fixture(scope="module")
def rejudged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is kept, in which nothing is left but what verdicts are made from."""
    copied = tmp_path_factory.mktemp("references") / "kept"
    shutil.copytree(KEPT, copied, ignore=shutil.ignore_patterns("claims.csv", "scorecard*"))
    again(copied)
    return copied


@pytest.mark.parametrize("study", STUDIES)
def test_kept_verdicts_are_what_the_claims_say_of_the_kept_tables(
    rejudged: Path, study: str
) -> None:
    expected, found = (pd.read_csv(each / f"{study}-small/claims.csv") for each in (KEPT, rejudged))
    numbers = ["value", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(found[numbers], expected[numbers], rtol=1e-6, atol=1e-9)
    same = ["claim", "statement", "n_seeds", "verdict", "evidence"]
    pd.testing.assert_frame_equal(found[same], expected[same])
    card = f"{study}-small/scorecard.md"
    assert words(rejudged / card) == words(KEPT / card)


def test_the_page_of_all_studies_is_what_the_kept_runs_make(rejudged: Path) -> None:
    page = words(rejudged / "scorecard-small.html")
    assert page == words(KEPT / "scorecard-small.html")
    for study in STUDIES:
        pictures = len(list((KEPT / f"{study}-small/figures").glob("*.png")))
        assert len(re.findall(rf'id="{study}\.figure\.[^"]*"', page)) == pictures


def test_a_preset_without_reference_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder STUDY-quick; .* reference --help"):
        again(tmp_path, "quick")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results such as a run of a study leaves them."""
    home = tmp_path / "results/small/handoff"
    for part in ("tables", "figures", "runs"):
        shutil.copytree(KEPT / "handoff-small" / part, home / part)
    (home / "claims.csv").write_text("of other claims\n")
    (home / "runs/mnist-fashion/checkpoint.safetensors").write_text("too large to be kept")
    return tmp_path / "results"


def keep(results: Path, out: Path, study: str = "handoff") -> None:
    reference.run(
        argparse.Namespace(
            study=study,
            preset="small",
            results=results,
            root=REPOSITORY,
            out=out,
            command="snakemake handoff",
            took="60 minutes",
        )
    )


def test_a_run_is_kept_with_its_verdicts(results: Path, tmp_path: Path) -> None:
    stale = tmp_path / "kept/handoff-small/tables/gone.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier run\n")
    keep(results, tmp_path / "kept")
    found, expected = (
        {p.relative_to(home) for p in home.rglob("*") if p.is_file()}
        for home in (tmp_path / "kept/handoff-small", KEPT / "handoff-small")
    )
    assert found == expected
    text = (tmp_path / "kept/handoff-small/README.md").read_text()
    assert "| command | `snakemake handoff` |" in text
    assert "| took | 60 minutes; " in text
    assert len(re.findall(r"\| commit \| [0-9a-f]{40}", text)) == 1
    assert (tmp_path / "kept/scorecard-small.html").exists()


def test_a_study_that_was_not_run_is_an_error(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished runs; run snakemake --cores 2 anatomy"):
        keep(results, tmp_path / "kept", study="anatomy")
    assert not (tmp_path / "kept").exists()
