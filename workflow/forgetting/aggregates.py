"""What is made from runs: measures, tables, figures and judged claims of a study."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from forgetting import components, wording
from forgetting.claims import Claim, Precondition, expand, needed_tables
from forgetting.documents import Document, Key
from forgetting.entries import Resolved, canonical, pick
from forgetting.errors import UserError
from forgetting.fingerprint import Component
from forgetting.run_table import Entries, RunSpec
from forgetting.rungs import without_rung
from forgetting.study import Figure, Measure, Resources, Study

BASE_TABLES = ("accuracy", "runs")
WHERE_WANTED = ("online", "history")
"""Tables made from runs for the studies that make another table or a figure of them."""
FROM_MEASURES = {"spectra": "hessian"}
"""Tables made from a measure's files, beside the one that bears the measure's name."""
ENTRY_SETTINGS = {
    "benchmark": "benchmarks",
    "architecture": "architectures",
    "strategy": "strategies",
}
SPOKEN = ("benchmark", "architecture")
"""Entries that have names in words."""


REPORT = components.PACKAGE.parent / "report"


@dataclass(frozen=True)
class MeasureSpec:
    """One measure and the runs it is taken of."""

    component: str
    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Paths of runs."""
    against: Mapping[str, str]
    """Strategy of the run that each is compared with, by the measure's word for it."""
    target: str
    """``study``, or ``across``: what it is taken for."""
    resources: Resources

    def compared(self, run: RunSpec) -> dict[str, str]:
        """Return the paths of the runs that a run is compared with, by the measure's word."""
        common = f"{run.benchmark}/{run.architecture}"
        return {role: f"{common}/{name}/seeds{run.pack}" for role, name in self.against.items()}


@dataclass(frozen=True)
class FigureSpec:
    """One figure."""

    title: str
    """Its name in words, without the rung of a ladder."""
    component: str
    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Names of tables."""
    caption: str
    entries: Mapping[str, str]
    """Benchmark, architecture or strategy that it is about."""
    rung: Mapping[str, str]
    """The setting that tells it from the others of its ladder."""

    @property
    def labels(self) -> dict[str, str]:
        """What tells it from the study's other figures in the report, in words."""
        named = {part: wording.name(self.entries[part]) for part in SPOKEN if part in self.entries}
        return {"figure": self.title, **self.entries, **self.rung, **named}


@dataclass(frozen=True)
class Judgement:
    """The claims of a study."""

    settings: str
    """Canonical JSON."""
    components: tuple[Component, ...]
    needs: tuple[str, ...]
    """Names of tables."""


def measure_spec(
    measure: Resolved,
    document: Document,
    groups: Mapping[str, Mapping[str, RunSpec]],
    resources: Resources,
) -> MeasureSpec:
    """Return a measure with the runs that it is taken of; ``groups`` are runs by group and path."""
    assert isinstance(measure.entry, Measure)
    chosen = list(groups) if measure.entry.runs == "all" else measure.entry.runs
    for position, name in enumerate(chosen):
        document.choose((*measure.key, "runs", position), name, groups, what="a group of runs")
    measured = {path: run for name in chosen for path, run in groups[name].items()}
    if "ENVIRONMENTS" not in components.definitions("measures", measure.component):
        for run in measured.values():
            if components.trained_by(run.components[0][1]).stem == "reinforcement":
                raise document.error(
                    (*measure.key, "runs"),
                    f"{run.path} acts in an environment, and {measure.component} measures what "
                    "networks make of labelled images; name the groups that have them",
                )
    spec = MeasureSpec(
        component=measure.component,
        settings=canonical(measure.settings),
        components=(("measures", measure.component),),
        needs=tuple(measured),
        against=measure.entry.against,
        target=measure.entry.target,
        resources=resources,
    )
    runs = {path for members in groups.values() for path in members}
    for run in measured.values():
        for role, path in spec.compared(run).items():
            if path not in runs:
                raise document.error(
                    (*measure.key, "against", role),
                    f"{run.path} is compared with {path}, which is in no group of runs",
                )
    return spec


