"""Effective rank of features at the start and the end of tasks.

    E(F) = exp(-sum_i p_i log p_i),   p_i = sigma_i / sum_j sigma_j   (Roy & Vetterli 2007)

with sigma the singular values of the outputs of a hidden stage (after nonlinearity and pooling) on
images of the task, samples x features, not centred, maps flattened: as Prakash et al. (2025, arXiv
2509.22335) regularise it and plot it, summed over stages. Dohare et al. (2024, Nature 632, 768)
take it at the start of a task. For a fixed probe, other layouts and weights see ``measures.erank``.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from forgetting.activations import activation_matrices
from forgetting.measures._moments import Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.measures.erank import effective_rank
from forgetting.stages import HEAD

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
    "units": "int64",
    "samples": "int64",
}


class Settings(Moments):
    """At which moments, and on which images."""

    splits: Annotated[tuple[Literal["train", "held_out"], ...], Field(min_length=1)] = ("train",)
    """Images trained on, or the task's test images."""
    layers: Annotated[int, Field(gt=0)] | None = None
    """How many hidden stages, the last ones (both papers: 2 of a convolutional network); null: all.
    Counted are those without parameters too, in ``dead_units`` they are not: in a residual network
    without fully connected layers the last one is here the average over positions, there the last
    block.
    """


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Effective rank of every hidden stage's features at each moment, for every seed.

    Columns: seed, task, layer (``all``: the sum over these stages), statistic (``effective_rank``),
    value, moment, split, units (features of the stage), samples.

    A diverged seed has no rows from the task on after which its weights are not finite.
    ``attrs["probe"]`` identifies the samples.
    """
    samples = Samples(run, settings.images, settings.added)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        of = network(run, index, moment)
        for split in settings.splits:
            inputs = samples.draw(index, moment.task, split, of).inputs
            hidden = [name for name in of.stage_names if name != HEAD][-(settings.layers or 0) :]
            matrices = activation_matrices(of, inputs, layout="flattened", only=hidden)
            found = {
                stage: (effective_rank(matrix), matrix.shape[1]) for stage, _, matrix in matrices
            }
            ranks, widths = zip(*found.values(), strict=True)
            found["all"] = (sum(ranks), sum(widths))
            about = {
                "seed": seed,
                "task": moment.task,
                "statistic": "effective_rank",
                "moment": moment.moment,
                "split": split,
                "samples": len(inputs),
            }
            rows += [
                about | {"layer": layer, "value": float(rank), "units": units}
                for layer, (rank, units) in found.items()
            ]
    return tabled(rows, COLUMNS, samples)
