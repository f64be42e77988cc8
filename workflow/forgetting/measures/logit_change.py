"""The change of task 1's logits in training on task 2, predicted by a frozen-feature model.

The anatomy study (Ramasesh et al. 2020, arXiv 2007.07400) explains forgetting by a network whose
features g(x) are frozen after task 1: f(x) = W g(x), where g has a constant 1 for the bias, and
only W is trained on. In full, as it follows from gradient descent: the loss of step t is the mean
of L over the batch B_t, so its gradient in W is

    G_t = (1 / |B_t|) sum_{x' in B_t} r_t(x') g(x')^T,    r_t(x') = dL/df(x') = softmax - target

and a step W <- W - eta G_t changes the logits of any x by -eta G_t g(x). Over the training

    Delta f(x) = - eta sum_t (1 / |B_t|) sum_{x' in B_t} Theta(x, x') r_t(x'),
    Theta(x, x') = g(x) . g(x')

So an input of task 1 whose features are orthogonal to those of all inputs of task 2 keeps its
logits, however long task 2 is trained; Theta is what ``overlap`` measures as a whole.

The prediction takes the features of the network after task 1, in eval mode, and trains the head
from its weights then: the same batches in the same order, the run's step sizes, momentum and
weight decay. With momentum m and weight decay d, as in torch.optim.SGD,

    V_t = m V_{t-1} + G_t + d W_t,    W_{t+1} = W_t - eta_t V_t

The residuals r_t are those of the model as it trains. To first order they are those at the start
of task 2, r_1, and so is the weight decay's W_1; then step t counts with the sum of all later
steps, c_t = eta_t + m eta_{t+1} + m^2 eta_{t+2} + ..., and

    Delta f(x) = - sum_t c_t [ (1 / |B_t|) sum_{x' in B_t} Theta(x, x') r_1(x') + d W_1 g(x) ]

in which residuals never shrink. Statistics of that prediction end in ``_first_order``. What is
measured is the change of the run's own logits, in which the features moved too; where they are
frozen, the prediction is exact.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from forgetting.errors import UserError
from forgetting.measures import _frozen_features as model
from forgetting.measures._settings import Probe
from forgetting.measures._two_tasks import TaskProbes, networks, survivors
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import HEAD, Stages
from forgetting.strategy import Strategy
from forgetting.training import Settings as TrainingSettings

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "samples": "int64",
    "steps": "int64",
}


class Settings(BaseSettings):
    """On what the change is predicted."""

    probe: Probe = Probe()
    """The images of task 1 whose logits are looked at."""


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Predicted against measured change of task 1's logits over task 2, for every seed.

    Columns: seed, task (2), layer (``head``), statistic, value, samples (images of task 1),
    steps (of training on task 2). Statistics, of the changes of all logits of all samples:
    ``cosine``, ``correlation`` (Pearson), ``slope`` (of the measured change on the predicted, least
    squares through the origin: 1 is a prediction of the right size), ``predicted_norm`` and
    ``measured_norm`` (root mean square); all but the last also ``_first_order``. A seed that
    diverged by the end of task 2 has no rows. ``attrs["probe"]`` describes the probes.

    Raises:
        UserError: The run is not one that the model describes.
    """
    training = TrainingSettings(**run.spec["training"])
    check(run, training)
    alive = survivors(run)
    before, after = (networks(run, task, alive) for task in (1, 2))
    drawn = TaskProbes(run, settings.probe)
    rows: list[dict[str, Any]] = []
    for index in alive:
        images = drawn.inputs(index, 1)
        batches = model.task_batches(run, index, before[index], training)
        measured = measured_change(before[index], after[index], images)
        found = {"measured_norm": float(measured.square().mean().sqrt())}
        for suffix, predicted in predictions(before[index], images, batches, training).items():
            values = compare(predicted, measured)
            found |= {f"{name}{suffix}": value for name, value in values.items()}
        about = {"seed": run.seeds[index], "task": 2, "layer": HEAD, "samples": len(images)}
        about["steps"] = len(batches.order)
        rows += [{**about, "statistic": name, "value": value} for name, value in found.items()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame.attrs["probe"] = drawn.about()
    return frame


def check(run: "RunView", training: TrainingSettings) -> None:
    """Refuse a run whose training of task 2 is not the one of the model.

    Raises:
        UserError: A head for each task or one that is cleared, images transformed at random,
            another optimiser than SGD, another end of a task than that of its last epoch, or a
            strategy that does more.
    """
    refused = None
    strategy = Strategy.from_entry(run.spec["strategy"])
    hooks = ("before_task", "plan", "loss", "after_step", "own_step", "optimizer")
    extra = [hook for hook in hooks if strategy.has(hook)]
    phases = [phase for phase in strategy.phases(run.benchmark.tasks) if phase.task == 2]
    if run.benchmark.mask == "task":
        refused = (
            "each task has a head of its own, which the other task's gradients do not reach, so "
            "the prediction is zero by construction"
        )
    elif run.benchmark.reset_head:
        refused = "the head is cleared before task 2, the model goes on from its weights"
    elif _augments(run):
        refused = "images are transformed at random, the model takes them as they are"
    elif training.restore_best:
        refused = "a task ends with the weights of its best epoch, the model with its last"
    elif training.stop_accuracy is not None:
        refused = "a task may end before its last epoch (stop_accuracy), the model trains all"
    elif training.optimizer != "sgd":
        refused = f"it was trained with {training.optimizer}, the model is for sgd"
    elif training.momentum and not training.reset_optimizer:
        refused = "momentum was carried over from task 1 and is not in a checkpoint"
    elif extra:
        refused = f"its strategy adds to plain training on task 2 (hooks: {', '.join(extra)})"
    elif [phase.data for phase in phases] != [(2,)] or phases[0].fresh:
        refused = "its strategy does not go on from task 1 with task 2 alone"
    if refused:
        raise UserError(
            f"measure logit_change cannot be taken of {run.folder}: {refused}; name under the "
            "measure's `runs` the groups of runs with a shared head and plain sgd"
        )


def _augments(run: "RunView") -> bool:
    """Whether training images are transformed; a benchmark that could may be set not to."""
    benchmark = run.benchmark
    images = torch.zeros(benchmark.seeds, 1, *benchmark.input_shape, device=run.device)
    generators = [numpy_generator("augmentation", seed) for seed in run.seeds]
    return benchmark.augment(images, generators) is not images


def measured_change(before: Stages, after: Stages, images: Tensor) -> Tensor:
    """The change of the logits of images from one network to another, (n, K) float64."""
    return model.head_inputs(after, images)[1] - model.head_inputs(before, images)[1]


def predictions(
    before: Stages, images: Tensor, batches: model.Batches, training: TrainingSettings
) -> dict[str, Tensor]:
    """The predicted changes (n, K) by suffix of their statistics: the model, and to first order."""
    features, _ = model.head_inputs(before, images)
    head = model.augmented(before)
    return {
        "": features @ (model.trained(head, batches, training) - head).mT,
        "_first_order": features @ model.first_order(head, batches, training).mT,
    }


def compare(predicted: Tensor, measured: Tensor) -> dict[str, float]:
    """Cosine, correlation, slope and norm of a prediction (n, K); NaN where there is no change."""
    p, m = predicted.flatten(), measured.flatten()
    return {
        "cosine": _cosine(p, m),
        "correlation": _cosine(p - p.mean(), m - m.mean()),
        "slope": float(p @ m / (p @ p)),
        "predicted_norm": float(p.square().mean().sqrt()),
    }


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())
