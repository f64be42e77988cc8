"""The table of runs: from a study to what every job of the workflow is given.

Everything is resolved when the workflow is parsed. A job's identity is the text it receives:
one canonical JSON string for each part, so that the reason for running it again names the part
that changed.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgetting import components, seeds
from forgetting.claims import Claim, Precondition, expand, needed_tables
from forgetting.configuration import Config
from forgetting.documents import Document, Key, merge
from forgetting.entries import Resolved, canonical, pick, resolve
from forgetting.errors import UserError
from forgetting.fingerprint import Component
from forgetting.sources import Reference, Source, key
from forgetting.study import Benchmark, Resources, Strategy, Study

Resolver = Callable[[Reference], Source]
BASE_TABLES = ("accuracy", "runs")
ENTRY_SETTINGS = ("benchmark", "architecture", "strategy")


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


@dataclass(frozen=True)
class MeasureSpec:
    """One measure and the runs it is taken of."""

    component: str
    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Paths of runs."""
    resources: Resources


@dataclass(frozen=True)
class FigureSpec:
    """One figure."""

    component: str
    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Names of tables."""
    caption: str
    entries: Mapping[str, str]
    """Benchmark, architecture or strategy that it is about."""

    @property
    def labels(self) -> dict[str, str]:
        """What tells it from the study's other figures in the report."""
        return {"figure": self.component.replace("_", " "), **self.entries}


