"""Ask which instrument foretells forgetting, and which loss of plasticity, across studies."""

import argparse
from pathlib import Path

from forgetting import findings, prediction, tables
from forgetting.results import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``predict``."""
    parser.add_argument("--instruments", required=True, type=Path, help="instruments.csv")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out", required=True, type=Path, help="prediction.csv")
    parser.add_argument("--out-md", required=True, type=Path, help="across.md")


def run(arguments: argparse.Namespace) -> None:
    """Write the table and the text."""
    table = tables.read(arguments.instruments)
    found = prediction.predict(table)
    with atomic(arguments.out) as temporary:
        tables.write(found, temporary)
    with atomic(arguments.out_md) as temporary:
        temporary.write_text(findings.text(table, found, arguments.preset), encoding="utf-8")
