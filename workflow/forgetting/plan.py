"""The plan of a study: what its YAML file and a preset amount to, job by job.

Everything is resolved when the workflow is parsed: the runs (:mod:`forgetting.run_table`) and
what is made from them (:mod:`forgetting.aggregates`).
"""

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forgetting import aggregates, run_table
from forgetting.aggregates import FigureSpec, Judgement, MeasureSpec
from forgetting.configuration import Config
from forgetting.documents import Document
from forgetting.entries import KINDS, Resolved, resolve
from forgetting.run_table import Resolver, RunSpec
from forgetting.rungs import without_rung
from forgetting.sources import Source
from forgetting.study import Measure, Study


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

    def measured(self, table: str) -> list[tuple[str, str]]:
        """Return measure and run of every file that a table is collected from.

        The rungs of a measure (``hessian~small``, ``hessian~large``) share one table.
        """
        source = aggregates.FROM_MEASURES.get(table, table)
        mine = {name: m for name, m in self.own.items() if without_rung(name) == source}
        return [(name, path) for name, measure in mine.items() for path in measure.needs]

    @property
    def own(self) -> dict[str, MeasureSpec]:
        """The measures that the study itself takes."""
        return {name: m for name, m in self.measures.items() if m.target == "study"}

    @property
    def across(self) -> dict[str, MeasureSpec]:
        """The measures that only the comparison across studies takes."""
        return {name: m for name, m in self.measures.items() if m.target == "across"}


def build(study: Study, document: Document, config: Config, find: Resolver) -> StudyPlan:
    """Return the plan of a study; ``find`` turns a reference to a data set into its source.

    Raises:
        UserError: The study names something that does not exist, or contradicts itself.
    """
    found = {
        kind: resolve(kind, getattr(study, kind), document, study=study.study) for kind in KINDS
    }
    measures = {measure.name: measure for rungs in found["measures"].values() for measure in rungs}
    own = [name for name, each in measures.items() if _is_own(each)]
    tables = aggregates.table_sources(study, document, own)
    figures = aggregates.figure_specs(study, document, found, tables)
    judgement = aggregates.judgement(study, document, tables)
    sources: dict[str, Source] = {}
    groups: dict[str, dict[str, RunSpec]] = {}
    for name in study.runs:
        groups[name] = {}
        for run, data in run_table.group(study, name, document, config, found, find):
            groups[name][run.path] = run
            sources |= data
    runs = _joined(groups, document)
    selected = _selected(study.study, list(runs), config.only)
    drawn = [runs[path] for path in selected]
    specs = {
        name: aggregates.measure_spec(measure, document, groups, study.resources.measure)
        for name, measure in measures.items()
    }
    tables = aggregates.with_rows(tables, specs, set(selected))
    return StudyPlan(
        study=study,
        preset=config.preset,
        runs=runs,
        selected=selected,
        measures=specs,
        tables=tables,
        figures={
            name: figure
            for name, figure in figures.items()
            if aggregates.drawable(figure, drawn) and tables.keys() >= set(figure.needs)
        },
        judgement={
            name: replace(each, needs=tuple(need for need in each.needs if need in tables))
            for name, each in judgement.items()
        },
        sources=sources,
    )


def _is_own(measure: Resolved) -> bool:
    assert isinstance(measure.entry, Measure)
    return measure.entry.target == "study"


def _joined(groups: Mapping[str, Mapping[str, RunSpec]], document: Document) -> dict[str, RunSpec]:
    """Return all runs by path; a run in two groups must be the same run."""
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
        if run.start is not None and run.start in runs:
            _check_kept(run, runs[run.start], document)
        elif run.start is not None:
            own = run.start.startswith(f"{run.benchmark}/")
            raise document.error(
                ("strategies", without_rung(run.strategy), "starts_from")
                if own
                else ("benchmarks", without_rung(run.benchmark), "continues"),
                f"{run.path} continues {run.start}, which is in no group of runs",
            )
    return runs


def _check_kept(run: RunSpec, parent: RunSpec, document: Document) -> None:
    """Refuse to start from a moment that the parent does not keep."""
    epoch = json.loads(run.parts["strategy"])["starts_from"].get("epoch")
    kept = json.loads(parent.parts["training"]).get("checkpoint_epochs", [])
    if epoch is not None and epoch not in kept:
        raise document.error(
            ("strategies", without_rung(run.strategy), "starts_from"),
            f"{run.path} starts from epoch {epoch:g} of {parent.path}, which keeps "
            f"{', '.join(f'{moment:g}' for moment in kept) or 'none'}; add it to its training's "
            "checkpoint_epochs",
        )


def _selected(study: str, paths: list[str], only: str | None) -> tuple[str, ...]:
    if only is None:
        return tuple(paths)
    globs = [each.strip() for each in only.split(",")]
    return tuple(
        path
        for path in paths
        if any(fnmatch.fnmatchcase(name, g) for g in globs for name in (path, f"{study}/{path}"))
    )
