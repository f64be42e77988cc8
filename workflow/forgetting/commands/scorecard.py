"""Gather every study's claims into the scorecard, as a page and as Markdown."""

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetting import scorecard
from forgetting.errors import UserError
from forgetting.results import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``scorecard``."""
    parser.add_argument("--preset", required=True)
    parser.add_argument(
        "--studies", required=True, help="JSON: [{study, title, paper, claims}, ...]"
    )
    parser.add_argument(
        "--home", required=True, type=Path, help="folder of the preset, with STUDY/runs"
    )
    parser.add_argument(
        "--claims",
        nargs="*",
        type=Path,
        default=[],
        help="claims.csv below HOME/STUDY, with claims.json beside it",
    )
    parser.add_argument(
        "--figures", nargs="*", type=Path, default=[], help="PNG files below HOME/STUDY"
    )
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out-html", required=True, type=Path)
    parser.add_argument("--out-md", required=True, type=Path)


def run(arguments: argparse.Namespace) -> None:
    """Write both files; a study without ``claims.csv`` is shown as not run."""
    try:
        descriptions = json.loads(arguments.studies)
    except json.JSONDecodeError as error:
        raise UserError(f"--studies: not JSON ({error}); give [{{study, title}}, ...]") from None
    home, folder = arguments.home, arguments.out_md.parent
    claims = {_study(path, home): path for path in arguments.claims if path.exists()}
    known = {description["study"] for description in descriptions}
    if unknown := sorted(set(claims) - known):
        raise UserError(f"--claims: {', '.join(unknown)} is not a study of --studies")
    studies = []
    for description in descriptions:
        name = description["study"]
        judged = claims.get(name)
        basis = _json(judged.with_suffix(".json")) if judged else {}
        material = scorecard.Material(
            claims=rows(judged) if judged else [],
            basis=basis,
            records=records(basis, home / name / "runs"),
            figures=[
                scorecard.figure(path, folder)
                for path in arguments.figures
                if path.suffix == ".png" and _study(path, home) == name and path.exists()
            ],
        )
        studies.append(scorecard.study(description, material, arguments.preset))
    html, markdown = scorecard.render(arguments.preset, studies)
    for path, text in ((arguments.out_html, html), (arguments.out_md, markdown)):
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _study(path: Path, home: Path) -> str:
    try:
        return path.relative_to(home).parts[0]
    except ValueError:
        raise UserError(f"{path}: not below --home {home}") from None


def records(basis: Mapping[str, Any], runs: Path) -> dict[str, Any]:
    """Return run.json, by path of the run, of what verdicts rest on; ``runs`` has their folders."""
    paths = sorted({path for entry in basis.values() for path in entry["runs"]})
    there = {path: runs / path / "run.json" for path in paths}
    return {path: _json(record) for path, record in there.items() if record.exists()}


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of claims.csv as texts."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
