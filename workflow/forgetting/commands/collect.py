"""Collect one table of a study from its runs, from a measure's files or from other tables."""

import argparse
import inspect
import json
from pathlib import Path

import pandas as pd

from forgetting import tables
from forgetting.errors import UserError
from forgetting.results import atomic
from forgetting.tables import of_measures, of_runs
from forgetting.tables.derived import FROM_TABLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``collect``."""
    parser.add_argument("--table", required=True, help="the table's name, or a measure's")
    parser.add_argument("--study", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run.json files")
    parser.add_argument("--measures", nargs="*", type=Path, default=[], help="parquet files")
    parser.add_argument("--tables", nargs="*", type=Path, default=[], help="CSV files")
    parser.add_argument(
        "--about", default="{}", help="JSON: each benchmark's metric and evidence, for runs"
    )
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out", required=True, type=Path)


def run(arguments: argparse.Namespace) -> None:
    """Build the table and write it as CSV."""
    name = arguments.table.replace("-", "_")
    if name == "runs":
        _need(arguments, "runs")
        table = of_runs.runs(of_runs.read_records(arguments.runs), json.loads(arguments.about))
    elif name in ("accuracy", "online", "history"):
        _need(arguments, "runs")
        table = getattr(of_runs, name)(of_runs.read_records(arguments.runs))
    elif name == "spectra":
        _need(arguments, "measures")
        table = of_measures.spectra(arguments.measures)
    elif name in FROM_TABLES:
        table = _from_tables(name, arguments.tables)
    else:
        _need(arguments, "measures")
        table = of_measures.measure(arguments.measures)
    with atomic(arguments.out) as temporary:
        tables.write(table, temporary)


def _from_tables(name: str, paths: list[Path]) -> pd.DataFrame:
    """Call the table's function with the tables its parameters name."""
    function = FROM_TABLES[name]
    given = {path.stem: path for path in paths}
    wanted = inspect.signature(function).parameters
    missing = [key for key, p in wanted.items() if p.default is p.empty and key not in given]
    if missing:
        raise UserError(
            f"table {name} is derived from {', '.join(wanted)}, but {', '.join(missing)} is not "
            f"given. Name it under tables: {name}: from: in the study's file."
        )
    return function(**{key: tables.read(given[key]) for key in wanted if key in given})


def _need(arguments: argparse.Namespace, what: str) -> None:
    if not getattr(arguments, what):
        found = f"table {arguments.table} of study {arguments.study}, preset {arguments.preset}"
        raise UserError(f"{found}: no {what} to collect it from. Give --{what} FILE...")
