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
from forgetting.documents import Document, Key, merge
from forgetting.entries import Resolved, canonical, changed, pick
from forgetting.errors import UserError
from forgetting.fingerprint import Component
from forgetting.sources import Reference, Source, key
from forgetting.study import Architecture, Benchmark, Choice, Group, Resources, Strategy, Study

LIMIT = 20_000
"""Runs of a group, each a training job."""
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
    count = len(benchmarks) * len(architectures) * len(strategies) * len(packs)
    if count > LIMIT:
        raise document.error(place, f"found {count} runs; a group may have at most {LIMIT}")
    for chosen in asked.choices:
        # A preset that runs fewer strategies may leave the choices for the others.
        rungs = [rung.name for each in found["strategies"].values() for rung in each]
        known = [*found["strategies"], *rungs]
        document.choose((*place, "choices", chosen), chosen, known, what="an entry of strategies")
    usual = components.class_of(components.PACKAGE / "training.py", "Settings")
    document.check(usual, study.training, ("training",))
    for benchmark in benchmarks:
        entry = benchmark.entry
        assert isinstance(entry, Benchmark)
        loop = components.trained_by(benchmark.component)
        model = components.class_of(loop, "Settings")
        # Of what the study says of all runs, what another loop does not have is not about it.
        common = {k: v for k, v in study.training.items() if k in model.model_fields}
        document.check(model, merge(common, asked.training), (*place, "training"))
        data = _data(benchmark, entry, document, find)
        for architecture, strategy, (pack, members) in itertools.product(
            architectures, strategies, packs.items()
        ):
            assert isinstance(architecture.entry, Architecture)
            key, choice = choice_of(asked, name, strategy)
            document.check(model, architecture.entry.training, (*architecture.key, "training"))
            settings = merge(common, architecture.entry.training)
            settings = merge(merge(settings, asked.training), choice.training)
            training = document.check(model, settings, (*key, "training"))
            if getattr(training, "stop_accuracy", None) is not None and len(members) > 1:
                raise document.error(
                    (*key, "training"),
                    f"stop_accuracy needs packs of one seed, and {pack} are {len(members)}: write "
                    f"seeds: {list(members)}",
                )
            if getattr(training, "restore_best", False) and not entry.settings.get("validation"):
                raise document.error(
                    (*key, "training"),
                    "restore_best needs images set aside to tell which epoch was best: set "
                    f"validation among the settings of benchmark {benchmark.name} (component "
                    "incremental has it), or restore_best: false",
                )
            strategy = changed(strategy, choice.settings, document, (*key, "settings"))
            start = _start(strategy, entry, document)
            run = RunSpec(
                benchmark=benchmark.name,
                architecture=architecture.name,
                strategy=strategy.name,
                pack=pack,
                seeds=members,
                parts={
                    "benchmark": canonical(_named(benchmark)),
                    "architecture": canonical(_named(architecture)),
                    "strategy": canonical(_strategy(strategy, start)),
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
                start=(
                    f"{start.get('benchmark', benchmark.name)}/{architecture.name}/"
                    f"{start['strategy']}/seeds{pack}"
                    if start
                    else None
                ),
            )
            yield run, data


def choice_of(asked: Group, name: str, strategy: Resolved) -> tuple[Key, Choice]:
    """Return what a group chooses for a strategy, and where it says so."""
    for each in (strategy.name, str(strategy.key[-1])):
        if each in asked.choices:
            return ("runs", name, "choices", each), asked.choices[each]
    return ("runs", name), Choice()


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


def _start(strategy: Resolved, benchmark: Benchmark, document: Document) -> dict[str, Any]:
    """Return strategy, task and perhaps benchmark of the run that is continued; empty for none."""
    assert isinstance(strategy.entry, Strategy)
    asked = strategy.entry.starts_from
    start = asked or benchmark.continues
    if start is None:
        return {}
    wholly = [name for name, _ in strategy.parts if _must_see_all(name, upto=start.task)]
    if asked is not None:
        if wholly:
            raise document.error(
                (*strategy.key, "starts_from"),
                f"{wholly[0]} must see every task from the first on, so it cannot continue "
                f"another run after task {asked.task}; leave starts_from out",
            )
        return asked.model_dump(exclude_none=True)
    return {} if wholly else {**start.model_dump(), "strategy": strategy.name}


def _must_see_all(strategy: str, *, upto: int) -> bool:
    """Whether a strategy cannot go on from the weights that task ``upto`` ended with.

    It gathers memory while it trains, orders the tasks in its own way, or takes stock of every task
    as it ends, and the weights that those before ``upto`` ended with are not there.
    """
    defined = components.definitions("strategies", strategy)
    takes_stock = bool(defined & {"visit", "after_task"})
    gathers = "phases" in defined or "GATHERS_WHILE_TRAINING" in defined
    return gathers or (takes_stock and upto > 1)


def _named(entry: Resolved) -> dict[str, Any]:
    return {"name": entry.name, "component": entry.component, "settings": entry.settings}


def _strategy(entry: Resolved, start: dict[str, Any]) -> dict[str, Any]:
    parts = [{"component": name, "settings": settings} for name, settings in entry.parts]
    return {"name": entry.name, "parts": parts, **({"starts_from": start} if start else {})}


def _evidence(study: Study, benchmark: Benchmark, sources: Sequence[Source]) -> str:
    if any(source.stand_in for source in sources):
        return "stand-in"
    if not all(source.name in benchmark.paper_datasets for source in sources):
        return "other data"
    return benchmark.evidence or study.evidence
