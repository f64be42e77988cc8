"""The workflow as a whole: every study's plan, and the files that its targets stand for.

The rules ask this object for everything that is not a file name; a study's data sets are looked
for when the study is first asked for, so that a study whose data are missing does not stand in
the way of the others.
"""

import functools
import gc
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forgetting import configuration, sources, study
from forgetting.aggregates import BASE_TABLES, WHERE_WANTED
from forgetting.configuration import Config
from forgetting.documents import Document
from forgetting.entries import canonical
from forgetting.errors import UserError
from forgetting.fingerprint import Component, fingerprint
from forgetting.messages import allowed, shown
from forgetting.plan import StudyPlan, build
from forgetting.run_table import MissingData, RunSpec
from forgetting.study import Resources
from forgetting.tuning import Search, Tuning, expand

FOLDER = "{preset}/{study}{scope}"
RUNS = (*BASE_TABLES, *WHERE_WANTED)


class Pipeline:
    """Everything that the rules need to know."""

    apart = "/partial/only"
    """Where what is aggregated from a selection of runs goes, below the study."""
    grids = "/tune"
    """Where the runs of grids go, below the study."""

    def __init__(self, root: Path, config: Config, document: Document) -> None:
        """Check every study under the configuration's preset; ``document`` says where it stands.

        Raises:
            UserError: Something in the configuration or in a study is wrong.
        """
        self.root, self.config = root, config
        self.results, self.data_dir = (
            Path(os.path.normpath(root / Path(folder).expanduser()))
            for folder in (config.results, config.data_dir)
        )
        self.preset = config.preset
        self.studies = configuration.studies(root)
        self.chosen = config.studies or self.studies
        self.scope = "" if config.only is None else self.apart
        files = {name: study.load(root, name) for name in self.studies}
        presets = [preset for file in files.values() for preset in file.raw["presets"]]
        document.choose(("preset",), config.preset, dict.fromkeys(presets), what="a preset")
        self._read = {name: study.read(file, config.preset) for name, file in files.items()}
        self._plans = {name: self._build(name) for name in self.studies}
        self._tunings: dict[str, Tuning] = {}
        if config.only is not None:
            self._check_only(config.only, document)

    def named_apart(self, taken: Iterable[str]) -> list[str]:
        """Return the studies, none of which may be called like a rule.

        Raises:
            UserError: One is.
        """
        for name in self._read.keys() & {*taken}:
            raise self._read[name][1].error(
                ("study",), f'found "{name}", which is a target already; rename study and file'
            )
        return self.studies

    @classmethod
    def load(cls, root: Path, merged: Mapping[str, Any] | None = None) -> "Pipeline":
        """Build it from config.yaml, overridden by Snakemake's merged configuration."""
        # Nearly all that is made here lives as long as the program: looking for garbage among it
        # again and again takes a fifth of the time.
        gc.disable()
        try:
            return cls(root, *configuration.load(root, merged))
        finally:
            gc.freeze()
            gc.enable()

    @staticmethod
    def check_file(root: Path) -> None:
        """Read config.yaml; Snakemake's own message about a broken one does not name it."""
        Document.read(root / "config.yaml", name="config.yaml")

    # ------------------------------------------------------------------ plans

    def plan(self, name: str) -> StudyPlan:
        """Return the plan of a study.

        Raises:
            UserError: Its data sets are not there.
        """
        found = self._plans[name]
        if isinstance(found, UserError):
            raise found
        return found

    def tuning(self, name: str) -> Tuning:
        """Return the grids of a study, which are written out when they are first asked for.

        Raises:
            UserError: It has none, there is a mistake in them, or data sets are not there.
        """
        if name not in self._tunings:
            self._tunings[name] = expand(*self._read[name], self.config, self._find)
        return self._tunings[name]

    def searches(self, name: str) -> list[Search]:
        """Return the searches of a study, or those that ``only`` asks for.

        A search is asked for when some run of its strategy in its group is.
        """
        plan, tuning = self.plan(name), self.tuning(name)
        if self.config.only is None:
            return list(tuning.searches)
        selected = {
            (run.benchmark, run.architecture, run.strategy)
            for run in map(plan.runs.__getitem__, plan.selected)
        }
        return [
            search
            for search in tuning.searches
            if any((*place, search.strategy) in selected for place in search.places)
        ]

    def run(self, name: str, path: str, tuning: bool = False) -> RunSpec:
        """Return a run by its path under runs/; ``tuning``: one of the grids.

        Raises:
            UserError: The study has no such run.
        """
        runs = self.tuning(name).runs if tuning else self.plan(name).runs
        if path not in runs:
            raise UserError(f"study {name} has no run {path}; {allowed(path, list(runs)[:12])}")
        return runs[path]

    def aggregate(self, name: str, section: str, key: str) -> Any:
        """Return a measure, a table or a figure of a study.

        Raises:
            UserError: The study has none of that name.
        """
        found = getattr(self.plan(name), section)
        if key not in found:
            raise UserError(
                f'study {name} has no "{key}" among its {section}; {allowed(key, found)}'
            )
        return found[key]

    def source(self, key: str) -> sources.Source:
        """Return the source of a prepared data set.

        Raises:
            UserError: No study uses it.
        """
        plans = [found for found in self._plans.values() if isinstance(found, StudyPlan)]
        known = {k: source for found in plans for k, source in found.sources.items()}
        if key not in known:
            grids = [self.tuning(name) for name in self.studies if self._read[name][0].tune]
            known |= {k: source for found in grids for k, source in found.sources.items()}
        if key not in known:
            raise UserError(f'no study uses a data set "{key}"; {allowed(key, known)}')
        return known[key]

    def code(self, command: str, components: Iterable[Component]) -> str:
        """Return the fingerprint of a command with its components."""
        return _fingerprint(command, tuple(components))

    def measured(self, *, here: bool) -> list[str]:
        """Return the studies whose measures Snakemake takes itself, or those it gives a cluster.

        Where ``device`` is ``cuda`` all need a GPU, whatever the study asks for.
        """
        asked = {name: self._read[name][0].resources.measure for name in self.studies}
        gpu = self.config.device == "cuda"
        return [name for name, each in asked.items() if (each.small and not gpu) is here]

    def gpus(self, resources: Resources) -> int:
        """Return how many GPUs a job asks for: what the study says, none for cpu, one for cuda."""
        return {"auto": resources.gpu, "cpu": 0, "cuda": 1}[self.config.device]

    def captions(self) -> dict[tuple[str, str], list[str]]:
        """Return the names of figures by study and caption file."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for name, found in self._plans.items():
            figures = found.figures.items() if isinstance(found, StudyPlan) else ()
            for figure, about in figures:
                grouped.setdefault((name, about.caption), []).append(figure)
        return grouped

    # ------------------------------------------------------------------ files

    def tables(self, name: str) -> list[str]:
        """Return the files of all tables of a study."""
        return self._files(name, self.plan(name).tables, "tables/{}.csv")

    def figures(self, name: str, suffix: str = "pdf") -> list[str]:
        """Return the files of all figures of a study."""
        return self._files(name, self.plan(name).figures, f"figures/{{}}.{suffix}")

    def claims(self, name: str) -> list[str]:
        """Return the file of the judged claims of a study, if it has claims."""
        return self._files(name, self.plan(name).judgement, "{}.csv")

    def everything(self, name: str) -> list[str]:
        """Return all files that a study ends in."""
        return [*self.tables(name), *self.figures(name), *self.claims(name)]

    def behind(self, name: str, *ends: str) -> list[str]:
        """Return what the ``tables``, ``figures`` or ``judgement`` of a study are made from.

        These are part of what a target stands for. A job that fails takes its old files with it,
        and Snakemake misses no file as long as what was made from it is there: without them, the
        next call would find nothing to do.
        """
        found = self.plan(name)
        pending, tables = ["runs", *(found.tables if "tables" in ends else ())], set[str]()
        for end in {*ends} - {"tables"}:
            pending += [need for each in getattr(found, end).values() for need in each.needs]
        while pending:
            tables.add(table := pending.pop())
            pending += found.tables[table]
        folder, runs = f"{self.preset}/{name}", dict.fromkeys(found.selected)
        data = dict.fromkeys(key for path in runs for key in found.runs[path].data)
        measured = [pair for table in sorted(tables) for pair in found.measured(table)]
        return [
            *(f"data/{key}.json" for key in data),
            *(f"{folder}/runs/{path}/run.json" for path in runs),
            *(
                f"{folder}/measures/{measure}/{run}.parquet"
                for measure, run in measured
                if run in runs
            ),
            *self._files(name, sorted(tables), "tables/{}.csv"),
        ]

    @property
    def tuned(self) -> list[str]:
        """The chosen studies that have something to tune."""
        return [name for name in self.chosen if self._read[name][0].tune is not None]

    def tuned_files(self, name: str) -> list[str]:
        """Return the files that the grids of a study end in: the proposal and all scores.

        Raises:
            UserError: From `tuning`.
        """
        if not self.searches(name):
            return []
        folder = FOLDER.format(preset=self.preset, study=name, scope=self.scope)
        return [f"{folder}/tune/{file}" for file in ("proposal.yaml", "scores.csv")]

    def tuning_runs(self, name: str) -> list[str]:
        """Return run.json of the runs of a study's grids, those that ``only`` asks for."""
        home = f"{self.preset}/{name}{self.grids}/runs"
        paths = (path for each in self.searches(name) for path in self.tuning(name).paths(each))
        return [f"{home}/{path}/run.json" for path in dict.fromkeys(paths)]

    def judged(self) -> list[str]:
        """Return the claims that the scorecard shows: of the chosen studies, and what exists."""
        there = [f"{self.preset}/{name}{self.scope}/claims.csv" for name in self.studies]
        mine = [path for name in self.chosen for path in self.claims(name)]
        others = (path for path in there if path not in mine)
        return mine + [path for path in others if (self.results / path).exists()]

    def scorecard(self) -> list[str]:
        """Return the scorecard's files."""
        return [f"{self.preset}{self.scope}/scorecard.{suffix}" for suffix in ("html", "md")]

    def descriptions(self) -> str:
        """Return name, title, paper and claims in their order of every study, as JSON."""
        read, seeds = [self._read[name][0] for name in self.studies], self.config.seeds
        return canonical([{**s.description, **({"seeds": seeds} if seeds else {})} for s in read])

    def table_sources(self, name: str, table: str, scope: str) -> dict[str, list[str]]:
        """Return the files that a table is made from: runs, measures and tables."""
        found, folder = self.plan(name), f"{self.preset}/{name}"
        made_from = self.aggregate(name, "tables", table)
        runs = found.selected if scope else tuple(found.runs)
        return {
            "runs": [f"{folder}/runs/{path}/run.json" for path in runs if table in RUNS],
            "measures": [
                f"{folder}/measures/{measure}/{path}.parquet"
                for measure, path in found.measured(table)
                if path in runs
            ],
            "tables": [f"{folder}{scope}/tables/{source}.csv" for source in made_from],
        }

    def takes(self, name: str, target: str) -> bool:
        """Whether a study has measures of this target under the preset."""
        return any(each.target == target for each in self._read[name][0].measures.values())

    @property
    def config_json(self) -> str:
        """The configuration as JSON, for a command that makes the plan again."""
        return self.config.model_dump_json()

    def about(self, name: str) -> str:
        """Return what the table of runs says of each benchmark: its metric and evidence."""
        return canonical(about_benchmarks(self.plan(name).runs.values()))

    def tuning_about(self, name: str) -> dict[str, dict[str, str]]:
        """Return metric and evidence of each benchmark that a study is tuned on."""
        return about_benchmarks(self.tuning(name).runs.values())

    def _files(self, name: str, names: Iterable[str], pattern: str) -> list[str]:
        if not self.plan(name).selected:
            return []
        folder = FOLDER.format(preset=self.preset, study=name, scope=self.scope)
        return [f"{folder}/{pattern.format(key)}" for key in names]

    def _build(self, name: str) -> StudyPlan | UserError:
        read, document = self._read[name]
        try:
            return build(read, document, self.config, self._find)
        except MissingData as error:
            return error

    def _find(self, reference: sources.Reference) -> sources.Source:
        return _resolved(
            reference.model_dump_json(),
            self.data_dir,
            download=self.config.download,
            cache=self.results / "data" / ".checksums.json",
        )

    def _check_only(self, only: str, document: Document) -> None:
        plans = {name: self.plan(name) for name in self.chosen}
        if not any(found.selected for found in plans.values()):
            known = [path for found in plans.values() for path in found.runs]
            some = ", ".join(known[:3])
            raise document.error(
                ("only",), f"found {shown(only)}, which matches no run; runs are {some}, ..."
            )


def about_benchmarks(runs: Iterable[RunSpec]) -> dict[str, dict[str, str]]:
    """Return metric and evidence of each benchmark of these runs."""
    return {run.benchmark: {"metric": run.metric, "evidence": run.evidence} for run in runs}


@functools.cache
def _fingerprint(command: str, components: tuple[Component, ...]) -> str:
    return fingerprint(command, components)


@functools.cache
def _resolved(reference: str, data_dir: Path, *, download: bool, cache: Path) -> sources.Source:
    return sources.resolve(json.loads(reference), data_dir, download=download, cache=cache)
