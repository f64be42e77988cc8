"""Copy what a study's run says into a folder to be kept: docs/reference/STUDY-PRESET.

Tables, figures (PNG) and every run.json are copied; README.md is written with the commit, the
versions, the hardware and the time that the run took. Then all references are judged by the claims
as they are now (`rejudge`), which makes the verdicts and the scorecards.
"""

import argparse
import json
import os
import platform
import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from forgetting.commands import rejudge
from forgetting.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("study")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    parser.add_argument("--out", type=Path, default=Path("docs/reference"))
    parser.add_argument("--command", required=True, help="the command that made the results")
    parser.add_argument("--took", required=True, help="its wall time, such as '52 minutes'")


def run(arguments: argparse.Namespace) -> None:
    """Replace the study's reference folder."""
    study, home = arguments.study, arguments.results / arguments.preset / arguments.study
    records = {
        path.parent: json.loads(path.read_text()) for path in home.glob("runs/*/*/*/*/run.json")
    }
    if not records:
        raise UserError(f"{home}: no finished runs; run snakemake --cores 2 {study} first")
    target = arguments.out / f"{study}-{arguments.preset}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for folder, pattern in (("tables", "*.csv"), ("figures", "*.png")):
        (target / folder).mkdir()
        for path in sorted((home / folder).glob(pattern)):
            shutil.copyfile(path, target / folder / path.name)
    for folder in records:
        place = target / folder.relative_to(home)
        place.mkdir(parents=True)
        shutil.copyfile(folder / "run.json", place / "run.json")
    (target / "README.md").write_text(
        about(study, list(records.values()), command=arguments.command, took=arguments.took)
    )
    rejudge.run(
        argparse.Namespace(preset=arguments.preset, root=arguments.root, references=arguments.out)
    )


def about(study: str, records: Sequence[dict[str, Any]], *, command: str, took: str) -> str:
    """Return the reference run's description."""

    def each(values: Sequence[str]) -> str:
        return ", ".join(sorted(set(values)))

    seconds = sum(record["wall_seconds"] for record in records)
    versions = each([f"{n} {v}" for record in records for n, v in record["versions"].items()])
    sources = each([data["name"] for record in records for data in record["datasets"]])
    diverged = sum(
        seed["status"] == "diverged" for record in records for seed in record["seeds"].values()
    )
    return f"""# Reference run: {study}

| | |
|---|---|
| command | `{command}` |
| date | {date.today().isoformat()} |
| commit | {each([record["commit"] or "unknown" for record in records])} |
| hardware | {each([record["device"] for record in records])}, {processor()} |
| took | {took}; {seconds / 60:.0f} minutes of training summed over {len(records)} runs |
| versions | {versions} |
| data | {sources} |
| seeds diverged | {diverged} |

`scorecard.md` and `claims.csv` are the verdicts by the claims as they are now, `tables/` what
they were computed from, `figures/` the pictures, `runs/` the specification, code fingerprint and
checkpoint hashes of every run. `python -m forgetting train --spec RUN.JSON --data DATA.json --out
FOLDER` repeats a run.
"""


def processor() -> str:
    """Return the processor's name and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
