"""Trace overlap of the features of task 1 and task 2: how similar a network finds two tasks.

With X (n1 x p) and Y (n2 x p) the activations of one network on inputs of task 1 and of task 2
(Ramasesh et al. 2020, arXiv 2007.07400, in their analysis of a frozen-feature model):

    overlap = Tr(K12 K12^T) / sqrt(Tr(K11 K11^T) Tr(K22 K22^T)),
        K12 = X Y^T, K11 = X X^T, K22 = Y Y^T
    = <X^T X, Y^T Y>_F / (||X^T X||_F ||Y^T Y||_F)

the cosine of the angle between the two second-moment matrices: 0 where all features of one task
are orthogonal to all of the other, which in the frozen-feature model is where nothing is
forgotten (see ``logit_change``). As published nothing is centred, so that the features' means,
all positive after a ReLU, count; the centred statistic, the cosine of the covariance matrices,
stands beside it. Which stage and which moment the paper uses is not known; the argument is about
the features that the head sees, after task 1.
"""

from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from forgetting.activations import activation_matrices
from forgetting.measures._matrices import centred as less_mean
from forgetting.measures._matrices import double, products, scaled
from forgetting.measures._settings import Probe
from forgetting.measures._two_tasks import TaskProbes, networks, survivors
from forgetting.settings import Settings as BaseSettings

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "depth": "int64",
    "samples": "int64",
    "features": "int64",
    "layout": "str",
}


class Settings(BaseSettings):
    """On what the tasks are compared."""

    probe: Probe = Probe()
    """The images of each task that activations are taken on."""
    layout: Literal["pooled", "flattened"] = "pooled"
    """Feature maps as a matrix: average over positions (images x channels), or every position a
    feature (images x channels * positions); the latter keeps all maps of both probes in memory:
    2 * images x all units x 4 bytes."""


def trace_overlap(x: Tensor | ArrayLike, y: Tensor | ArrayLike, *, centred: bool = False) -> float:
    """Cosine of the second-moment matrices of two sets of samples of one feature space.

    In float64, with p^2 (n1 + n2) multiplications or with p (n1^2 + n1 n2 + n2^2), whatever is
    less.

    Args:
        x: (n1, p), a row a sample. numpy or torch, of any real type.
        y: (n2, p).
        centred: Subtract each set's own mean first.

    Returns:
        Between 0 and 1; NaN where x or y is all zeros (centred: has no feature that varies) or
        not finite.

    Raises:
        ValueError: Not two axes, or different numbers of features.
    """
    first, second = double(x), double(y)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"overlap is of one feature space, got {first.shape[1]} and {second.shape[1]} features"
        )
    if centred:
        first, second = less_mean(first), less_mean(second)
    first, second = scaled(first), scaled(second)
    if not (first.isfinite().all() and second.isfinite().all()):
        return torch.nan
    cross, own, other = products(first.mT, second.mT)
    return cross / own**0.5 / other**0.5 if own > 0 and other > 0 else torch.nan


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Overlap of task 1 and task 2 in every stage, after either task, for every seed.

    Columns: seed, task (1: after task 1, 2: after task 2), layer, statistic
    (``trace_overlap_uncentred``, as published, and ``trace_overlap_centred``), value, depth
    (place in the network, from 1), samples (of each task), features, layout. A diverged seed has
    no rows from the task on in which it diverged. ``attrs["probe"]`` describes the probes.
    """
    drawn = TaskProbes(run, settings.probe)
    rows: list[dict[str, Any]] = []
    for task in (1, 2):
        for index, network in networks(run, task, survivors(run, task)).items():
            stages = zip(
                activation_matrices(network, drawn.inputs(index, 1), layout=settings.layout),
                activation_matrices(network, drawn.inputs(index, 2), layout=settings.layout),
                strict=True,
            )
            for depth, ((layer, layout, x), (_, _, y)) in enumerate(stages, start=1):
                for statistic in ("uncentred", "centred"):
                    rows.append(
                        {
                            "seed": run.seeds[index],
                            "task": task,
                            "layer": layer,
                            "statistic": f"trace_overlap_{statistic}",
                            "value": trace_overlap(x, y, centred=statistic == "centred"),
                            "depth": depth,
                            "samples": min(x.shape[0], y.shape[0]),
                            "features": x.shape[1],
                            "layout": layout,
                        }
                    )
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame = frame.sort_values(["seed", "task"], kind="stable", ignore_index=True)
    frame.attrs["probe"] = drawn.about()
    return frame
