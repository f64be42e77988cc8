"""Aggregate what exists: tables, figures and claims of the runs that are finished so far.

For a look while a study is running or when some of its runs failed. Works on the files as they
are, whether or not Snakemake would redo them, and writes under PRESET/STUDY/partial/.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from forgetting.commands import collect, draw, judge
from forgetting.configuration import Config
from forgetting.documents import Document
from forgetting.pipeline import Pipeline
from forgetting.plan import StudyPlan
from forgetting.results import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``partial``; it runs in the results folder."""
    parser.add_argument("--root", type=Path, required=True, help="the repository")
    parser.add_argument("--config", required=True, help="JSON: the configuration")


def run(arguments: argparse.Namespace) -> None:
    """Aggregate every chosen study and say what was left out."""
    config = Config.model_validate_json(arguments.config)
    pipeline = Pipeline(arguments.root, config, Document(Path("config.yaml"), {}))
    for name in pipeline.chosen:
        _study(pipeline, pipeline.plan(name))


def _study(pipeline: Pipeline, plan: StudyPlan) -> None:
    name = plan.study.study
    home = Path(plan.preset) / name
    records = {path: home / "runs" / path / "run.json" for path in plan.selected}
    finished = {path: record for path, record in records.items() if record.exists()}
    stale = sum(
        read_json(record, otherwise="train the run again")["fingerprint"]
        != pipeline.code("train", plan.runs[path].components)
        for path, record in finished.items()
    )
    print(f"{name}: {len(finished)} of {len(records)} runs are finished", end="")
    print(f", {stale} of them by other code than today's" if stale else "")
    if not finished:
        return
    folder = home / "partial"
    tables: dict[str, Path] = {}
    pending = dict(plan.tables)
    while ready := [t for t, needs in pending.items() if all(n not in pending for n in needs)]:
        for table in ready:
            needs = pending.pop(table)
            out = folder / "tables" / f"{table}.csv"
            given = ["--table", table, "--study", name, "--preset", plan.preset, "--out", str(out)]
            given += ["--about", pipeline.about(name)]
            if measured := plan.measured(table):
                files = [
                    home / "measures" / measure / f"{path}.parquet"
                    for measure, path in measured
                    if path in finished
                ]
                given += ["--measures", *(str(path) for path in files if path.exists())]
            elif needs:
                given += ["--tables", *(str(tables[need]) for need in needs if need in tables)]
            else:
                given += ["--runs", *map(str, finished.values())]
            if _done(f"table {table}", collect.add_arguments, collect.run, given):
                tables[table] = out
    for figure, about in plan.figures.items():
        given = ["--study", name, "--figure", figure, "--component", about.component]
        given += ["--settings", about.settings, "--out", str(folder / "figures" / f"{figure}.pdf")]
        given += ["--tables", *(str(tables[table]) for table in about.needs if table in tables)]
        given += ["--runs-table", str(tables.get("runs", folder))]
        _done(f"figure {figure}", draw.add_arguments, draw.run, given)
    for judgement in plan.judgement.values():
        given = ["--claims", judgement.settings, "--out", str(folder / "claims.csv")]
        given += ["--out-basis", str(folder / "claims.json")]
        given += ["--tables", *(str(tables[table]) for table in judgement.needs if table in tables)]
        _done("claims", judge.add_arguments, judge.run, given)
    print(f"{name}: see {pipeline.results / folder}")


def _done(
    what: str,
    add: Callable[[argparse.ArgumentParser], None],
    command: Callable[[argparse.Namespace], None],
    given: list[str],
) -> bool:
    """Call a command; what cannot be made from a part of the runs is said, not fatal."""
    parser = argparse.ArgumentParser()
    add(parser)
    try:
        command(parser.parse_args(given))
    except Exception as error:
        print(f"  left out {what}: {error or type(error).__name__}")
        return False
    return True