@dataclass(frozen=True)
class Judgement:
    """The claims of a study."""

    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Names of tables."""


@dataclass(frozen=True)
class StudyPlan:
    """Everything that one study consists of under one preset."""

    study: Study
    preset: str
    runs: Mapping[str, RunSpec]
    """All runs by path."""
    selected: tuple[str, ...]
    """Paths of the runs that are aggregated: all, or those that ``only`` matches."""
    measures: Mapping[str, MeasureSpec]
    tables: Mapping[str, tuple[str, ...]]
    """Every table, with the tables it is derived from."""
    figures: Mapping[str, FigureSpec]
    judgement: Mapping[str, Judgement]
    """Under "claims", if the study has any."""
    sources: Mapping[str, Source]
    """Data sets by key."""


def build(study: Study, document: Document, config: Config, find: Resolver) -> StudyPlan:
    """Return the plan of a study; ``find`` turns a reference to a data set into its source.

    Raises:
        UserError: The study names something that does not exist, or contradicts itself.
    """
    found = {
        kind: resolve(kind, getattr(study, kind), document, study=study.study)
        for kind in ("benchmarks", "architectures", "strategies", "measures", "figures")
    }
    measures = {m.name: m for rungs in found["measures"].values() for m in rungs}
    tables = _tables(study, document, list(measures))
    claims = _claims(study, document, tables)
    figures = _figures(study, document, found, tables)
    sources: dict[str, Source] = {}
    groups = {
        name: {run.path: run for run in _group(study, name, document, config, found, find, sources)}
        for name in study.runs
    }
    runs: dict[str, RunSpec] = {}
    for name, members in groups.items():
        for path, run in members.items():
            if runs.setdefault(path, run) != run:
                raise document.error(
                    ("runs", name),
                    f"{path} is in another group too, with other settings; "
                    "give the entry a second name",
                )
    for run in runs.values():
        if run.start is not None and run.start not in runs:
            raise document.error(
                ("strategies", run.strategy.split("~")[0], "starts_from"),
                f"{run.path} continues {run.start}, which is in no group of runs",
            )
    selected = _selected(study.study, list(runs), config.only)
    return StudyPlan(
        study=study,
        preset=config.preset,
        runs=runs,
        selected=selected,
        measures={
            name: _measure(measure, document, groups, runs, study.resources.measure)
            for name, measure in measures.items()
        },
        tables=tables,
        figures={n: f for n, f in figures.items() if _drawable(f, [runs[p] for p in selected])},
        judgement={} if claims is None else {"claims": claims},
        sources=sources,
    )


def _group(
    study: Study,
    name: str,
    document: Document,
    config: Config,
    found: Mapping[str, Mapping[str, tuple[Resolved, ...]]],
    find: Resolver,
    sources: dict[str, Source],
) -> Iterator[RunSpec]:
    group, place = study.runs[name], ("runs", name)
    model = components.class_of(components.PACKAGE / "training.py", "Settings")
    document.check(model, study.training, ("training",))
    training = document.check(model, merge(study.training, group.training), (*place, "training"))
    asked = merge(study.resources.train.model_dump(), group.resources)
    resources = document.check(Resources, asked, (*place, "resources"))
    try:
        packs = seeds.packs(study.seeds if group.seeds is None else group.seeds, upto=config.seeds)
    except UserError as error:
        where = ("seeds",) if group.seeds is None else (*place, "seeds")
        raise document.error(where, str(error)) from None
    benchmarks, architectures, strategies = (
        pick(found[kind], getattr(group, kind), document, (*place, kind))
        for kind in ("benchmarks", "architectures", "strategies")
    )
    for benchmark in benchmarks:
        entry = benchmark.entry
        assert isinstance(entry, Benchmark)
        wanted = [entry.dataset] if entry.datasets is None else entry.datasets
        data = {}
        for reference in wanted:
            assert reference is not None
            try:
                source = find(reference)
            except UserError as error:
                where = ("benchmarks", benchmark.key[1], "dataset" if entry.dataset else "datasets")
                raise MissingData(str(document.error(where, str(error)))) from None
            data[key(source)] = source
        sources.update(data)
        for architecture in architectures:
            for strategy in strategies:
                for pack, members in packs.items():
                    start = strategy.entry.starts_from  # type: ignore[attr-defined]
                    common = f"{benchmark.name}/{architecture.name}"
                    yield RunSpec(
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
                        start=start and f"{common}/{start.strategy}/seeds{pack}",
                    )


def _named(entry: Resolved) -> dict[str, Any]:
    return {"name": entry.name, "component": entry.component, "settings": entry.settings}


def _strategy(entry: Resolved) -> dict[str, Any]:
    assert isinstance(entry.entry, Strategy)
    parts = [{"component": name, "settings": settings} for name, settings in entry.parts]
    start = entry.entry.starts_from
    continued = {} if start is None else {"starts_from": start.model_dump()}
    return {"name": entry.name, "parts": parts, **continued}


def _evidence(study: Study, benchmark: Benchmark, sources: Sequence[Source]) -> str:
    if any(source.stand_in for source in sources):
        return "stand-in"
    if not all(source.name in benchmark.paper_datasets for source in sources):
        return "other data"
    return study.evidence


def _selected(study: str, paths: list[str], only: str | None) -> tuple[str, ...]:
    if only is None:
        return tuple(paths)
    return tuple(
        path
        for path in paths
        if fnmatch.fnmatchcase(path, only) or fnmatch.fnmatchcase(f"{study}/{path}", only)
    )


def _measure(
    measure: Resolved,
    document: Document,
    groups: Mapping[str, Mapping[str, RunSpec]],
    runs: Mapping[str, RunSpec],
    resources: Resources,
) -> MeasureSpec:
    of = measure.entry.runs  # type: ignore[attr-defined]
    if of == "all":
        paths = list(runs)
    else:
        for position, name in enumerate(of):
            document.choose((*measure.key, "runs", position), name, groups, what="a group of runs")
        paths = list(dict.fromkeys(path for name in of for path in groups[name]))
    return MeasureSpec(
        component=measure.component,
        settings=canonical(measure.settings),
        components=(("measures", measure.component),),
        needs=tuple(paths),
        resources=resources,
    )


def _tables(study: Study, document: Document, measures: list[str]) -> dict[str, tuple[str, ...]]:
    known = dict.fromkeys((*BASE_TABLES, *measures), ())
    derived = {"scores": ("accuracy",)}
    derived |= {name: tuple(table.made_from) for name, table in study.tables.items()}
    for name, sources in derived.items():
        for position, source in enumerate(sources):
            options = [other for other in {**known, **derived} if other != name]
            document.choose(("tables", name, "from", position), source, options, what="a table")
    return {**known, **derived}


def _figures(
    study: Study,
    document: Document,
    found: Mapping[str, Mapping[str, tuple[Resolved, ...]]],
    tables: Mapping[str, Any],
) -> dict[str, FigureSpec]:
    figures = {}
    for figure in (rung for rungs in found["figures"].values() for rung in rungs):
        named = {
            part: figure.settings[part] for part in ENTRY_SETTINGS if figure.settings.get(part)
        }
        for part, value in named.items():
            kind = {"strategy": "strategies"}.get(part, f"{part}s")
            pick(found[kind], [value], document, (*figure.key, "settings", part, kind))
        for position, table in enumerate(figure.entry.tables):  # type: ignore[attr-defined]
            document.choose((*figure.key, "tables", position), table, tables, what="a table")
        figures[figure.name] = FigureSpec(
            component=figure.component,
            settings=canonical(figure.settings),
            components=(("figures", study.study.replace("-", "_")),),
            needs=tuple(figure.entry.tables),  # type: ignore[attr-defined]
            caption=figure.entry.caption or f"{figure.component}.rst",  # type: ignore[attr-defined]
            entries=named,
        )
    return figures


def _drawable(figure: FigureSpec, runs: Sequence[RunSpec]) -> bool:
    """Whether some run is of the entries that the figure is about."""
    wanted = figure.entries.items()
    return any(all(getattr(run, part) == name for part, name in wanted) for run in runs)


def _claims(study: Study, document: Document, tables: Mapping[str, Any]) -> Judgement | None:
    if not study.claims:
        return None
    try:
        expanded = expand(study.claims)
    except UserError as error:
        raise UserError(f"{document.path}: {error}") from None
    used = set()
    for name, claim in expanded.items():
        place: Key = ("claims", name.partition("[")[0])
        used.add(_statistic(claim, place, document))
        if claim.precondition is not None:
            used.add(_statistic(claim.precondition, (*place, "precondition"), document))
    needs = needed_tables(expanded.values())
    for table in needs:
        document.choose(("claims",), table, tables, what="a table")
    return Judgement(
        settings=canonical(study.claims),
        components=tuple(("evidence", name) for name in sorted(used)),
        needs=tuple(needs),
    )


def _statistic(part: Claim | Precondition, place: Key, document: Document) -> str:
    known = components.names("evidence")
    what = "a file of workflow/forgetting/evidence"
    document.choose((*place, "statistic"), part.statistic, known, what=what)
    model = components.settings_class("evidence", part.statistic)
    document.check(model, part.settings, (*place, "settings"))
    return part.statistic
