"""A study: the YAML file that states one paper's grid, presets, figures and claims."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from forgetting.configuration import STUDIES
from forgetting.documents import Document, merge
from forgetting.messages import quoted, shown
from forgetting.naming import Name, is_name
from forgetting.rungs import without_rung
from forgetting.settings import Settings
from forgetting.sources import Reference

BESIDE_PRESETS = ("data", "logs")
"""What else lies in the results folder."""
Scalar = bool | int | float | str


def _listed(value: Any) -> Any:
    return value if isinstance(value, dict) else {"any_of": value}


Evidence = Literal["protocol", "reduced", "other simulator"]

DataSet = Annotated[
    Reference, BeforeValidator(_listed, json_schema_input_type=str | list[str] | Reference)
]
"""A name, an ordered list of names, or a mapping that says more."""


class Part(Settings):
    """A component with its settings."""

    component: str | None = None
    """File of the component; the entry's own name when left out."""
    settings: dict[str, Any] = {}
    """Its settings; what is left out has the component's default."""


class Entry(Part):
    """A named component with settings; a ladder makes an entry of each of its values."""

    ladder: dict[str, list[Scalar]] | None = None
    """One setting with a list of values: {strength: [1, 10]} makes name~1 and name~10."""


class Continued(Settings):
    """A benchmark that has its first tasks in common with another."""

    benchmark: Name
    """Entry of the other benchmark."""
    task: Annotated[int, Field(ge=1)]
    """The last task that they have in common."""


class Benchmark(Entry):
    """A task sequence and its data."""

    dataset: DataSet | None = None
    """Its data set."""
    datasets: list[DataSet] | None = None
    """Its data sets, where it has several."""
    continues: Continued | None = None
    """Another benchmark with the same first tasks, whose runs are continued instead of training
    these tasks again."""
    metric: Literal["task_masked", "class_incremental", "online", "return"] = "task_masked"
    """Accuracy that this benchmark is judged by; online: of the samples trained on, before each is
    learned from."""
    paper_datasets: list[str] = []
    """Data sets that count as the paper's own; any other gives the evidence "other data"."""
    evidence: Evidence | None = None
    """What verdicts on it bear on, where that is not what the preset says."""


class Architecture(Entry):
    """A network."""

    training: dict[str, Any] = {}
    """Training settings of its runs, over the study's."""


class Start(Settings):
    """The state of another run that this one begins with."""

    strategy: Name
    """Entry whose run, with the same seeds, is continued."""
    task: Annotated[int, Field(ge=1)]
    """Task after which it is continued."""
    epoch: Annotated[float, Field(gt=0)] | None = None
    """Moment within that task, of its checkpoint_epochs, instead of its end."""


class Strategy(Entry):
    """A training strategy, or several at once."""

    parts: Annotated[list[Part], Field(min_length=1)] | None = None
    """Strategies that act together, instead of one component."""
    starts_from: Start | None = None
    """Continue another run instead of starting anew; a ladder may vary starts_from.epoch."""


class Choice(Settings):
    """What is chosen for one strategy in one group of runs."""

    training: dict[str, Any] = {}
    """Training settings, over the group's."""
    settings: dict[str, Any] = {}
    """The strategy's settings, over its entry's; of a composition by component."""


FEW_MINUTES = 10


class Resources(Settings):
    """What one job asks the scheduler for."""

    mem_mb: Annotated[int, Field(ge=1)] = 4000
    """Memory in MB."""
    runtime: Annotated[int, Field(ge=1)] = 120
    """Minutes; a measure that asks for at most 10 and no GPU is never a job of a cluster."""
    disk_mb: Annotated[int, Field(ge=1)] = 1000
    """Disk space in MB: twice what the checkpoints take, which are joined at the end."""
    gpu: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads; a run repeats bit for bit with an equal number."""

    @property
    def small(self) -> bool:
        """Whether a cluster's job could cost more than the work: no GPU, and a few minutes."""
        return self.gpu == 0 and self.runtime <= FEW_MINUTES


class Group(Settings):
    """Runs: every combination of the entries named."""

    benchmarks: list[str]
    """Entries under benchmarks; an entry with a ladder stands for all its rungs."""
    architectures: list[str]
    """Entries under architectures."""
    strategies: list[str]
    """Entries under strategies."""
    training: dict[str, Any] = {}
    """Training settings of this group, over the architecture's and the study's."""
    choices: dict[str, Choice] = {}
    """Hyperparameters by strategy, where those that fit it here differ from the others'."""
    seeds: list[int | str] | None = None
    """Seeds of this group, instead of the study's."""
    resources: dict[str, Any] = {}
    """Resources of this group's training jobs, over the study's."""


class Tune(Settings):
    """A search for hyperparameters, on seeds of its own; a person reads what it proposes."""

    seeds: Annotated[list[int | str], Field(min_length=1)]
    """Packs of seeds; none may be a seed of the study's runs."""
    runs: list[str] | None = None
    """Groups of runs that choices are searched for; all when left out."""
    score: Literal["performance", "average_accuracy"] = "performance"
    """What the best has most of: how well each task was learned, mean over tasks, or the accuracy
    of all tasks after the last; in the metric of the benchmark."""
    benchmarks: dict[str, dict[str, Any]] = {}
    """Entries under benchmarks as they are here, such as shorter: over what stands there."""
    grids: dict[str, Annotated[dict[str, list[Scalar]], Field(min_length=1)]]
    """Values by strategy and setting; every combination is trained. A setting of training is called
    training.learning_rate, one of a composition component.setting. GROUP/STRATEGY instead of
    STRATEGY is the grid in that group alone."""


