"""Measure one finished run with one measure; write a tidy table.

The table's key-value metadata hold, under ``forgetting``, the measure, its settings, the code's
fingerprint, hashes of the weights that were looked at, and what the measure says about its probe.
"""

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from forgetting import devices, parquet, specification
from forgetting.errors import UserError
from forgetting.fingerprint import fingerprint, measure_components
from forgetting.moments import identity
from forgetting.runs import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--run", type=Path, required=True, help="the run's run.json")
    parser.add_argument("--measure", required=True, help="a file of measures/, e.g. erank")
    parser.add_argument("--settings", default="{}", help="JSON; default: the measure's defaults")
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], help="data/KEY.json of each data set"
    )
    parser.add_argument(
        "--against",
        nargs="*",
        default=[],
        metavar="ROLE=RUN.JSON",
        help="runs that the measure compares with",
    )
    parser.add_argument("--code", help="fingerprint of the code; default: computed")
    devices.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="the parquet file to write")


def run(arguments: argparse.Namespace) -> None:
    """Measure and write."""
    module = specification.component("measures", arguments.measure, at="--measure")
    settings = _settings(module, arguments.settings)
    others, request = _against(arguments.against), devices.requested(arguments)
    device = devices.resolve(request, report=lambda line: print(line, flush=True))
    with devices.memory_explained(device, request):
        view = open_run(arguments.run, arguments.data, device, against=others)
        frame = module.measure(view, settings)
    code = fingerprint("measure", measure_components(view.spec, arguments.measure))
    if arguments.code and arguments.code != code:
        raise UserError(
            "the code of this measurement changed while it ran, so its result is not kept; "
            "run the workflow again"
        )
    about = {
        "measure": arguments.measure,
        "settings": settings.model_dump(mode="json"),
        "fingerprint": code,
        "device": devices.describe(view.device),
        "weights": {role: identity(of.record) for role, of in {"run": view, **view.others}.items()},
        **frame.attrs,
    }
    write(frame, arguments.out, about=about)


def _against(given: list[str]) -> dict[str, Path]:
    pairs = [text.partition("=") for text in given]
    for role, _, path in pairs:
        if not role or not path:
            raise UserError(f"--against {role}: give ROLE=RUN.JSON, such as reference=.../run.json")
    return {role: Path(path) for role, _, path in pairs}


def write(frame: pd.DataFrame, path: Path, *, about: dict[str, Any]) -> None:
    """Write a table with a description under the metadata key ``forgetting``."""
    frame = frame.copy(deep=False)
    frame.attrs = {}  # pandas would store them a second time
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"forgetting": json.dumps(about).encode()}
    parquet.write(table.replace_schema_metadata(metadata), path)


def _settings(module: ModuleType, given: str) -> Any:
    try:
        return module.Settings.model_validate_json(given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "JSON"
        raise UserError(f"--settings: {key}: {first['msg']}, found {first['input']!r}") from None
