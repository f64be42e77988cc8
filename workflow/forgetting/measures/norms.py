"""How large weights and gradients are, layer by layer.

Growing weights and vanishing gradients are among the suspects for loss of plasticity (Dohare et
al. 2024 report the mean magnitude of weights; Prakash et al. 2025, arXiv 2509.22335, bound a
residual term by the weights' norm). Norms are Euclidean (Frobenius). Layers are those of
``forgetting.weights.weight_matrices``: biases and norms' scales count in the rows of all
parameters only. The gradient is that of the mean cross-entropy over a sample of the task, without
weight decay or a strategy's terms.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from forgetting.measures._curvature import Objective, flattened, gradient, objective
from forgetting.measures._moments import Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.stages import Stages
from forgetting.weights import weight_matrices

if TYPE_CHECKING:
    from forgetting.runs import RunView

ENVIRONMENTS = True
COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "moment": "str",
    "split": "str",
    "parameters": "int64",
    "samples": "int64",
}


class Settings(Moments):
    """At which moments, and on which images."""

    splits: Annotated[tuple[Literal["train", "held_out"], ...], Field(min_length=1)] = ("train",)
    """Images of the gradient: those trained on, or the task's test images."""
    batch_norm: Literal["running", "batch"] = "running"
    """Whether batch norm uses its running statistics, or those of each batch."""
    batch_size: Annotated[int, Field(gt=0)] = 100
    """Images at once; part of the definition with batch statistics."""


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Norms of weights and gradients at each moment, for every seed.

    Columns: seed, task, layer (``all``: all parameters), statistic, value, moment, split ("" for
    weights), parameters (how many entries the row is about), samples (0 for weights).

    Statistics: ``weight_norm``; ``weight_mean_magnitude``, the mean of |w|; ``gradient_norm``. A
    diverged seed has no rows from the task on after which its weights are not finite.
    ``attrs["probe"]`` identifies the samples.
    """
    samples = Samples(run, settings.images, settings.added)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        of = network(run, index, moment)
        found = list(_of_weights(of))
        for split in settings.splits:
            loss = objective(
                of,
                samples.draw(index, moment.task, split, of),
                batch_size=settings.batch_size,
                batch_norm=settings.batch_norm,
            )
            found += [{"split": split, **row} for row in _of_gradient(loss)]
        about = {"seed": seed, "task": moment.task, "moment": moment.moment}
        rows += [about | row for row in found]
    return tabled(rows, COLUMNS, samples)


def _of_weights(network: Stages) -> Iterator[dict[str, Any]]:
    whole = flattened([parameter.detach() for parameter in network.parameters()])
    for layer, values in {**weight_matrices(network), "all": whole}.items():
        for statistic, value in (
            ("weight_norm", torch.linalg.vector_norm(values, dtype=torch.float64)),
            ("weight_mean_magnitude", values.abs().mean(dtype=torch.float64)),
        ):
            yield {"split": "", **_row(layer, statistic, value, values.numel(), samples=0)}


def _of_gradient(loss: Objective) -> Iterator[dict[str, Any]]:
    whole = gradient(loss)
    names = [name for name, _ in loss.network.named_parameters()]
    slopes = dict(zip(names, loss.unflattened(whole), strict=True))
    for layer, values in {**weight_matrices(loss.network, slopes), "all": whole}.items():
        norm = torch.linalg.vector_norm(values, dtype=torch.float64)
        count = len(loss.sample.targets)
        yield _row(layer, "gradient_norm", norm, values.numel(), samples=count)


def _row(
    layer: str, statistic: str, value: Tensor, parameters: int, *, samples: int
) -> dict[str, Any]:
    return {
        "layer": layer,
        "statistic": statistic,
        "value": value.item(),
        "parameters": parameters,
        "samples": samples,
    }
