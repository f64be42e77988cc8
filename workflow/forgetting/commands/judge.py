"""Judge a study's claims on its tables."""

import argparse
import json
from pathlib import Path

from forgetting import claims, tables, verdicts
from forgetting.errors import UserError
from forgetting.results import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``judge``."""
    parser.add_argument("--claims", required=True, help="JSON: name -> claim, as in the study")
    parser.add_argument("--tables", nargs="*", type=Path, default=[], help="CSV files")
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out", required=True, type=Path, help="claims.csv")
    parser.add_argument("--out-basis", required=True, type=Path, help="claims.json")


def run(arguments: argparse.Namespace) -> None:
    """Write the verdicts and what they rest on; without its table a claim is ``not run``."""
    try:
        entries = json.loads(arguments.claims)
    except json.JSONDecodeError as error:
        raise UserError(f"--claims: not JSON ({error}); give {{name: claim, ...}}") from None
    given = {path.stem: tables.read(path) for path in arguments.tables if path.exists()}
    judged, basis = verdicts.judge_with_basis(claims.expand(entries), given)
    with atomic(arguments.out) as temporary:
        tables.write(judged, temporary)
    with atomic(arguments.out_basis) as temporary:
        temporary.write_text(json.dumps(basis, ensure_ascii=False, indent=1), encoding="utf-8")
