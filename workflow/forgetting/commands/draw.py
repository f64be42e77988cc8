"""Draw one figure of a study from its tables: PDF, PNG and the CSV of exactly what is drawn."""

import argparse
import inspect
import json
from pathlib import Path

from pydantic import ValidationError

from forgetting import plots, specification, tables
from forgetting.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``draw``."""
    parser.add_argument("--study", required=True, help="names the file of figures/")
    parser.add_argument("--figure", required=True, help="the figure's name in the study")
    parser.add_argument("--component", required=True, help="function of that file that draws it")
    parser.add_argument("--settings", default="{}", help="its settings, as JSON")
    parser.add_argument("--tables", nargs="*", type=Path, default=[], help="CSV files")
    parser.add_argument("--runs-table", required=True, type=Path, help="tables/runs.csv")
    parser.add_argument("--code", default="", help="fingerprint of the code (tracked, not used)")
    parser.add_argument("--out", required=True, type=Path, help="the PDF; PNG and CSV go beside")


def run(arguments: argparse.Namespace) -> None:
    """Draw the figure and write its three files."""
    file = arguments.study.replace("-", "_")
    module = specification.component("figures", file, at="--study")
    component = arguments.component.replace("-", "_")
    known = [name for name, _ in inspect.getmembers(module, inspect.isfunction) if name[0] != "_"]
    settings_class = getattr(module, _camel_case(component), None)
    if component not in known or settings_class is None:
        raise UserError(
            f"figures.{arguments.figure}.component: {arguments.component} is not a figure of "
            f"{arguments.study}; it has {', '.join(known)}"
        )
    try:
        settings = settings_class.model_validate(json.loads(arguments.settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"figures.{arguments.figure}.settings.{key}: {first['msg']}") from None
    given = {path.stem: tables.read(path) for path in arguments.tables}
    given["runs"] = tables.read(arguments.runs_table)
    figure, drawn = getattr(module, component)(given, settings)
    plots.save(figure, drawn, arguments.out)


def _camel_case(name: str) -> str:
    """``accuracy_over_tasks`` -> ``AccuracyOverTasks``: the name of a figure's settings."""
    return "".join(word.capitalize() for word in name.split("_"))
