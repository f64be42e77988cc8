"""Tuning: grids of hyperparameters, written out as training jobs on seeds of their own.

Hyperparameters decide the ranking of methods, and choosing them on the seeds that are reported
flatters whoever was searched longest. So a study's section ``tune`` names other seeds. Every point
of a grid is an ordinary run, as if a group had made that choice for the strategy, under a name of
its own below ``{preset}/{study}/tune/runs``; :mod:`forgetting.proposal` picks among them.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from forgetting import components, run_table, seeds
from forgetting.configuration import Config
from forgetting.documents import Document, Key, merge
from forgetting.entries import Resolved, canonical, changed, pick, resolve
from forgetting.errors import UserError
from forgetting.messages import quoted, shown
from forgetting.naming import is_name
from forgetting.run_table import Entries, Resolver, RunSpec
from forgetting.settings import Settings
from forgetting.sources import Source
from forgetting.study import Benchmark, Choice, Group, Scalar, Strategy, Study, Tune

LIMIT = 64
"""Points of a grid: each is a training job."""
# A score needs no weights.
NO_CHECKPOINTS: dict[str, list[int]] = {"checkpoints": [], "checkpoint_epochs": []}
Grid = Mapping[str, Sequence[Scalar]]


@dataclass(frozen=True)
class Point:
    """One combination of a grid's values."""

    name: str
    """The strategy's name in paths, which says the values."""
    values: Mapping[str, Scalar]
    """Value by setting, as the grid calls it."""
    choice: Mapping[str, Any]
    """What a study says to have it: the group's choice with these values over it."""


@dataclass(frozen=True)
class Search:
    """The grid of one strategy in one group of runs."""

    group: str
    strategy: str
    """Its name under choices."""
    grid: Grid
    points: tuple[Point, ...]
    places: tuple[tuple[str, str], ...]
    """Benchmark and architecture of the group's runs; a choice is one for all of them."""