class Measure(Entry):
    """A measurement of the checkpoints of runs."""

    runs: Literal["all"] | list[str] = "all"
    """Groups of runs it is taken of."""
    against: dict[Name, Name] = {}
    """Runs that each is compared with: the measure's word for it -> entry of its strategy, with the
    same benchmark, architecture and seeds."""
    target: Literal["study", "across"] = "study"
    """What it is taken for: the study, or `across`, which compares all studies and is no part of
    any; such a measure makes no table of the study, and no checkpoint is kept for its sake."""


class Table(Settings):
    """A table that is derived from other tables."""

    made_from: Annotated[list[str], Field(alias="from", min_length=1)]
    """Tables it is made from."""


class Figure(Entry):
    """A figure, drawn by a function of figures/<study>.py."""

    tables: list[str]
    """Tables it is drawn from."""
    caption: str | None = None
    """File under workflow/report; <component>.rst when left out."""


class Paper(Settings):
    """The paper that the study is about."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None
    url: str | None = None


class JobResources(Settings):
    """Resources by kind of job."""

    train: Resources = Resources()
    measure: Resources = Resources()


class Study(Settings):
    """One study with one of its presets merged in."""

    study: Name
    """The study's name: the file's."""
    title: str
    """What it is about, in one line."""
    paper: Paper
    """Where it comes from."""
    benchmarks: dict[Name, Benchmark]
    """Task sequences by name."""
    architectures: dict[Name, Architecture]
    """Networks by name."""
    strategies: dict[Name, Strategy]
    """Training strategies by name."""
    training: dict[str, Any] = {}
    """Training settings of all runs."""
    seeds: list[int | str]
    """Packs of seeds: 5 is a job with one seed, "0-4" a job with five."""
    runs: dict[Name, Group]
    """Groups of runs."""
    measures: dict[Name, Measure] = {}
    """Measurements of the runs' checkpoints; rungs (hessian~a, hessian~b) share one table."""
    tables: dict[Name, Table] = {}
    """Tables derived from accuracy, runs, scores and the measures."""
    figures: dict[Name, Figure] = {}
    """Figures."""
    claims: dict[str, dict[str, Any]] = {}
    """What the paper says, as tests over tables."""
    tune: Tune | None = None
    """How `snakemake tune` searches for hyperparameters; no run of the study waits for it."""
    evidence: Evidence
    """What verdicts of this preset bear on; data other than the paper's overrides it."""
    reduction: str = ""
    """What is smaller than in the paper, in words; stands above the verdicts."""
    resources: JobResources = JobResources()
    """What jobs ask for."""

    @property
    def description(self) -> dict[str, Any]:
        """What the scorecard says of it: name, title, paper, claims in their order, reduction."""
        return {
            "study": self.study,
            "title": self.title,
            "paper": self.paper.model_dump(exclude_none=True),
            "claims": list(self.claims),
            "reduction": self.reduction,
        }


class StudyFile(Study):
    """A study's file: the paper's values, and presets that override them."""

    presets: dict[Name, dict[str, Any]]
    """Overrides by preset: mappings merge, lists and scalars replace, null removes a key."""


def load(root: Path, name: str) -> Document:
    """Return a study's file.

    Raises:
        UserError: It is not readable, or has no presets.
    """
    label = f"{STUDIES}/{name}.yaml"
    document = Document.read(root / label, name=label)
    presets = document.raw.get("presets")
    if not isinstance(presets, dict) or not presets:
        raise document.error(("presets",), f"found {shown(presets)}; expected a mapping of presets")
    for preset in presets:
        if not is_name(preset) or preset in BESIDE_PRESETS:
            wrong = f"found {quoted(preset)}, which cannot be the name of a preset's folder"
            raise document.error(("presets", preset), f"{wrong}; use lower-case letters, digits")
    return document


def read(document: Document, preset: str) -> tuple[Study, Document]:
    """Return a study with the preset merged in, and its document for messages about that.

    Raises:
        UserError: The file, the preset's name or a value is wrong.
    """
    presets = document.raw["presets"]
    document.choose(("presets",), preset, presets, what="a preset of this study")
    override = {} if presets[preset] is None else presets[preset]
    if not isinstance(override, dict):
        raise document.error(("presets", preset), f"found {shown(override)}; expected a mapping")
    document = Document(document.path, document.raw, preset=preset)
    base = {key: value for key, value in document.raw.items() if key != "presets"}
    study: Study = document.check(Study, merge(base, override))
    if study.study != document.path.stem:
        wrong = f"found {quoted(study.study)}; the file is called {document.path.name}"
        raise document.error(("study",), wrong)
    for benchmark, entry in study.benchmarks.items():
        if (entry.dataset is None) == (entry.datasets is None):
            raise document.error(
                ("benchmarks", benchmark), "give either dataset (one) or datasets (a list)"
            )
    return study, document


def base_name(name: str) -> str:
    """Return the component that an entry's name stands for: without its rung, as a Python name."""
    return re.sub(r"[-.]", "_", without_rung(name))
