"""Figures of the study of plasticity and the Hessian's spectrum (Prakash et al. 2025, 2509.22335).

Performance over tasks beside the paper's, the spectra, the epsilon-rank against performance by
the paper's estimator and by a sound one, how far either is off, dead units, features and weights,
what either part of the regulariser does, run times, the loss around weights and the factorised
curvature. Each function takes tables and settings and returns the figure with the table of what
it draws.
"""

from typing import Annotated, Literal

from pydantic import Field

from forgetting.figures import (
    _spectral_agents,
    _spectral_curvature,
    _spectral_estimators,
    _spectral_methods,
    _spectral_ranks,
    _spectral_spectra,
    _spectral_tasks,
)
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings


class OfBenchmark(Settings):
    """One benchmark of the study."""

    benchmark: str
    """Entry of the study's benchmarks."""


class OfSplit(OfBenchmark):
    """A measure at the start of tasks of one benchmark."""

    split: Literal["train", "held_out"] = "train"
    """Images it is taken on: those trained on, or the task's test images."""


class OfStrategy(OfSplit):
    """A measure of one strategy."""

    strategy: str = "sgd"
    """Entry of the study's strategies."""


class PerformanceOverTasks(OfBenchmark):
    """How well each task is learned, by strategy, with the paper's curves."""

    window: Annotated[int, Field(ge=1)] = 1
    """Tasks around each over which a run's performance is averaged; fewer at the ends."""


class ReturnOverSteps(OfBenchmark):
    """The return of agents over the steps of their environment."""

    stretches: Annotated[int, Field(ge=1)] = 10
    """Parts of a task over which returns are averaged."""
    published: bool = False
    """Whether the paper's curves stand beside."""


class Spectra(OfSplit):
    """Spectra of the Hessian at the start of some tasks, by strategy."""

    tasks: Annotated[list[int], Field(max_length=4)] = []
    """Tasks, a column each; none named: four of those measured, from the first to the last."""
    strategies: list[str] = []
    """Strategies, a row each; none named: all measured."""
    linear: Annotated[float, Field(gt=0)] = 0.01
    """Magnitude up to which the horizontal axis is linear."""


class OfStarts(OfBenchmark):
    """Which starts of tasks are compared with how the task was learned."""

    first_task: int = 2
    """Tasks before it are left out (the paper's code leaves the first out)."""
    leave_out: list[str] = []
    """Strategies that are left out."""


class EpsilonRankAgainstPerformance(OfStarts):
    """Performance on a task against the epsilon-rank at its start, by both estimators."""

    eps: float | None = None
    """Epsilon; default that whose published estimator has the largest R squared, as published."""


class RSquaredByEpsilon(OfStarts):
    """R squared of performance on the epsilon-rank against epsilon."""


class EstimatorError(OfStrategy):
    """Error of either estimator of the epsilon-rank where the whole spectrum is known."""


class DeadUnitsOverTasks(OfSplit):
    """Dead units at the start of tasks, by strategy."""


class FeatureRankOverTasks(OfSplit):
    """Effective rank of features at the start of tasks, by strategy."""


class WeightNormOverTasks(OfBenchmark):
    """Norm of the weights at the start of tasks, by strategy."""


class DeadUnitsAgainstBound(OfSplit):
    """Epsilon-rank against the bound on the rank that dead units set."""


class RegularisationAblation(OfSplit):
    """What L2 and the effective-rank regulariser do alone and together."""

    strategies: list[str] = ["sgd", "l2", "effective_rank", "l2_effective_rank"]
    """Strategies, uppermost first."""


class RunTime(Settings):
    """Time that strategies take, relative to one of them."""

    reference: str = "sgd"
    """Strategy whose time is 1."""


class LossLandscape(OfBenchmark):
    """The loss around the weights at the start of a task."""

    strategies: Annotated[list[str], Field(min_length=1, max_length=4)] = [
        "sgd",
        "l2",
        "l2_effective_rank",
        "layer_norm_l2",
    ]
    """Strategies, side by side."""
    task: int | None = None
    """Task; default the last that is there."""
    seed: int | None = None
    """Seed whose plane is drawn; default the first that is there."""


class CurvatureFactors(OfStrategy):
    """Kronecker-factored curvature against the dense one, and ranks of its factors."""


def performance_over_tasks(given: Tables, settings: PerformanceOverTasks) -> Drawn:
    """A line per strategy: how well each task was learned; dashed, what the paper shows."""
    return _spectral_tasks.performance_over_tasks(given, settings)


def return_over_steps(given: Tables, settings: ReturnOverSteps) -> Drawn:
    """A line per strategy: mean return of the episodes that end in a stretch of steps."""
    return _spectral_agents.return_over_steps(given, settings)


def spectra(given: Tables, settings: Spectra) -> Drawn:
    """A row per strategy, a column per task: where the Hessian's eigenvalues are."""
    return _spectral_spectra.spectra(given, settings)


def epsilon_rank_against_performance(
    given: Tables, settings: EpsilonRankAgainstPerformance
) -> Drawn:
    """A panel per estimator, a point per run and task, the line of least squares, R squared."""
    return _spectral_ranks.epsilon_rank_against_performance(given, settings)


def r_squared_by_epsilon(given: Tables, settings: RSquaredByEpsilon) -> Drawn:
    """A line per estimator: R squared within a seed by epsilon; the largest is ringed."""
    return _spectral_ranks.r_squared_by_epsilon(given, settings)


def estimator_error(given: Tables, settings: EstimatorError) -> Drawn:
    """A line per number of Lanczos steps, and one of the published estimator: error by epsilon."""
    return _spectral_estimators.estimator_error(given, settings)


def dead_units_over_tasks(given: Tables, settings: DeadUnitsOverTasks) -> Drawn:
    """A line per strategy: hidden units that are zero on every image of the next task."""
    return _spectral_tasks.dead_units_over_tasks(given, settings)


def feature_rank_over_tasks(given: Tables, settings: FeatureRankOverTasks) -> Drawn:
    """A line per strategy: effective rank of the hidden stages' features, summed over stages."""
    return _spectral_tasks.feature_rank_over_tasks(given, settings)


def weight_norm_over_tasks(given: Tables, settings: WeightNormOverTasks) -> Drawn:
    """A line per strategy: Euclidean norm of all parameters."""
    return _spectral_tasks.weight_norm_over_tasks(given, settings)


def dead_units_against_bound(given: Tables, settings: DeadUnitsAgainstBound) -> Drawn:
    """A point per run and task: epsilon-rank at the smallest epsilon against the bound."""
    return _spectral_estimators.dead_units_against_bound(given, settings)


def regularisation_ablation(given: Tables, settings: RegularisationAblation) -> Drawn:
    """A panel each for performance, rank of features and dead units; a row per strategy."""
    return _spectral_methods.regularisation_ablation(given, settings)


def run_time(given: Tables, settings: RunTime) -> Drawn:
    """A panel per benchmark, a row per strategy: time relative to the reference."""
    return _spectral_methods.run_time(given, settings)


def loss_landscape(given: Tables, settings: LossLandscape) -> Drawn:
    """A panel per strategy: contours of the loss over a plane through the weights."""
    return _spectral_curvature.loss_landscape(given, settings)


def curvature_factors(given: Tables, settings: CurvatureFactors) -> Drawn:
    """Panels of errors and of effective ranks over tasks, a line per layer."""
    return _spectral_curvature.curvature_factors(given, settings)
