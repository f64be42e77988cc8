"""What a preset has cost so far: RESULTS/PRESET/cost.csv, and the runtimes that follow from it.

The table has a row for every study, rule and measure. Printed are the minutes that training and
measuring jobs should ask a scheduler for, as the ``resources:`` of a study have them.
"""

import argparse
from pathlib import Path

from forgetting import costs
from forgetting.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--preset", required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))


def run(arguments: argparse.Namespace) -> None:
    """Write the table; print the runtimes."""
    rows = write(arguments.results, arguments.preset)
    if not rows:
        home = arguments.results / arguments.preset
        raise UserError(f"{home}: no finished jobs; run snakemake --cores 2 first")
    for study, kinds in costs.runtimes(rows).items():
        asked = ", ".join(f"{kind}: {{runtime: {minutes}}}" for kind, minutes in kinds.items())
        print(f"{study}: resources: {{{asked}}}")
    print(f"see {arguments.results / arguments.preset / 'cost.csv'}")


def write(results: Path, preset: str) -> list[costs.Cost]:
    """Write the table of a preset, if anything has been made, and return its rows."""
    rows = costs.table(results, preset) if (results / preset).is_dir() else []
    if rows:
        costs.write(rows, results / preset / "cost.csv")
    return rows
