"""Judge the kept reference runs by the claims as they are now, and draw their scorecard.

Nothing is trained, measured or drawn anew: of docs/reference/STUDY-PRESET the tables are read,
claims.csv and scorecard.md are written again, and beside the folders scorecard-PRESET.html, one
page of all studies. A test fails when the committed files are not what this command writes.
"""

import argparse
import json
from pathlib import Path

from forgetting import claims, configuration, scorecard, study, tables, verdicts
from forgetting.commands.scorecard import records, rows
from forgetting.documents import Document
from forgetting.entries import canonical, rungs
from forgetting.errors import UserError
from forgetting.results import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--preset", required=True)
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    parser.add_argument(
        "--references", type=Path, default=Path("docs/reference"), help="with STUDY-PRESET folders"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the verdicts of every study that has a reference run, and the page of all."""
    preset, references = arguments.preset, arguments.references
    parts = []
    for name in configuration.studies(arguments.root):
        entry, document = study.read(study.load(arguments.root, name), preset)
        folder = references / f"{name}-{preset}"
        material = judged(entry, document, folder) if folder.is_dir() else scorecard.Material()
        part = scorecard.study(entry.description, material, preset)
        if folder.is_dir():
            _write(folder / "scorecard.md", scorecard.render(preset, [part])[1])
        parts.append(part)
    if not any(part.rows for part in parts):
        raise UserError(
            f"{references}: no folder STUDY-{preset}; see python -m forgetting reference --help"
        )
    _write(references / f"scorecard-{preset}.html", scorecard.render(preset, parts)[0])


def judged(entry: study.Study, document: Document, folder: Path) -> scorecard.Material:
    """Write claims.csv of a reference run; return what the scorecard shows of it."""
    given = {path.stem: tables.read(path) for path in sorted((folder / "tables").glob("*.csv"))}
    # Cases of a claim are named in the order in which the workflow hands their settings on.
    expanded = claims.expand(json.loads(canonical(entry.claims)))
    verdict, basis = verdicts.judge_with_basis(expanded, given)
    with atomic(folder / "claims.csv") as temporary:
        tables.write(verdict, temporary)
    return scorecard.Material(
        claims=rows(folder / "claims.csv"),
        basis=basis,
        records=records(basis, folder / "runs"),
        figures=[scorecard.figure(path, folder) for path in _figures(entry, document, folder)],
    )


def _figures(entry: study.Study, document: Document, folder: Path) -> list[Path]:
    """The pictures of the study's figures, in its order."""
    named = [
        folder / "figures" / f"{rung}.png"
        for name, figure in entry.figures.items()
        for rung, _ in rungs(name, figure, document, ("figures", name))
    ]
    return [path for path in named if path.exists()]


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