@dataclass(frozen=True)
class Tuning:
    """All searches of a study under one preset."""

    score: str
    searches: tuple[Search, ...]
    packs: tuple[str, ...]
    runs: Mapping[str, RunSpec]
    """Training jobs by path."""
    sources: Mapping[str, Source]
    """Data sets by key."""

    def paths(self, search: Search) -> list[str]:
        """Return the paths of a search's runs."""
        named = itertools.product(search.places, search.points, self.packs)
        return [f"{b}/{a}/{point.name}/seeds{pack}" for (b, a), point, pack in named]

    @property
    def identity(self) -> str:
        """A hash of what is searched and how it is scored."""
        text = canonical([self.score, *map(asdict, self.searches)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def expand(study: Study, document: Document, config: Config, find: Resolver) -> Tuning:
    """Return the searches of a study; ``find`` turns a reference to a data set into its source.

    Raises:
        UserError: The study has no section ``tune``, or there is a mistake in it.
    """
    tune = study.tune
    if tune is None:
        raise document.error(("tune",), "is missing, so there is nothing to tune")
    packs = _packs(study, tune, document, config)
    found: Entries = {
        "benchmarks": _benchmarks(study, tune, document),
        "architectures": resolve("architectures", study.architectures, document, study=study.study),
        "strategies": resolve("strategies", study.strategies, document, study=study.study),
    }
    groups = _groups(study, tune, document, found)
    searches: list[Search] = []
    runs: dict[str, RunSpec] = {}
    sources: dict[str, Source] = {}
    own_seeds = config.model_copy(update={"seeds": None})
    for name in groups:
        models = _models(name, study.runs[name], document, found)
        mine = _searches(name, study.runs[name], tune, document, found, models)
        if not mine:
            continue
        alone, entries = _as_study(study, name, mine, found, models)
        for run, data in run_table.group(alone, name, document, own_seeds, entries, find):
            if runs.setdefault(run.path, run) != run:
                raise document.error(
                    ("tune", "runs"), f"{run.path} is in two groups, with other settings"
                )
            sources |= data
        searches += [search for _, search in mine]
    if not searches:
        raise document.error(
            ("tune", "grids"),
            f"found grids of {', '.join(tune.grids) or 'nothing'}, of which no strategy is in the "
            f"groups {', '.join(groups) or '(none)'}",
        )
    return Tuning(tune.score, tuple(searches), tuple(packs), runs, sources)


def _packs(
    study: Study, tune: Tune, document: Document, config: Config
) -> dict[str, tuple[int, ...]]:
    """Return the packs to tune on, which share no seed with the study's runs."""
    try:
        packs = seeds.packs(tune.seeds)
    except UserError as error:
        raise document.error(("tune", "seeds"), str(error)) from None
    reported = {
        seed
        for group in study.runs.values()
        for upto in {None, config.seeds}
        for pack in seeds.packs(group.seeds or study.seeds, upto=upto).values()
        for seed in pack
    }
    if both := sorted(reported.intersection(*[itertools.chain(*packs.values())])):
        raise document.error(
            ("tune", "seeds"),
            f"found {', '.join(map(str, both))}, with which results are reported; what is tuned "
            "needs seeds of its own",
        )
    return packs


def _benchmarks(study: Study, tune: Tune, document: Document) -> dict[str, tuple[Resolved, ...]]:
    """Return the benchmarks as they are for tuning; each is trained from its first task on."""
    section = ("tune", "benchmarks")
    found: dict[str, tuple[Resolved, ...]] = {}
    known = {*study.benchmarks, *document.raw.get("benchmarks", {})}
    for name in tune.benchmarks:
        document.choose((*section, name), name, known, what="an entry under benchmarks")
    for name, entry in study.benchmarks.items():
        at: Key = ()
        if name in tune.benchmarks:
            at = ("tune",)
            written = entry.model_dump(mode="json", exclude_unset=True)
            entry = document.check(
                Benchmark, merge(written, tune.benchmarks[name]), (*section, name)
            )
            if (entry.dataset is None) == (entry.datasets is None):
                raise document.error((*section, name), "give either dataset (one) or datasets")
        entry = entry.model_copy(update={"continues": None})
        found |= resolve("benchmarks", {name: entry}, document, study=study.study, at=at)
    return found


def _groups(study: Study, tune: Tune, document: Document, found: Entries) -> list[str]:
    """Return the groups to search in; what the preset has removed is left out silently."""
    known = {*study.runs, *document.raw.get("runs", {})}
    strategies = {*document.raw.get("strategies", {}), *found["strategies"]}
    strategies |= {rung.name for rungs in found["strategies"].values() for rung in rungs}
    for position, name in enumerate(tune.runs or []):
        document.choose(("tune", "runs", position), name, known, what="a group of runs")
    for key in tune.grids:
        group, _, strategy = key.rpartition("/")
        place = ("tune", "grids", key)
        if group:
            document.choose(place, group, known, what="a group of runs")
        document.choose(place, strategy, strategies, what="an entry under strategies")
    return [name for name in study.runs if tune.runs is None or name in tune.runs]


def _models(name: str, asked: Group, document: Document, found: Entries) -> list[type[Settings]]:
    """Return the training settings of the loops that train on a group's benchmarks."""
    place = ("runs", name, "benchmarks")
    benchmarks = pick(found["benchmarks"], asked.benchmarks, document, place)
    loops = dict.fromkeys(components.trained_by(each.component) for each in benchmarks)
    return [components.class_of(loop, "Settings") for loop in loops]


def _searches(
    name: str,
    asked: Group,
    tune: Tune,
    document: Document,
    found: Entries,
    models: Sequence[type[Settings]],
) -> list[tuple[Resolved, Search]]:
    """Return the strategies of a group that have a grid, each with its search."""
    benchmarks, architectures, strategies = (
        pick(found[kind], getattr(asked, kind), document, ("runs", name, kind))
        for kind in ("benchmarks", "architectures", "strategies")
    )
    places = tuple((b.name, a.name) for b in benchmarks for a in architectures)
    searches = []
    for strategy in strategies:
        names = (strategy.name, str(strategy.key[-1]))
        keys = [k for k in (*(f"{name}/{n}" for n in names), *names) if k in tune.grids]
        if keys:
            place, grid = ("tune", "grids", keys[0]), tune.grids[keys[0]]
            _, choice = run_table.choice_of(asked, name, strategy)
            found_points = points(strategy, grid, choice, models, document, place)
            searches.append(
                (strategy, Search(name, strategy.name, grid, tuple(found_points), places))
            )
    return searches


def _as_study(
    study: Study,
    name: str,
    searches: Sequence[tuple[Resolved, Search]],
    found: Entries,
    models: Sequence[type[Settings]],
) -> tuple[Study, Entries]:
    """Return a study of this group alone, in which every point is a strategy, and its entries."""
    assert study.tune is not None
    named = {p.name: (strategy, p) for strategy, search in searches for p in search.points}
    # What a loop does not have cannot be said of its runs: agents keep nothing within a task.
    known = {k: v for k, v in NO_CHECKPOINTS.items() if all(k in m.model_fields for m in models)}
    choices = {
        key: Choice.model_validate(merge(point.choice, {"training": known}))
        for key, (_, point) in named.items()
    }
    group = study.runs[name].model_copy(
        update={"strategies": list(named), "choices": choices, "seeds": study.tune.seeds}
    )
    strategies = {key: (replace(strategy, name=key),) for key, (strategy, _) in named.items()}
    return study.model_copy(update={"runs": {name: group}}), {**found, "strategies": strategies}


def points(
    strategy: Resolved,
    grid: Grid,
    choice: Choice,
    models: Sequence[type[Settings]],
    document: Document,
    key: Key,
) -> list[Point]:
    """Return every combination of a grid's values, over the choice that a group has made.

    ``models`` are the training settings of the group's benchmarks.

    Raises:
        UserError: A value is wrong, or there are too many.
    """
    assert isinstance(strategy.entry, Strategy)
    if strategy.entry.starts_from is not None:
        raise document.error(key, "continues another run, which has no seeds to tune on")
    for setting, values in grid.items():
        _check_values(values, document, (*key, setting))
    if (count := prod(map(len, grid.values()))) > LIMIT:
        raise document.error(
            key, f"found {count} combinations, each a training job; at most {LIMIT} a strategy"
        )
    found = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        # By name, so that the order in which settings are listed renames no finished run.
        said = [f"{setting}-{_text(value)}" for setting, value in sorted(point.items())]
        name = "~".join([strategy.name, *said])
        if not is_name(name):
            raise document.error(key, f"found {quoted(name)}, which makes no path")
        asked = _nested(point)
        # Here rather than where the runs are made, so that a mistake is found where it stands.
        for model in models:
            document.check(model, asked.get("training", {}), (*key, "training"))
        changed(strategy, asked.get("settings", {}), document, key)
        chosen = merge(choice.model_dump(), asked)
        found.append(Point(name, point, {k: v for k, v in chosen.items() if v}))
    return found


def _check_values(values: Sequence[Scalar], document: Document, key: Key) -> None:
    if not values or len(set(map(_text, values))) < len(values):
        raise document.error(key, f"found {shown(list(values))}; list distinct values")
    for value in values:
        if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", value):
            raise document.error(
                key, f'found "{value}", which YAML reads as text; write it with a point: 1.0e-5'
            )


def _text(value: Scalar) -> str:
    return str(value).lower()


def _nested(values: Mapping[str, Scalar]) -> dict[str, Any]:
    """Return {training: {...}, settings: {...}} of values by dotted names."""
    nested: dict[str, Any] = {}
    for setting, value in values.items():
        full = setting if setting.startswith("training.") else f"settings.{setting}"
        inner: Any = value
        for step in reversed(full.split(".")):
            inner = {step: inner}
        nested = merge(nested, inner)
    return nested
