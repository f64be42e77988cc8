"""Figures of the study of where forgetting happens (Ramasesh, Dyer & Raghu, arXiv 2007.07400).

In the paper's order: accuracy while two tasks are learned, freezing, similarity of activations
before and after the second task, putting stages back, subspaces, what replay, EWC and SI change,
and how forgetting depends on the likeness of the two tasks. Each function takes tables and
settings and returns the figure with the table of what it draws.
"""

from typing import Literal

from forgetting.figures import _anatomy_likeness, _anatomy_stages, _anatomy_tasks
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings


class OfArchitecture(Settings):
    """All networks of the study, or one."""

    architecture: str | None = None
    """One architecture; default all."""


class OfBenchmark(OfArchitecture):
    """One benchmark of the study."""

    benchmark: str
    """Entry of the study's benchmarks."""


class OfRuns(OfArchitecture):
    """Runs of one strategy."""

    strategy: str = "sgd"
    """Entry of the study's strategies."""


class OfStrategy(OfBenchmark, OfRuns):
    """Runs of one benchmark and one strategy."""


class LearningCurves(OfStrategy):
    """Accuracy of both tasks over training."""

    metric: Literal["scenario", "task_masked", "class_incremental"] = "scenario"
    """Metric drawn; ``scenario``: the one the benchmark is judged by."""


class Freezing(OfBenchmark):
    """Accuracy against the number of stages that are frozen while task 2 is learned."""

    ladder: str = "freeze"
    """Strategies ``<ladder>~<stages frozen>``."""
    unfrozen: str = "sgd"
    """Entry of the same training with nothing frozen."""


class CkaByStage(OfStrategy):
    """Similarity of activations before and after task 2, by stage."""


class Rewind(OfStrategy):
    """Task-1 accuracy after stages are put back to where they were after task 1."""


class SubspaceSimilarity(OfStrategy):
    """Similarity of the subspaces of activations, by stage, under three conditions."""

    k: int | None = None
    """Dimension of the subspaces; default the middle one of those measured."""


class OfMethods(OfBenchmark):
    """Several strategies side by side."""

    methods: list[str] = ["sgd", "replay", "ewc", "si"]
    """Strategies; where one strength is drawn, ``ewc~100`` that one, ``ewc`` the middle one."""


class SubspaceByMethod(OfMethods):
    """Similarity of subspaces for each strategy, and at every strength."""

    k: int | None = None
    """Dimension of the subspaces; default the middle one of those measured."""


class CkaByStrength(OfMethods):
    """Similarity of activations before and after task 2, a line per strength."""

    statistic: Literal["cka_debiased", "cka_biased"] = "cka_debiased"
    """Estimator drawn."""


class Cell(Settings):
    """One benchmark in a table of two task groups."""

    first: str
    """Group of task 1: the row."""
    second: str
    """Group of task 2: the column."""
    benchmark: str
    """Entry of the study's benchmarks."""


class GroupForgetting(OfRuns):
    """Task-1 accuracy lost, by the groups that task 1 and task 2 are drawn from."""

    cells: list[Cell] = [
        Cell(first="animals", second="animals", benchmark="animals-animals"),
        Cell(first="animals", second="artifacts", benchmark="animals-artifacts"),
        Cell(first="artifacts", second="animals", benchmark="artifacts-animals"),
        Cell(first="artifacts", second="artifacts", benchmark="artifacts-artifacts"),
    ]
    """Benchmarks by row and column."""


class Setup(Settings):
    """A panel of one benchmark."""

    benchmark: str
    """Entry of the study's benchmarks."""
    title: str
    """What stands above the panel."""


class SemanticSetups(OfRuns):
    """Accuracy of each class of task 1 while task 2 is learned, a panel per benchmark."""

    panels: list[Setup]
    """Benchmarks in the order of the panels."""
    kinds: dict[str, list[str]] = {
        "animals": ["bird", "cat", "deer", "dog", "frog", "horse"],
        "objects": ["airplane", "automobile", "ship", "truck"],
    }
    """Classes of task 1 by kind; those of a kind share a hue."""
    labels: dict[str, str] = {}
    """What a class is called in the figure, where its name is long."""


class OfMixtures(OfRuns):
    """Benchmarks whose task 2 is a mixture."""

    mixtures: list[str] = ["dilution", "interpolation"]
    """Benchmarks ``<mixture>~<share of input like task 1>``."""


