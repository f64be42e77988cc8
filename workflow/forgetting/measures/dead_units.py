"""Dead units: hidden units that put out zero whatever is shown to them.

The codes of the field mean four things by it (the first is that of Prakash et al. 2025, arXiv
2509.22335, and of Dohare et al. 2024 on Permuted MNIST):

* ``exact_zero``: zero for every image of the sample;
* ``active_below_1_percent``: not zero for less than 1 % of them (Dohare et al. on CIFAR-100);
* ``zero_above_95_percent``: zero for more than 95 % of them;
* ``redo_score``: the unit's mean magnitude over the mean magnitude of its layer's units is at
  most a threshold (Sokar et al. 2023, arXiv 2302.12902, eq. 1).

A unit is a column of a hidden stage's output, or one of its channels; shares and means of a
channel are over images and positions. Hidden stages are those with parameters, but for the head.
All four are meant for units that end in a ReLU. As they depend on the images, a second question is
how many dead units come back to life with the next task's images: ``still_dead``.

A dead unit puts zeros into the Hessian's rows of every parameter that enters or leaves it, which
bounds its rank (``rank_bound``): with one hidden layer, k dead units, I inputs and O outputs,
rank(H) <= P - k (I + O + 1) (Prakash et al., theorem 6.2). With several hidden layers a weight
between two dead units is in the row of one and the column of the other and may be counted only
once: the bound is P less the number of *distinct* parameters.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from pydantic import Field
from torch import Tensor, nn

from forgetting.devices import forward_batch
from forgetting.measures._moments import Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.stages import HEAD, Stages

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
    "parameters": "int64",
    "samples": "int64",
}
EXACT = "exact_zero"
ALL = "all"


class Settings(Moments):
    """At which moments, and on which images."""

    splits: Annotated[tuple[Literal["train", "held_out"], ...], Field(min_length=1)] = ("train",)
    """Images trained on, or the task's test images."""
    layers: Annotated[int, Field(gt=0)] | None = None
    """How many hidden stages, the last ones (both papers: 2 of a convolutional network); null: all.
    Counted are stages with parameters, in ``feature_rank`` all: in a residual network without
    fully connected layers the last one is here the last block, there its average over positions.
    """
    redo_threshold: Annotated[float, Field(ge=0)] = 0.1
    """Largest relative magnitude of a dead unit by the definition ``redo_score``."""


class Activity(NamedTuple):
    """How much the units of one stage do on a sample; float64 on the CPU."""

    active: Tensor
    """(units,): share of the images (and positions) for which the output is not zero."""
    magnitude: Tensor
    """(units,): mean magnitude of the output."""


def dead_units(activations: Tensor | ArrayLike) -> int:
    """Number of units that are exactly zero on the whole sample.

    Args:
        activations: (n, units) or (n, units, positions...), after the nonlinearity, numpy or
            torch. NaN is not zero.

    Raises:
        ValueError: Fewer than two axes, or no samples.
    """
    values = torch.as_tensor(activations).detach()
    if values.dim() < 2 or len(values) == 0:
        raise ValueError(f"expected (samples, units, ...), got the shape {tuple(values.shape)}")
    return int((_columns(values) == 0).all(0).sum())


def definitions(activity: Activity, *, redo_threshold: float = 0.1) -> dict[str, Tensor]:
    """Which units are dead by each definition, (units,) bool.

    Where a whole layer is silent every score is taken as 0.
    """
    mean = activity.magnitude.mean()
    scores = torch.where(mean > 0, activity.magnitude / mean, 0.0)
    return {
        EXACT: activity.active == 0,
        "active_below_1_percent": activity.active < 0.01,
        "zero_above_95_percent": 1 - activity.active > 0.95,
        "redo_score": scores <= redo_threshold,
    }


def rank_bound(widths: Sequence[int], dead: Sequence[int]) -> int:
    """Upper bound on the rank of the Hessian of a fully connected network with biases.

    P less the number of distinct parameters that enter or leave a dead unit: those of a layer
    with n inputs and m outputs, of which a and b are dead, are a m + b n - a b weights and b
    biases. Holds for units that stay zero near these weights.

    Args:
        widths: Inputs, units of every hidden layer, outputs.
        dead: Number of dead units of every hidden layer.

    Raises:
        ValueError: The numbers do not belong together.
    """
    if len(dead) != len(widths) - 2 or any(
        not 0 <= d <= w for d, w in zip(dead, widths[1:-1], strict=True)
    ):
        raise ValueError(f"dead units {tuple(dead)} of layers of widths {tuple(widths)}")
    silent = [0, *dead, 0]
    pairs = zip(widths, widths[1:], silent, silent[1:], strict=False)
    return sum((n - a) * (m - b) + m - b for n, m, a, b in pairs)


