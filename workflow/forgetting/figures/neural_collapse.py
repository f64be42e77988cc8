"""Figures of the study of plasticity and neural collapse (Bonifazi et al. 2024, arXiv 2404.02719).

Neural collapse over permuted tasks and by the length of the first, and in warm-starting: what is
reached on all images against the epochs spent on half of them, beside the four measures of Papyan
et al. (2020, arXiv 2008.08186). Each function takes tables and settings and returns the figure
with the table of what it draws.
"""

from typing import Annotated, Literal

from pydantic import Field

from forgetting.figures import (
    _neural_collapse_accuracy,
    _neural_collapse_correlation,
    _neural_collapse_measures,
    _neural_collapse_tasks,
)
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings


class OfBenchmark(Settings):
    """One benchmark of the study."""

    benchmark: str
    """Entry of the study's benchmarks."""
    reference: bool = True
    """Whether the paper's values are drawn beside, if all runs drawn follow its protocol."""


class OfMode(OfBenchmark):
    """Neural collapse with batch normalisation in one of its modes."""

    mode: Literal["eval", "train"] = "eval"
    """Statistics that batch normalisation uses: its running ones, or those of each batch as in the
    paper. The paper's values are drawn beside ``train`` alone."""


class Nc1OverTasks(OfBenchmark):
    """Online accuracy and NC1 over tasks."""

    strategy: str = "sgd"
    """Entry of the study's strategies."""


class Nc1ByFirstTaskEpochs(OfBenchmark):
    """NC1, plasticity loss and accuracy on later tasks by the epochs of task 1."""

    ladder: str = "task-1-epochs"
    """Strategies ``<ladder>~<epochs>``."""
    tasks: Annotated[list[int], Field(max_length=5)] = []
    """Later tasks, a line each; none named: the second, one in the middle and the last."""


class Nc1SlidingCorrelation(OfMode):
    """Correlation of NC1 with the accuracy on all images, within windows of warm-up epochs."""

    arms: list[str] = ["full", "shrink-perturb"]
    """Arms of table ``continued``, a line each."""
    window: Annotated[int, Field(ge=3)] = 20
    """Checkpoints in a window."""


class AccuracyByWarmUpEpochs(OfBenchmark):
    """Accuracy on all images and on half of them by the epochs of the warm-up."""

    arms: list[str] = []
    """Arms of table ``continued``, a line each; none named: all that are there."""
    scratch: str = "scratch"
    """Strategy that learns all images without a warm-up; a band where it was run."""


class CollapseOverWarmUp(OfMode):
    """NC1 to NC4 and the accuracy on all images by the epochs of the warm-up."""

    arm: str = "full"
    """Arm of table ``continued``."""
    first_epoch: Annotated[float, Field(ge=0)] = 0
    """Epochs before it are left out."""
    last_epoch: Annotated[float, Field(gt=0)] | None = None
    """Epochs after it are left out; default none."""


def nc1_over_tasks(given: Tables, settings: Nc1OverTasks) -> Drawn:
    """Two panels over one axis of tasks: online accuracy, and NC1 at the end of each task."""
    return _neural_collapse_tasks.nc1_over_tasks(given, settings)


def nc1_by_first_task_epochs(given: Tables, settings: Nc1ByFirstTaskEpochs) -> Drawn:
    """Panels of NC1, of plasticity loss and of accuracy on later tasks, by epochs of task 1."""
    return _neural_collapse_tasks.nc1_by_first_task_epochs(given, settings)


def nc1_sliding_correlation(given: Tables, settings: Nc1SlidingCorrelation) -> Drawn:
    """A line per arm: correlation within a window of checkpoints, plain and given the epoch."""
    return _neural_collapse_correlation.nc1_sliding_correlation(given, settings)


def accuracy_by_warm_up_epochs(given: Tables, settings: AccuracyByWarmUpEpochs) -> Drawn:
    """Two panels, a line per arm: accuracy after training on all images, and before it."""
    return _neural_collapse_accuracy.accuracy_by_warm_up_epochs(given, settings)


def collapse_over_warm_up(given: Tables, settings: CollapseOverWarmUp) -> Drawn:
    """A panel for each of NC1 to NC4, with the accuracy on all images on a second axis."""
    return _neural_collapse_measures.collapse_over_warm_up(given, settings)
