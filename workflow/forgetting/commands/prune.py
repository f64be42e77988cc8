"""Delete checkpoints that have outlived their measures, as keep_checkpoints says.

The workflow does it when it ends well; this command does it at any other time, also while the
workflow runs. What others need is kept: see forgetting/retention.py.
"""

import argparse

from forgetting import retention
from forgetting.commands import status
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, which mean what they mean after --config."""
    status.add_arguments(parser)
    parser.add_argument("--keep-checkpoints", help="last or none; default: as config.yaml says")


def run(arguments: argparse.Namespace) -> None:
    """Delete, and say how much."""
    pipeline = status.configured(arguments, "keep_checkpoints")
    if pipeline.config.keep_checkpoints == "all":
        raise UserError(
            "keep_checkpoints is all; to delete some: --keep-checkpoints last (or none)"
        )
    release(pipeline)


def release(pipeline: Pipeline) -> None:
    """Delete what the configuration does not keep, of all chosen studies."""
    keep = pipeline.config.keep_checkpoints
    for study in pipeline.chosen if keep != "all" else []:
        try:
            freed = [*retention.release(pipeline, study, keep)]
        except UserError as error:  # its data are missing
            print(f"{study}: {error}")
            continue
        count, size = (sum(getattr(each, of) for each in freed) for of in ("checkpoints", "bytes"))
        print(f"{study}: let go of {count} checkpoints of {len(freed)} runs, {size / 1e6:,.1f} MB")