def fully_connected(network: Stages) -> tuple[int, ...] | None:
    """Return inputs, hidden widths and outputs of a perceptron with biases and ReLU, else None.

    Anything else, as a layer norm, may connect a dead unit's parameters with the loss.
    """
    widths: list[int] = []
    for name, stage in network.stages.items():
        leaves = [module for module in stage.modules() if not [*module.children()]]
        linear = [leaf for leaf in leaves if isinstance(leaf, nn.Linear)]
        around = [leaf for leaf in leaves if not isinstance(leaf, nn.Linear | nn.Flatten)]
        expected = [] if name == HEAD else [nn.ReLU]
        if [type(leaf) for leaf in around] != expected or len(linear) != 1:
            return None
        if linear[0].bias is None or (expected and not isinstance(leaves[-1], nn.ReLU)):
            return None
        widths += [linear[0].in_features] if not widths else []
        widths.append(linear[0].out_features)
    return tuple(widths)


@torch.no_grad()
def activities(network: Stages, images: Tensor, layers: int | None = None) -> dict[str, Activity]:
    """Return the activity of every hidden stage with parameters, input first, in eval mode.

    ``layers``: how many stages, the last ones; None: all.
    """
    network.eval()
    hidden = [
        name
        for name, stage in network.stages.items()
        if name != HEAD and any(True for _ in stage.parameters())
    ][-(layers or 0) :]
    counts: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    sizes = dict.fromkeys(hidden, 0)
    for batch in images.split(forward_batch(images.device)):
        outputs = network.activations(batch)
        for name in hidden:
            columns = _columns(outputs[name])
            sizes[name] += len(columns)
            counts[name] = counts.get(name, 0) + (columns != 0).sum(0)
            sums[name] = sums.get(name, 0) + columns.abs().sum(0, dtype=torch.float64)
    return {
        name: Activity(counts[name].double().cpu() / sizes[name], sums[name].cpu() / sizes[name])
        for name in hidden
    }


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Dead units of every hidden stage at each moment, for every seed.

    Columns: seed, task, layer (``all`` for all these stages together), statistic, value, moment,
    split, units, parameters (P of the whole network), samples.

    Statistics: number of dead units by each definition, named as in the module; ``still_dead``,
    at ``init`` of a task: the share of the units that are exactly zero on the images of the task
    just trained that are so on this task's as well (NaN without dead units); ``rank_bound`` of
    the Hessian over the sample, for perceptrons with ReLU of which all layers are looked at (layer
    ``all``). A diverged seed has no rows from the task on after which its weights are not finite.
    ``attrs["probe"]`` identifies the samples.
    """
    samples = Samples(run, settings.images, settings.added)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        of = network(run, index, moment)
        for split in settings.splits:
            sample = samples.draw(index, moment.task, split, of)
            about = {
                "seed": seed,
                "task": moment.task,
                "moment": moment.moment,
                "split": split,
                "parameters": sum(parameter.numel() for parameter in of.parameters()),
                "samples": len(sample.targets),
            }
            now = activities(of, sample.inputs, settings.layers)
            before = None
            if moment.moment == "init" and moment.trained > 0:
                old = samples.draw(index, moment.trained, split, of)
                before = activities(of, old.inputs, settings.layers)
            found = _rows(of, now, before, settings.redo_threshold)
            rows += [about | row for row in found]
    return tabled(rows, COLUMNS, samples)


def _rows(
    network: Stages,
    now: dict[str, Activity],
    before: dict[str, Activity] | None,
    threshold: float,
) -> Iterator[dict[str, Any]]:
    dead = {name: definitions(activity, redo_threshold=threshold) for name, activity in now.items()}
    together = {
        statistic: torch.cat([found[statistic] for found in dead.values()])
        for statistic in next(iter(dead.values()))
    }
    for layer, masks in {**dead, ALL: together}.items():
        for statistic, mask in masks.items():
            yield _row(layer, statistic, float(mask.sum()), len(mask))
    if before is not None:
        were = {name: activity.active == 0 for name, activity in before.items()}
        were[ALL] = torch.cat(list(were.values()))
        for layer, mask in were.items():
            still = ({**dead, ALL: together}[layer][EXACT] & mask).sum()
            share = float(still / mask.sum()) if mask.any() else np.nan
            yield _row(layer, "still_dead", share, len(mask))
    widths = fully_connected(network)
    if widths is not None and len(widths) == len(dead) + 2:
        counts = [int(masks[EXACT].sum()) for masks in dead.values()]
        yield _row(ALL, "rank_bound", float(rank_bound(widths, counts)), len(together[EXACT]))


def _row(layer: str, statistic: str, value: float, units: int) -> dict[str, Any]:
    return {"layer": layer, "statistic": statistic, "value": value, "units": units}


def _columns(outputs: Tensor) -> Tensor:
    """Return (samples x positions, units)."""
    return outputs if outputs.dim() == 2 else outputs.flatten(2).transpose(1, 2).flatten(0, 1)
