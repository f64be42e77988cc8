"""Train one run: all seeds of a pack with one strategy on one benchmark.

Under the workflow every part of the specification is an argument of its own, so that Snakemake
can say which of them changed. By hand, ``--spec results/.../run.json --out DIR`` repeats a run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from forgetting import devices, specification
from forgetting.errors import UserError
from forgetting.execute import Job, execute
from forgetting.fingerprint import fingerprint, train_components

PARTS = ("benchmark", "architecture", "strategy", "training")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--spec", type=Path, help="a run.json whose run is repeated")
    parser.add_argument("--study")
    parser.add_argument("--preset")
    for part in PARTS:
        parser.add_argument(f"--{part}", help="JSON")
    parser.add_argument("--seeds", help="JSON list of the pack's seeds")
    parser.add_argument("--data", type=Path, nargs="*", help="data/KEY.json of each data set")
    parser.add_argument("--start", type=Path, nargs="*", help="run.json of the run to start from")
    parser.add_argument("--code", help="fingerprint of the code; default: computed")
    devices.add_arguments(parser)
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between states")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on, or publish again."""
    spec, data, start = _by_hand(arguments) if arguments.spec else _by_rule(arguments)
    components = train_components(spec)

    def code_now() -> str:
        return fingerprint("train", components)

    job = Job(
        spec=spec,
        folder=arguments.out,
        sidecars=data,
        parent=start,
        code=arguments.code or code_now(),
        device=devices.requested(arguments),
        save_every=arguments.save_every,
    )
    execute(job, report=lambda line: print(line, flush=True), code_now=code_now)


def _by_rule(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Path], Path | None]:
    missing = [
        name
        for name in ("study", "preset", *PARTS, "seeds", "data")
        if getattr(arguments, name) is None
    ]
    if missing:
        raise UserError(
            f"missing --{', --'.join(missing)}; to repeat a run by hand give "
            "--spec results/.../run.json --out DIR"
        )
    spec = {"study": arguments.study, "preset": arguments.preset}
    for part in (*PARTS, "seeds"):
        try:
            spec[part] = json.loads(getattr(arguments, part))
        except (ValueError, RecursionError) as error:
            raise UserError(f"--{part}: not JSON ({error})") from None
    specification.check(spec, at="arguments")
    return spec, arguments.data, arguments.start[0] if arguments.start else None


def _by_hand(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Path], Path | None]:
    path: Path = arguments.spec
    recorded = specification.read(path, at="--spec")
    spec, keys = recorded["spec"], [about["key"] for about in recorded["datasets"]]
    data = arguments.data or [_find(path, Path("data") / f"{key}.json") for key in keys]
    if arguments.start:
        return spec, data, arguments.start[0]
    parent = path.parent / recorded["parent"] if recorded.get("parent") else None
    return spec, data, parent


def _find(beside: Path, relative: Path) -> Path:
    for folder in beside.resolve().parents:
        if (folder / relative).exists():
            return folder / relative
    raise UserError(
        f"no {relative} in any folder above {beside}; name it with --data .../{relative}"
    )
