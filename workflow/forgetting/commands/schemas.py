"""Write the JSON schemas by which editors complete and check config.yaml and the studies.

They follow from the models that the workflow itself checks with; a test fails when the committed
files are not what this command writes.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

from forgetting import components
from forgetting.configuration import Config
from forgetting.results import atomic
from forgetting.study import StudyFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NULL = {"type": "null"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``schemas``."""
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")


def run(arguments: argparse.Namespace) -> None:
    """Write workflow/schemas/*.schema.json."""
    for name, schema in schemas().items():
        with atomic(arguments.root / "workflow" / "schemas" / name) as temporary:
            temporary.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas by file name."""
    return {
        "config.schema.json": {"$schema": DIALECT, **Config.model_json_schema()},
        "study.schema.json": {"$schema": DIALECT, **_study()},
    }


def _study() -> dict[str, Any]:
    schema = StudyFile.model_json_schema()
    settings = _training()
    schema["$defs"] |= {**settings.pop("$defs", {}), "Training": settings}
    for owner in (schema, schema["$defs"]["Group"]):
        owner["properties"]["training"] = {"$ref": "#/$defs/Training"}
    # A preset has the keys of a study, none of them required, and may remove any with null.
    preset = _optional({key: value for key, value in schema.items() if key != "$defs"})
    del preset["properties"]["presets"]
    definitions = {f"Preset{n}": _optional(d) for n, d in schema["$defs"].items()}
    schema["$defs"] |= {**definitions, "Preset": preset}
    schema["properties"]["presets"]["additionalProperties"] = {"$ref": "#/$defs/Preset"}
    return schema


def _training() -> dict[str, Any]:
    """Return the settings of all training loops, as if they were those of one."""
    loops = {components.trained_by(name) for name in components.names("benchmarks")}
    found: dict[str, Any] = {}
    for path in sorted(loops):  # the last is training.py: the loop over images
        loop = components.class_of(path, "Settings", documented=True).model_json_schema()
        for key in ("$defs", "properties"):
            loop[key] = {**found.get(key, {}), **loop.get(key, {})}
        found = loop
    return found


def _optional(schema: Any) -> Any:
    """Return a schema in which nothing is required, everything may be null."""
    if isinstance(schema, list):
        return [_optional(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"anyOf": [{"$ref": schema["$ref"].replace("$defs/", "$defs/Preset")}, NULL]}
    kept = {k: copy.deepcopy(v) for k, v in schema.items() if k not in ("required", "minItems")}
    for key in ("properties", "patternProperties"):
        if key in kept:
            kept[key] = {name: _nullable(_optional(part)) for name, part in kept[key].items()}
    for key in ("items", "anyOf"):
        if key in kept:
            kept[key] = _optional(kept[key])
    if "additionalProperties" in kept:
        kept["additionalProperties"] = _nullable(_optional(kept["additionalProperties"]))
    return kept


def _nullable(schema: Any) -> Any:
    if not isinstance(schema, dict) or NULL in schema.get("anyOf", []):
        return schema
    return {"anyOf": [schema, NULL]}
