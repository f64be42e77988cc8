"""Gather every study's claims into the scorecard, as a page and as Markdown."""

import argparse
import csv
import json
from pathlib import Path

from forgetting import scorecard
from forgetting.errors import UserError
from forgetting.results import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``scorecard``."""
    parser.add_argument("--preset", required=True)
    parser.add_argument("--studies", required=True, help="JSON: [{study, title, paper}, ...]")
    parser.add_argument("--claims", nargs="*", type=Path, default=[], help="STUDY/claims.csv ...")
    parser.add_argument("--figures", nargs="*", type=Path, default=[], help="STUDY/figures/*.png")
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out-html", required=True, type=Path)
    parser.add_argument("--out-md", required=True, type=Path)


def run(arguments: argparse.Namespace) -> None:
    """Write both files; a study without ``claims.csv`` is shown as not run."""
    try:
        descriptions = json.loads(arguments.studies)
    except json.JSONDecodeError as error:
        raise UserError(f"--studies: not JSON ({error}); give [{{study, title}}, ...]") from None
    claims = {_study(path.parent): path for path in arguments.claims if path.exists()}
    known = {description["study"] for description in descriptions}
    if unknown := sorted(set(claims) - known):
        raise UserError(f"--claims: {', '.join(unknown)} is not a study of --studies")
    folder = arguments.out_md.parent
    studies = []
    for description in descriptions:
        name = description["study"]
        pictures = [
            scorecard.figure(path, folder)
            for path in arguments.figures
            if path.suffix == ".png" and _study(path.parent.parent) == name and path.exists()
        ]
        rows = _rows(claims[name]) if name in claims else []
        studies.append(scorecard.study(description, rows, pictures))
    html, markdown = scorecard.render(arguments.preset, studies)
    for path, text in ((arguments.out_html, html), (arguments.out_md, markdown)):
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _study(folder: Path) -> str:
    """Return whose folder it is: STUDY, or STUDY/partial/only of a selection of runs."""
    return folder.parents[1].name if folder.parts[-2:] == ("partial", "only") else folder.name


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
