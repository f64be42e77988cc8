"""The table of runs: every training job of a study, with all that the job is given.

A job's identity is the text it receives: one canonical JSON string for each part, so that the
reason for running it again names the part that changed.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgetting import components, seeds
from forgetting.configuration import Config
from forgetting.documents import Document, merge
from forgetting.entries import Resolved, canonical, pick
from forgetting.errors import UserError
from forgetting.fingerprint import Component
from forgetting.sources import Reference, Source, key
from forgetting.study import Benchmark, Resources, Strategy, Study

Resolver = Callable[[Reference], Source]
Entries = Mapping[str, Mapping[str, tuple[Resolved, ...]]]


class MissingData(UserError):
    """No data set that a study names is present; its other mistakes are plain user errors."""


@dataclass(frozen=True)
class RunSpec:
    """One training job."""

    benchmark: str
    architecture: str
    strategy: str
    pack: str
    seeds: tuple[int, ...]
    parts: Mapping[str, str]
    """Canonical JSON of benchmark, architecture, strategy and training."""
    data: tuple[str, ...]
    """Keys of its prepared data sets."""
    metric: str
    """Accuracy that its benchmark is judged by."""
    evidence: str
    """What a verdict on it bears on."""
    components: tuple[Component, ...]
    """Components whose code it runs."""
    resources: Resources
    start: str | None = None
    """Path of the run that it continues."""

    @property
    def seeds_json(self) -> str:
        """The seeds as JSON."""
        return canonical(self.seeds)

    @property
    def built(self) -> tuple[Component, ...]:
        """The components that a checkpoint is looked at through: benchmark and architecture."""
        return self.components[:2]

    @property
    def path(self) -> str:
        """Its folder under runs/."""
        return f"{self.benchmark}/{self.architecture}/{self.strategy}/seeds{self.pack}"


def group(
    study: Study, name: str, document: Document, config: Config, found: Entries, find: Resolver
) -> Iterator[tuple[RunSpec, dict[str, Source]]]:
    """Yield the runs of one group, each with its data sets by key.

    ``found`` holds the study's entries by section and name; ``find`` turns a reference to a data
    set into its source.

    Raises:
        UserError: A name or a setting is wrong.
        MissingData: A data set is not there.
    """
    asked, place = study.runs[name], ("runs", name)
    model = components.class_of(components.PACKAGE / "training.py", "Settings")
    document.check(model, study.training, ("training",))
    training = document.check(model, merge(study.training, asked.training), (*place, "training"))
    needed = merge(study.resources.train.model_dump(), asked.resources)
    resources = document.check(Resources, needed, (*place, "resources"))
    try:
        packs = seeds.packs(study.seeds if asked.seeds is None else asked.seeds, upto=config.seeds)
    except UserError as error:
        where = ("seeds",) if asked.seeds is None else (*place, "seeds")
        raise document.error(where, str(error)) from None
    benchmarks, architectures, strategies = (
        pick(found[kind], getattr(asked, kind), document, (*place, kind))
        for kind in ("benchmarks", "architectures", "strategies")
    )
    for benchmark in benchmarks:
        entry = benchmark.entry
        assert isinstance(entry, Benchmark)
        data = _data(benchmark, entry, document, find)
        for strategy in strategies:
            _check_start(strategy, document)
        for architecture, strategy, (pack, members) in itertools.product(
            architectures, strategies, packs.items()
        ):
            run = RunSpec(
                benchmark=benchmark.name,
                architecture=architecture.name,
                strategy=strategy.name,
                pack=pack,
                seeds=members,
                parts={
                    "benchmark": canonical(_named(benchmark)),
                    "architecture": canonical(_named(architecture)),
                    "strategy": canonical(_strategy(strategy)),
                    "training": canonical(training.model_dump(mode="json")),
                },
                data=tuple(data),
                metric=entry.metric,
                evidence=_evidence(study, entry, list(data.values())),
                components=(
                    ("benchmarks", benchmark.component),
                    ("architectures", architecture.component),
                    *(("strategies", component) for component, _ in strategy.parts),
                ),
                resources=resources,
                start=_start(strategy, benchmark.name, architecture.name, pack),
            )
            yield run, data


def _data(
    benchmark: Resolved, entry: Benchmark, document: Document, find: Resolver
) -> dict[str, Source]:
    data = {}
    for reference in [entry.dataset] if entry.datasets is None else entry.datasets:
        assert reference is not None
        try:
            source = find(reference)
        except UserError as error:
            where = (*benchmark.key, "dataset" if entry.dataset else "datasets")
            raise MissingData(str(document.error(where, str(error)))) from None
        data[key(source)] = source
    return data


def _start(strategy: Resolved, benchmark: str, architecture: str, pack: str) -> str | None:
    assert isinstance(strategy.entry, Strategy)
    start = strategy.entry.starts_from
    if start is None:
        return None
    return f"{start.benchmark or benchmark}/{architecture}/{start.strategy}/seeds{pack}"


def _check_start(strategy: Resolved, document: Document) -> None:
    assert isinstance(strategy.entry, Strategy)
    if strategy.entry.starts_from is None:
        return
    for component, _ in strategy.parts:
        if components.constant("strategies", component, "GATHERS_WHILE_TRAINING"):
            raise document.error(
                (*strategy.key, "starts_from"),
                f"{component} gathers its memory while it trains, so it cannot continue another "
                "run; leave starts_from out",
            )


def _named(entry: Resolved) -> dict[str, Any]:
    return {"name": entry.name, "component": entry.component, "settings": entry.settings}


def _strategy(entry: Resolved) -> dict[str, Any]:
    assert isinstance(entry.entry, Strategy)
    parts = [{"component": name, "settings": settings} for name, settings in entry.parts]
    start = entry.entry.starts_from
    continued = {} if start is None else {"starts_from": start.model_dump(exclude_none=True)}
    return {"name": entry.name, "parts": parts, **continued}


def _evidence(study: Study, benchmark: Benchmark, sources: Sequence[Source]) -> str:
    if any(source.stand_in for source in sources):
        return "stand-in"
    if not all(source.name in benchmark.paper_datasets for source in sources):
        return "other data"
    return study.evidence
