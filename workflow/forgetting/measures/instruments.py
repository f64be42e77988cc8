"""The instruments of all studies on one footing: the same images, dimensionless, once a task.

Each study measures forgetting or loss of plasticity by an instrument of its own, on images, layers
and at moments of its own. Here each of them looks at the same network at the end of every task t
whose weights were kept, with the same training images of the task, seen as the task shows them. The
*features* are the inputs of the head (the last hidden stage, flattened); batch norm uses its
running statistics.

* ``weight_effective_rank``: effective rank (``measures.erank``; Roy & Vetterli 2007) of a weight
  matrix (m x n) over min(m, n), the most it can be; mean over all weight matrices
  (``forgetting.weights``), the head's included.
* ``activation_effective_rank``: the same of the features, images x features, not centred, over
  min(images, features).
* ``cka_to_past``: debiased linear CKA (``measures.cka``; Nguyen et al. 2021, arXiv 2010.15327) of
  the features now and after task u, the last before t whose weights were kept, on images of task
  u. None for the first task, which has no past.
* ``dead_units``: share of the units of all hidden stages that put out something other than zero for
  less than 1 % of images and positions (``measures.dead_units``, ``active_below_1_percent``;
  Dohare et al. 2024, Nature 632, 768). Units that do not end in a ReLU, as a GRU's, are hardly ever
  zero; 0 says of them that none is silent.
* ``log10_nc1``: log10 of NC1 (``measures.neural_collapse``; Zhu et al. 2021, arXiv 2105.02375) of
  the features by the task's classes. None where a class has no image, where all class means
  coincide, or where nothing varies within classes.
* ``log10_weight_norm``: log10 of the Euclidean norm of all parameters over that of the network
  before training. (Of a run that continues one of another benchmark: of the network that its own
  benchmark would have begun with, another draw of the same distribution.)

Effective rank of features and NC1 depend on the number of images: it is the same for all runs, but
where a task has fewer. Agents have no labelled images; a study that measures them is refused.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from forgetting import building
from forgetting.measures._head_inputs import Seen, look, training_images
from forgetting.measures.cka import linear_cka
from forgetting.measures.dead_units import activities, definitions
from forgetting.measures.erank import effective_rank
from forgetting.measures.neural_collapse import digest_of, nc1
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages
from forgetting.tasks import ImageBenchmark
from forgetting.weights import weight_matrices

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "statistic": "str",
    "value": "float64",
    "samples": "int64",
}


class Settings(BaseSettings):
    """On how many images."""

    images: Annotated[int, Field(ge=4)] = 1000
    """Training images of a task; all, where there are fewer."""


class _Past(NamedTuple):
    """What the network made of an earlier task's images at that task's end."""

    task: int
    images: NDArray[np.int64]
    features: Tensor


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Every instrument at the end of every task whose weights were kept, for every seed.

    Columns: seed, task, statistic (as in the module), value, samples (images). What an instrument
    cannot say has no row. A diverged seed has no rows from the task on in which it diverged.
    ``attrs["probe"]`` says which images of a task were seen.

    Raises:
        UserError: The head is not linear.
    """
    rows: list[dict[str, Any]] = []
    about: list[dict[str, Any]] = []
    ends = [each for each in run.checkpoints if each.task and not each.epoch]
    for index, seed in enumerate(run.seeds):
        benchmark = run.benchmark.alone(index)
        (initial,) = building.networks(run.spec, run.benchmark, seeds=[seed])
        past: _Past | None = None
        for name, task, _ in ends:
            if not run.alive(seed, task):
                continue
            images = training_images(benchmark, task, settings.images)
            network = run.network(index, name)
            seen = look(network, benchmark, images, task)
            found = _of_network(network, initial)
            found |= _of_task(network, benchmark, images, task, seen)
            if past is not None:
                now = look(network, benchmark, past.images, past.task)
                found["cka_to_past"] = linear_cka(past.features, now.features, debiased=True)
            rows += [
                {"seed": seed, "task": task, "statistic": statistic, "value": value}
                | {"samples": len(images)}
                for statistic, value in found.items()
                if math.isfinite(value)
            ]
            about.append({"seed": seed, "task": task, "indices_sha256": digest_of(images)})
            past = _Past(task, images, seen.features)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame.attrs["probe"] = about
    return frame


def _of_network(network: Stages, initial: Stages) -> dict[str, float]:
    """Instruments that look at the weights alone."""
    matrices = weight_matrices(network).values()
    ranks = [effective_rank(matrix) / min(matrix.shape) for matrix in matrices]
    return {
        "weight_effective_rank": float(np.mean(ranks)),
        "log10_weight_norm": math.log10(_norm(network) / _norm(initial)),
    }


def _of_task(
    network: Stages, benchmark: ImageBenchmark, images: NDArray[np.int64], task: int, seen: Seen
) -> dict[str, float]:
    """Instruments that look at images of the task just trained."""
    indices = torch.from_numpy(images).to(benchmark.device)
    inputs = benchmark.fetch(indices[None], task)[0][0]
    dead = [
        definitions(activity)["active_below_1_percent"]
        for activity in activities(network, inputs).values()
    ]
    collapse = nc1(seen.features, seen.labels, classes=int(benchmark.outputs_of(task).sum()))
    return {
        "activation_effective_rank": effective_rank(seen.features) / min(seen.features.shape),
        "dead_units": torch.cat(dead).double().mean().item(),
        "log10_nc1": math.log10(collapse) if collapse > 0 else math.nan,
    }


def _norm(network: Stages) -> float:
    weights = nn.utils.parameters_to_vector(network.parameters()).detach()
    return torch.linalg.vector_norm(weights, dtype=torch.float64).item()
