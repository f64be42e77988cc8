"""Propose hyperparameters from the finished runs of a study's grids, for a person to commit.

`snakemake --cores N tune` trains the grids and calls this. It prints the proposal and writes it to
PRESET/STUDY/tune/proposal.yaml, every point's score to scores.csv beside it.
"""

import argparse
from pathlib import Path

from forgetting import configuration, proposal, tables
from forgetting.components import REPOSITORY
from forgetting.configuration import Config
from forgetting.documents import Document
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from forgetting.results import atomic
from forgetting.tables import of_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; the options mean what they mean after --config."""
    parser.add_argument("study")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--results", default="results")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--searches", default="", help="hash of the grids (tracked, not used)")


def run(arguments: argparse.Namespace) -> None:
    """Rank the points of every grid, print the proposal and write both files."""
    config = Config(
        preset=arguments.preset,
        only=arguments.only,
        data_dir=arguments.data_dir,
        results=arguments.results,
        download=arguments.download,
        studies=[arguments.study],
    )
    study = arguments.study
    # Whatever is wrong in it was typed, not written in config.yaml.
    document = Document(Path("config.yaml"), {}, command_line=frozenset(Config.model_fields))
    known = configuration.studies(arguments.root)
    document.choose(("studies",), study, known, what="a study")
    pipeline = Pipeline(arguments.root, config, document)
    tuning, searches = pipeline.tuning(study), pipeline.searches(study)
    paths = [pipeline.results / path for path in pipeline.tuning_runs(study)]
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(
            f"{len(missing)} of {len(paths)} runs of the grids are not finished; the first is "
            f"{missing[0].parent}. Train them: snakemake --cores 2 tune --config "
            f"preset={config.preset} studies={study}"
        )
    records = of_runs.read_records(paths)
    scores = proposal.scores(records, pipeline.tuning_about(study), tuning.score)
    results = [(search, proposal.ranked(search, scores)) for search in searches]
    text = proposal.text(results, study=study, preset=config.preset, score=tuning.score)
    proposed, scored = (pipeline.results / path for path in pipeline.tuned_files(study))
    with atomic(scored) as temporary:
        tables.write(proposal.table(results), temporary)
    with atomic(proposed) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{text}\nEvery point's score: {scored}")
