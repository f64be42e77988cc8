"""Spectrum of the Hessian at the start and the end of tasks, by stochastic Lanczos quadrature.

Prakash et al. (2025, arXiv 2509.22335) hold that a network stops learning new tasks when the
Hessian's spectrum at their start collapses: few eigenvalues of magnitude above an epsilon are
left, a small *epsilon-rank*. The Hessian is that of the mean cross-entropy over a sample of the
task (``measures._curvature``), all P parameters included; those of outputs that do not compete
count as zeros.

Lanczos' method (``forgetting.lanczos``) gives Ritz values and weights, which are kept as they are.
From them ``epsilon_rank`` (a fraction of P here) follows without smoothing; beside it stands
``epsilon_rank_published``, the paper's estimator, which follows the extent of the spectrum and
not its rank (see ``forgetting.spectra``). The paper takes one start vector and 100 steps (16 with
its ResNet); an epsilon within the bulk at zero makes single nodes, and with them thousands of
eigenvalues, change sides, so several start vectors and a second number of steps are worth their
time. The start vectors of a seed are the same for all tasks and strategies.

One Hessian of a perceptron 784-100-100-10 takes 5 seconds on one thread with 2,000 images, 100
steps and three start vectors, a third of it for Lanczos' method itself.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from forgetting.lanczos import lanczos
from forgetting.measures._curvature import (
    Objective,
    dense_hessian,
    hessian_product,
    objective,
)
from forgetting.measures._moments import Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.randomness import torch_generator
from forgetting.spectra import (
    epsilon_rank,
    epsilon_rank_published,
    mass_outside,
    ritz,
    smoothed_density,
)

if TYPE_CHECKING:
    from forgetting.runs import RunView

__all__ = [
    "Settings",
    "epsilon_rank",
    "epsilon_rank_published",
    "lanczos",
    "measure",
    "ritz",
    "smoothed_density",
]

ENVIRONMENTS = True
COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "moment": "str",
    "split": "str",
    "steps": "int64",
    "eps": "float64",
    "probe": "int64",
    "index": "int64",
    "dim": "int64",
    "samples": "int64",
}


class Settings(Moments):
    """Which Hessians, and how closely they are looked at."""

    splits: Annotated[tuple[Literal["train", "held_out"], ...], Field(min_length=1)] = (
        "train",
        "held_out",
    )
    """Images trained on, or the task's test images."""
    probes: Annotated[int, Field(gt=0)] = 3
    """Start vectors (the paper's code: 1)."""
    steps: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (100,)
    """Steps of Lanczos' method. Several, such as [100, 200], are read off one run of the longest,
    to see what does not depend on them."""
    eps: tuple[Annotated[float, Field(gt=0)], ...] = (
        0.0001,
        0.001,
        0.01,
        0.03,
        0.04,
        0.1,
        1.0,
    )
    """Magnitudes above which eigenvalues are counted (the paper's: 0.01, 0.03, 0.04)."""
    batch_norm: Literal["running", "batch"] = "running"
    """Whether batch norm uses its running statistics, or those of each batch (the paper's)."""
    batch_size: Annotated[int, Field(gt=0)] = 500
    """Images sent through the network at once. With batch statistics it is part of the definition
    (the paper's: 100); else it changes time and memory only."""
    keep_graph: bool = True
    """Keep the gradient's graph between products: twice as fast, in the memory of a few forward
    passes over all images. Turn it off for convolutional networks."""
    precision: Literal["run", "float64"] = "run"
    """Precision of the products: the run's, or float64."""
    exact: Annotated[int, Field(ge=0)] = 0
    """Networks of up to so many parameters have their dense Hessian's eigenvalues taken as well,
    which costs P products and P^2 numbers."""
    basis: Literal["float64", "float32"] = "float64"
    """Type in which Lanczos' basis is kept: steps * P numbers. P = 1e5 and 100 steps: 80 MB;
    P = 1.1e7: 9 GB, or half in float32, which gives the same numbers with float32 products."""


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Ritz values and what follows from them at each moment, for every seed.

    Columns: seed, task, layer (``all``), statistic, value, moment (``init``, ``end``), split, steps
    (those asked for), eps (NaN where none is meant), probe (number of the start vector; -1: over
    all of them), index (from 0 in ascending order of Ritz values; -1: of none), dim (P), samples.

    Statistics: ``ritz_value`` and ``ritz_weight`` for each probe and index (fewer than ``steps``
    where the Krylov space is exhausted). Over the probes, for each eps: ``epsilon_rank`` and
    ``epsilon_rank_published``, the mean fraction of P, each with ``..._sd``, the standard
    deviation over probes (NaN with one); ``lambda_max`` and ``lambda_min``, the extreme Ritz
    values; ``trace_estimate``, the mean of P v^T H v, with ``trace_estimate_sd``. From the dense
    Hessian (``exact``), with 0 for ``steps``: ``eigenvalue`` by index and ``epsilon_rank_exact``.

    A diverged seed has no rows from the task on after which its weights are not finite.
    ``attrs["probe"]`` identifies the samples.
    """
    samples = Samples(run, settings.images, settings.added)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        for split in settings.splits:
            measured = network(run, index, moment)
            of = objective(
                measured,
                samples.draw(index, moment.task, split, measured),
                batch_size=settings.batch_size,
                batch_norm=settings.batch_norm,
                precision=settings.precision,
            )
            about = {
                "seed": seed,
                "task": moment.task,
                "layer": "all",
                "moment": moment.moment,
                "split": split,
                "dim": of.dim,
                "samples": len(of.sample.targets),
            }
            root = (run.spec["benchmark"]["name"], seed, "hessian")
            rows += [about | row for row in _rows(of, settings, root)]
    return tabled(rows, COLUMNS, samples)


def tridiagonals(
    of: Objective, settings: Settings, root: tuple[str | int, ...]
) -> list[tuple[Tensor, Tensor]]:
    """Return what Lanczos' method finds from every start vector: ``alphas`` and ``betas``.

    ``root`` is where the start vectors come from in the seed tree.
    """
    product = hessian_product(of, keep_graph=settings.keep_graph)
    return [
        lanczos(
            product,
            of.dim,
            max(settings.steps),
            torch_generator(*root, probe),
            device=of.sample.inputs.device,
            basis=getattr(torch, settings.basis),
        )
        for probe in range(settings.probes)
    ]


def _rows(of: Objective, settings: Settings, root: tuple[str | int, ...]) -> list[dict[str, Any]]:
    found = tridiagonals(of, settings, root)
    rows = [
        {"steps": steps, **row}
        for steps in settings.steps
        for row in _of_spectrum(found, steps, of.dim, settings.eps)
    ]
    if of.dim <= settings.exact:
        rows += [{"steps": 0, **row} for row in _exact(of, settings.eps)]
    return rows


def _exact(of: Objective, ladder: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(of).double()).cpu()
    for index, value in enumerate(eigenvalues.tolist()):
        yield _row("eigenvalue", value, index=index)
    for eps in ladder:
        yield _row("epsilon_rank_exact", float((eigenvalues.abs() > eps).double().mean()), eps)


def _of_spectrum(
    found: list[tuple[Tensor, Tensor]], steps: int, dim: int, ladder: tuple[float, ...]
) -> Iterator[dict[str, Any]]:
    """Rows of one Hessian after some steps from each start vector."""
    spectra = [ritz(alphas[:steps], betas) for alphas, betas in found]
    for probe, (values, weights) in enumerate(spectra):
        for name, column in (("ritz_value", values), ("ritz_weight", weights)):
            for index, value in enumerate(column):
                yield _row(name, value, probe=probe, index=index)
    yield _row("lambda_max", max(values[-1] for values, _ in spectra))
    yield _row("lambda_min", min(values[0] for values, _ in spectra))
    yield from _over_probes("trace_estimate", [dim * float(w @ v) for v, w in spectra])
    densities = [smoothed_density(*spectrum) for spectrum in spectra]
    for eps in ladder:
        fractions = [epsilon_rank(*spectrum, 1, eps) for spectrum in spectra]
        yield from _over_probes("epsilon_rank", fractions, eps)
        published = [mass_outside(density, eps) for density in densities]
        yield from _over_probes("epsilon_rank_published", published, eps)


def _over_probes(name: str, values: list[float], eps: float = np.nan) -> Iterator[dict[str, Any]]:
    yield _row(name, float(np.mean(values)), eps)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    yield _row(f"{name}_sd", spread, eps)


def _row(
    statistic: str, value: float, eps: float = np.nan, *, probe: int = -1, index: int = -1
) -> dict[str, Any]:
    about = {"eps": eps, "probe": probe, "index": index}
    return {"statistic": statistic, "value": float(value), **about}
