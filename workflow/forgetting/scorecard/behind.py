"""What a row of the scorecard opens: definition, rows, runs and the command that makes it again."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DOUBTS = {
    "paper_and_code": ("paper ≠ code", "The paper's text and its code differ"),
    "estimator": ("estimator", "About the estimator"),
    "baseline": ("baselines", "Against which baselines"),
}
"""For each kind of doubt a badge and a heading."""
PARTS = ("benchmark", "architecture")


@dataclass(frozen=True)
class Run:
    """A training run behind a number."""

    path: str
    seeds: str
    data: str
    ended: str
    code: str
    settings: tuple[tuple[str, str, str], ...] = ()
    """Part, component and settings in words."""
    made: str = ""
    """Commit, device and versions."""

    @property
    def anchor(self) -> str:
        """Its part of an address within the page."""
        return slug(self.path)


@dataclass(frozen=True)
class Details:
    """What stands behind one row."""

    main: bool = False
    reasons: tuple[str, ...] = ()
    tested: str = ""
    note: str = ""
    doubts: tuple[tuple[str, str, str], ...] = ()
    """Badge, heading and text of each."""
    figures: tuple[str, ...] = ()
    numbers: tuple[Mapping[str, Any], ...] = ()
    """The claim's own, then that of its precondition: heading, definition, settings, slices."""
    runs: tuple[Run, ...] = ()
    command: str = ""
    cost: str = ""
    """Minutes of training and commits of the runs."""
    region: tuple[float | None, float | None] = (None, None)

    @property
    def data(self) -> str:
        """The data of its runs, in words."""
        return ", ".join(dict.fromkeys(run.data for run in self.runs if run.data))

    @property
    def why(self) -> str:
        """The first reason, without its particulars."""
        return self.reasons[0].partition(":")[0] if self.numbers and self.reasons else ""


@dataclass(frozen=True)
class Context:
    """What is said of all rows of a study alike."""

    study: str
    preset: str
    seeds: int | None = None
    """Number of seeds that was asked for, where it is not the study's."""
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """run.json of each run by its path."""


def details(basis: Mapping[str, Any], context: Context) -> Details:
    """An entry of ``claims.json``, ready to print."""
    runs = tuple(
        run(path, seeds, context.records.get(path)) for path, seeds in basis["runs"].items()
    )
    numbers = [_number("Ours, seed by seed", basis["number"])] if basis["number"] else []
    if condition := basis["precondition"]:
        met = "met" if condition["met"] else "not met"
        heading = f"Precondition, {met}: {condition['text']}"
        mean, low, high = condition.get("interval") or (None, None, None)
        interval = "" if mean is None else f"mean {mean:.3g}"
        interval += "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
        needed = f"{interval}; needed: {condition['holds']}"
        numbers.append({**_number(heading, condition.get("number") or {}), "needed": needed})
    return Details(
        main=basis["main"],
        reasons=tuple(basis["reasons"]),
        tested=basis["tested"],
        note=basis["note"],
        doubts=tuple((*DOUBTS[kind], text) for kind, text in basis["doubts"].items()),
        figures=tuple(basis["figures"]),
        numbers=tuple(numbers),
        runs=runs,
        command=command(basis["runs"], context) if runs else "",
        cost=cost([context.records[path] for path in basis["runs"] if path in context.records]),
        region=tuple(basis["region"]),
    )


def run(path: str, seeds: Sequence[int], record: Mapping[str, Any] | None) -> Run:
    """A run, with what its run.json says if it is there."""
    listed = ", ".join(map(str, seeds))
    if record is None:
        return Run(path, listed, "", "unknown", "unknown")
    spec, ends = record["spec"], record["seeds"]
    gone = [str(seed) for seed in seeds if ends.get(str(seed), {}).get("status") == "diverged"]
    parts = [(kind, spec[kind]["component"], spec[kind]["settings"]) for kind in PARTS]
    parts += [
        ("strategy", part["component"], part["settings"]) for part in spec["strategy"]["parts"]
    ]
    if start := spec["strategy"].get("starts_from"):
        parts.append(("starts from", "", start))
    parts.append(("training", "", spec["training"]))
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    made = [f"commit {record['commit'][:12]}" if record.get("commit") else "", record["device"]]
    made += [f"{record['wall_seconds'] / 60:.1f} minutes", versions]
    return Run(
        path=path,
        seeds=listed,
        data=" + ".join(_data(each) for each in record["datasets"]),
        ended=f"seed {', '.join(gone)} diverged" if gone else record["status"],
        code=record["fingerprint"],
        settings=tuple((kind, name, words(settings)) for kind, name, settings in parts),
        made=", ".join(part for part in made if part),
    )


def command(runs: Iterable[str], context: Context) -> str:
    """The command that makes the claims of a study again from these runs alone."""
    entries = dict.fromkeys(path.rpartition("/")[0] for path in runs)
    only = ",".join(f"{entry}/*" for entry in entries)
    real = any(
        not data["stand_in"]
        for path in runs
        for data in context.records.get(path, {}).get("datasets", ())
    )
    config = [f"preset={context.preset}", f"only={shlex.quote(only)}"]
    config += [f"seeds={context.seeds}"] if context.seeds else []
    config += ["download=true"] if real else []
    target = f"{context.preset}/{context.study}/partial/only/claims.csv"
    return f"snakemake --cores 2 {target} --config {' '.join(config)}"


def cost(records: Sequence[Mapping[str, Any]]) -> str:
    """What training these runs took, and the commits that they were made at."""
    if not records:
        return ""
    minutes = sum(record["wall_seconds"] for record in records) / 60
    commits = dict.fromkeys(str(record["commit"])[:12] for record in records if record["commit"])
    devices = ", ".join(dict.fromkeys(record["device"] for record in records))
    made = f" at commit {', '.join(commits)}" if commits else ""
    took = f"{minutes:.0f} minutes" if minutes >= 1 else "less than a minute"
    return f"Training these runs{made} took {took} in all ({devices}), one after the other"


def words(settings: Mapping[str, Any]) -> str:
    """Settings as text: names with their values, without those that are not set."""
    return ", ".join(
        f"{name} {_value(value)}"
        for name, value in settings.items()
        if value is not None and value != [] and value != {}
    )


def blocks(definition: str) -> list[tuple[str, str]]:
    """A docstring as paragraphs (``p``) and indented formulas (``pre``)."""
    parts = [part for part in re.split(r"\n\s*\n", definition) if part.strip()]
    return [
        ("pre", part)
        if all(line.startswith("    ") for line in part.splitlines())
        else ("p", " ".join(part.split()))
        for part in parts
    ]


def slug(text: str) -> str:
    """A text as part of an address within the page."""
    return re.sub(r"[^\w.~]+", "-", text).strip("-")


def _number(heading: str, number: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "heading": heading,
        "statistic": number.get("statistic", ""),
        "definition": blocks(number.get("definition", "")),
        "settings": words(number.get("settings", {})),
        "per_seed": {
            seed: "none" if value is None else f"{value:.4g}"
            for seed, value in number.get("per_seed", {}).items()
        },
        "slices": number.get("slices", []),
        "needed": "",
    }


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({words(value)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data(about: Mapping[str, Any]) -> str:
    stand_in = "stand-in " if about["stand_in"] else ""
    return f"{stand_in}{about['name']}, {about['train_images']:,} images"
