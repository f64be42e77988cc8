"""One line a run: state, task, accuracy, times, device or error. Looks only; starts nothing."""

import argparse
from collections import Counter
from pathlib import Path

from forgetting.components import REPOSITORY
from forgetting.documents import Document
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from forgetting.progress import Progress, of_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, which mean what they mean after --config."""
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    for name in ("preset", "results", "data_dir", "only"):
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="default: all")


def run(arguments: argparse.Namespace) -> None:
    """Print the runs of the configuration, and how many are in which state."""
    pipeline = configured(arguments)
    for study in pipeline.chosen:
        try:
            plan = pipeline.plan(study)
        except UserError as error:  # its data are missing; the other studies have theirs
            print(f"{study} ({pipeline.preset}): {error}")
            continue
        runs = pipeline.results / pipeline.preset / study / "runs"
        found = {path: of_run(runs / path) for path in plan.selected}
        width = max(map(len, found), default=0)
        for path, progress in found.items():
            print(f"{path:{width}}  {line(progress)}".rstrip())
        counts = Counter(progress.state for progress in found.values())
        summary = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        measured = [
            runs.parent / "measures" / entry / f"{path}.parquet"
            for entry, measure in plan.own.items()
            for path in measure.needs
            if path in found
        ]
        there = sum(path.exists() for path in measured)
        of_measures = f"; {there} of {len(measured)} measurements" if measured else ""
        print(f"{study} ({pipeline.preset}): {summary or 'no runs'}{of_measures}")


def configured(arguments: argparse.Namespace, *more: str) -> Pipeline:
    """Return the workflow as the arguments, those of `add_arguments` and more keys, have it.

    Raises:
        UserError: Something in them, in config.yaml or in a study is wrong.
    """
    keys = ("preset", "results", "data_dir", "only", "seeds", "studies", *more)
    given = {key: value for key in keys if (value := getattr(arguments, key))}
    written = Document.read(arguments.root / "config.yaml", name="config.yaml").raw
    return Pipeline.load(arguments.root, {**written, **given})


def line(progress: Progress) -> str:
    """Return a run's state in columns."""
    task = "" if progress.task is None else f"task {progress.task}/{progress.tasks}"
    accuracy = "" if progress.accuracy is None else f"{100 * progress.accuracy:.1f} %"
    spent = "" if progress.seconds is None else clock(progress.seconds)
    left = "" if progress.left is None else f"{clock(progress.left)} left"
    last = (progress.error or progress.device or "").partition("\n")[0]
    columns = (progress.state, task, accuracy, spent, left, last)
    widths = (8, 10, 7, 8, 13, 0)
    return "  ".join(f"{text:{width}}" for text, width in zip(columns, widths, strict=True))


def clock(seconds: float) -> str:
    """Return hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
