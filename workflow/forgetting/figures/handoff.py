"""Figures of the study of a network handed from MNIST to Fashion-MNIST (Sarkar 2026, a post).

The post's own, with every seed: accuracy and loss over both tasks, the loss around the weights
with the path of training, the accuracy matrix and its backward transfer. And what it does not ask:
whether all classes of the first task are forgotten alike. Each function takes tables and settings
and returns the figure with the table of what it draws.
"""

from typing import Annotated, Literal

from pydantic import Field

from forgetting.figures import (
    _handoff_accuracy,
    _handoff_classes,
    _handoff_planes,
    _handoff_timelines,
)
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings


class OfBenchmark(Settings):
    """One benchmark of the study."""

    benchmark: str
    """Entry of the study's benchmarks."""


class OfStrategy(OfBenchmark):
    """Runs of one benchmark and one strategy."""

    strategy: str = "adam"
    """Entry of the study's strategies."""


class Timeline(OfBenchmark):
    """What happens along both tasks."""

    strategies: Annotated[list[str], Field(min_length=1, max_length=3)] = ["adam", "adam-reset"]
    """Strategies, a column each."""


class AccuracyTimeline(Timeline):
    """Accuracy in training, and on test images of either task, over both tasks."""


class LossTimeline(Timeline):
    """Training loss over both tasks."""


class Plane(OfStrategy):
    """The loss on a plane through weights, with the path that training took."""

    task: int | None = None
    """Task at whose moment the origin is; default the first that is there."""
    moment: Literal["init", "end"] | None = None
    """Origin before (init) or after (end) training on that task; default the first there is."""
    seed: int | None = None
    """Seed whose plane is drawn; default the first that is there."""


class PlaneThroughTasks(Plane):
    """The plane through the weights before training, after task A and after task B."""


class PlaneAtRandom(Plane):
    """The plane along two random directions."""


class Configuration(Settings):
    """A benchmark with a strategy."""

    benchmark: str
    """Entry of the study's benchmarks."""
    strategy: str
    """Entry of the study's strategies."""


class OfConfigurations(Settings):
    """Several benchmarks and strategies."""

    configurations: list[Configuration] = []
    """Benchmarks and strategies in order; none named: all that were run."""


class AccuracyMatrix(OfConfigurations):
    """Accuracy on every task after every task."""


class BackwardTransfer(OfConfigurations):
    """Backward transfer of every seed, with what is published."""

    published: float | None = None
    """Value that the post reports, as a share; null: none is marked."""


class ForgettingByClass(OfStrategy):
    """Accuracy on each class of task A while task B is learned."""

    labels: dict[str, str] = {}
    """What an output stands for in task A, where its name does not say."""


def accuracy_timeline(given: Tables, settings: AccuracyTimeline) -> Drawn:
    """A column per strategy: above, accuracy of training batches; below, of both tests."""
    return _handoff_timelines.accuracy_timeline(given, settings)


def loss_timeline(given: Tables, settings: LossTimeline) -> Drawn:
    """A panel per strategy: training loss over both tasks, on a logarithmic axis."""
    return _handoff_timelines.loss_timeline(given, settings)


def plane_through_tasks(given: Tables, settings: PlaneThroughTasks) -> Drawn:
    """A panel per task: its loss on the plane through three weights, with the path."""
    return _handoff_planes.plane_through_tasks(given, settings)


def plane_at_random(given: Tables, settings: PlaneAtRandom) -> Drawn:
    """A panel per task: its loss along two random directions; then the path, enlarged."""
    return _handoff_planes.plane_at_random(given, settings)


def accuracy_matrix(given: Tables, settings: AccuracyMatrix) -> Drawn:
    """A table per configuration: accuracy on each task before training and after each task."""
    return _handoff_accuracy.accuracy_matrix(given, settings)


def backward_transfer(given: Tables, settings: BackwardTransfer) -> Drawn:
    """A row per configuration: every seed, the mean with its interval, what is published."""
    return _handoff_accuracy.backward_transfer(given, settings)


def forgetting_by_class(given: Tables, settings: ForgettingByClass) -> Drawn:
    """A line per class of task A while B is learned, and every seed after it."""
    return _handoff_classes.forgetting_by_class(given, settings)
