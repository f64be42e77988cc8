"""Gather what is compared across studies: every run's instruments beside what follows from it."""

import argparse
import json
from pathlib import Path

import pandas as pd

from forgetting import outcomes, tables
from forgetting.errors import UserError
from forgetting.results import atomic
from forgetting.tables import of_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``gather``; files lie below PRESET/STUDY."""
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="run.json files")
    parser.add_argument(
        "--instruments", nargs="+", type=Path, required=True, help="parquet files of these runs"
    )
    parser.add_argument("--spectra", nargs="*", type=Path, default=[], help="of measure hessian")
    parser.add_argument(
        "--about", required=True, help="JSON: for each study its benchmarks' metric and evidence"
    )
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out", required=True, type=Path, help="instruments.csv")
    parser.add_argument("--out-runs", required=True, type=Path, help="runs.csv")


def run(arguments: argparse.Namespace) -> None:
    """Write both tables, a study after the other."""
    gathered, runs = [], []
    for study, about in json.loads(arguments.about).items():
        records = of_runs.read_records(_of(study, arguments.runs))
        if not records:  # none of its runs was selected
            continue
        table, table_of_runs = outcomes.gathered(
            records, _of(study, arguments.instruments), _of(study, arguments.spectra), about
        )
        gathered.append(table.assign(study=study))
        runs.append(table_of_runs.assign(study=study))
    if not gathered:
        raise UserError("--runs: none lies below a folder of a study that --about names")
    for parts, path in ((gathered, arguments.out), (runs, arguments.out_runs)):
        joined = pd.concat(parts, ignore_index=True)
        joined.insert(0, "study", joined.pop("study"))
        with atomic(path) as temporary:
            tables.write(joined, temporary)


def _of(study: str, paths: list[Path]) -> list[Path]:
    """Return those of a study: STUDY/runs/.../run.json, STUDY/measures/... as deep below it."""
    return [path for path in paths if path.parts[-7:-6] == (study,)]