class MixingForgetting(OfMixtures):
    """Task-1 accuracy after task 2 against the share of task-1-like input in task 2."""


class MixingOverlap(OfMixtures):
    """Trace overlap of the two tasks' features against the share of task-1-like input."""

    layer: str = "features"
    """Stage whose activations are compared."""
    after_task: Literal[1, 2] = 1
    """Checkpoint."""


class Point(Settings):
    """One benchmark as a point."""

    benchmark: str
    """Entry of the study's benchmarks."""
    setup: Literal["a", "b"]
    """Filled for a, open for b."""
    second: str
    """What task 2 is; points with the same have one colour."""


class SetupOverlap(OfRuns):
    """Task-1 accuracy lost against the trace overlap of the two tasks' features."""

    points: list[Point] = [
        Point(benchmark="setup-a-animals", setup="a", second="animals"),
        Point(benchmark="setup-a-objects", setup="a", second="objects"),
        Point(benchmark="setup-b-animals", setup="b", second="animals"),
        Point(benchmark="setup-b-objects", setup="b", second="objects"),
    ]
    """Benchmarks."""
    layer: str = "features"
    """Stage whose activations are compared."""
    after_task: Literal[1, 2] = 1
    """Checkpoint."""


class LogitChange(OfBenchmark):
    """Predicted against measured change of task-1 logits, by learning rate."""

    ladder: str = "sgd-lr"
    """Strategies ``<ladder>~<learning rate>``."""


def learning_curves(given: Tables, settings: LearningCurves) -> Drawn:
    """A panel per architecture: accuracy of both tasks over the epochs of both."""
    return _anatomy_tasks.learning_curves(given, settings)


def freezing(given: Tables, settings: Freezing) -> Drawn:
    """A panel per architecture: accuracy of both tasks by the number of stages frozen."""
    return _anatomy_tasks.freezing(given, settings)


def cka_by_stage(given: Tables, settings: CkaByStage) -> Drawn:
    """A panel per architecture: CKA of each stage before and after task 2, two estimators."""
    return _anatomy_stages.cka_by_stage(given, settings)


def rewind(given: Tables, settings: Rewind) -> Drawn:
    """A panel per architecture: task-1 accuracy by the number of stages put back."""
    return _anatomy_tasks.rewind(given, settings)


def subspace_similarity(given: Tables, settings: SubspaceSimilarity) -> Drawn:
    """A panel per architecture: subspace similarity of each stage under three conditions."""
    return _anatomy_stages.subspace_similarity(given, settings)


def subspace_by_method(given: Tables, settings: SubspaceByMethod) -> Drawn:
    """Two rows of panels per architecture, a column per strategy.

    Above the three conditions; below, at every strength, the condition between a network that
    learned task 2 alone and one that learned it after task 1.
    """
    return _anatomy_stages.subspace_by_method(given, settings)


def cka_by_strength(given: Tables, settings: CkaByStrength) -> Drawn:
    """A row of panels per architecture, a panel per strategy, a line per strength."""
    return _anatomy_stages.cka_by_strength(given, settings)


def group_forgetting(given: Tables, settings: GroupForgetting) -> Drawn:
    """A table per architecture: task-1 accuracy lost, by the groups of task 1 and of task 2."""
    return _anatomy_tasks.group_forgetting(given, settings)


def semantic_setups(given: Tables, settings: SemanticSetups) -> Drawn:
    """A panel per benchmark, a line per class of task 1: accuracy while task 2 is learned."""
    return _anatomy_tasks.semantic_setups(given, settings)


def mixing_forgetting(given: Tables, settings: MixingForgetting) -> Drawn:
    """A panel per architecture, a line per kind of mixing; its lowest point is marked."""
    return _anatomy_likeness.mixing_forgetting(given, settings)


def mixing_overlap(given: Tables, settings: MixingOverlap) -> Drawn:
    """A panel per architecture: trace overlap against the share, by mixing and estimator."""
    return _anatomy_likeness.mixing_overlap(given, settings)


def setup_overlap(given: Tables, settings: SetupOverlap) -> Drawn:
    """A panel per architecture and estimator, a point per benchmark with both intervals."""
    return _anatomy_likeness.setup_overlap(given, settings)


def logit_change(given: Tables, settings: LogitChange) -> Drawn:
    """A row per statistic, a panel per architecture: the prediction's quality by learning rate."""
    return _anatomy_likeness.logit_change(given, settings)