def table_sources(
    study: Study, document: Document, measures: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return every table of the study with the tables that it is derived from."""
    asked = {source for table in study.tables.values() for source in table.made_from}
    asked |= {table for figure in study.figures.values() for table in figure.tables}
    wanted = [name for name in WHERE_WANTED if name in asked]
    names = {without_rung(measure): None for measure in measures}
    more = [table for table, measure in FROM_MEASURES.items() if measure in names]
    known: dict[str, tuple[str, ...]] = dict.fromkeys((*BASE_TABLES, *wanted, *names, *more), ())
    derived: dict[str, tuple[str, ...]] = {"scores": ("accuracy",)}
    derived |= {name: tuple(table.made_from) for name, table in study.tables.items()}
    for name in study.tables:
        makes = components.derived_tables()
        what = "a table that is made from others"
        component = document.choose(("tables", name), name.replace("-", "_"), makes, what=what)
        if missing := [need for need in makes[component] if need not in derived[name]]:
            raise document.error(
                ("tables", name, "from"), f"lacks {', '.join(missing)}, which it is made of"
            )
    for name, sources in derived.items():
        for position, source in enumerate(sources):
            options = [other for other in {**known, **derived} if other != name]
            document.choose(("tables", name, "from", position), source, options, what="a table")
    made, pending = set(known), dict(derived)
    while ready := [name for name, needs in pending.items() if made.issuperset(needs)]:
        made.update(ready)
        for name in ready:
            del pending[name]
    if pending:
        raise document.error(
            ("tables", next(iter(pending)), "from"), f"{', '.join(pending)} are made of each other"
        )
    return {**known, **derived}


def with_rows(
    tables: Mapping[str, tuple[str, ...]],
    measures: Mapping[str, MeasureSpec],
    selected: Set[str],
) -> dict[str, tuple[str, ...]]:
    """Return the tables without those of measures that no selected run has, and what needs them."""
    taken: dict[str, bool] = {}
    for name, measure in measures.items():
        table = without_rung(name)
        taken[table] = taken.get(table, False) or not selected.isdisjoint(measure.needs)
    gone = {table for table in tables if not taken.get(FROM_MEASURES.get(table, table), True)}
    while more := {table for table, made_from in tables.items() if gone & {*made_from}} - gone:
        gone |= more
    return {table: made_from for table, made_from in tables.items() if table not in gone}


def figure_specs(
    study: Study, document: Document, found: Entries, tables: Mapping[str, Any]
) -> dict[str, FigureSpec]:
    """Return the figures by name."""
    figures = {}
    captions = sorted(path.name for path in REPORT.glob("*.rst"))
    for figure in (rung for rungs in found["figures"].values() for rung in rungs):
        assert isinstance(figure.entry, Figure)
        named = {}
        for part, kind in ENTRY_SETTINGS.items():
            value = figure.settings.get(part)
            if value is not None:
                pick(found[kind], [value], document, (*figure.key, "settings", part, kind))
                named[part] = value
        for position, table in enumerate(figure.entry.tables):
            document.choose((*figure.key, "tables", position), table, tables, what="a table")
        if figure.entry.caption is not None:
            what = "a file of workflow/report"
            document.choose((*figure.key, "caption"), figure.entry.caption, captions, what=what)
        figures[figure.name] = FigureSpec(
            title=re.sub("[-_]", " ", without_rung(figure.name)),
            component=figure.component,
            settings=canonical(figure.settings),
            components=(("figures", study.study.replace("-", "_")),),
            needs=tuple(figure.entry.tables),
            caption=figure.entry.caption or f"{figure.component}.rst",
            entries=named,
            rung={key: str(figure.settings[key]) for key in figure.entry.ladder or {}},
        )
    return figures


def drawable(figure: FigureSpec, runs: Sequence[RunSpec]) -> bool:
    """Whether some run is of the entries that the figure is about."""
    wanted = figure.entries.items()
    return any(all(getattr(run, part) == name for part, name in wanted) for run in runs)


def judgement(study: Study, document: Document, tables: Mapping[str, Any]) -> dict[str, Judgement]:
    """Return the study's claims, under "claims"; nothing for a study that has none."""
    if not study.claims:
        return {}
    try:
        expanded = expand(study.claims)
    except UserError as error:
        for name, entry in study.claims.items():
            document.check(Claim, entry, ("claims", name))  # says more of where it stands
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
    judged = Judgement(
        settings=canonical(study.claims),
        components=tuple(("evidence", name) for name in sorted(used)),
        needs=tuple(needs),
    )
    return {"claims": judged}


def _statistic(part: Claim | Precondition, place: Key, document: Document) -> str:
    known = components.names("evidence")
    what = "a file of workflow/forgetting/evidence"
    document.choose((*place, "statistic"), part.statistic, known, what=what)
    model = components.settings_class("evidence", part.statistic)
    document.check(model, part.settings, (*place, "settings"))
    return part.statistic
