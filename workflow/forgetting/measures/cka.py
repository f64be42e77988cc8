"""Centred kernel alignment of a stage's activations before and after task 2, linear kernel.

With K = X X^T and L = Y Y^T of centred X and Y (Kornblith et al. 2019, arXiv 1905.00414):

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))
        = ||X^T Y||_F^2 / (||X^T X||_F ||Y^T Y||_F)

The anatomy study (Ramasesh et al. 2020, arXiv 2007.07400) compares each stage's activations
before and after task 2 in this way; on which images, how many, and how feature maps become
features is not known.

This estimate of HSIC is biased, and the more so the fewer samples there are for a feature: two
*independent* Gaussian matrices of n samples x 512 features score 0.89 at n = 64, 0.34 at 1,000
and 0.09 at 5,000. Beside it stands the debiased CKA (Nguyen et al. 2021, arXiv 2010.15327), with
the unbiased estimate of HSIC by Song et al. (2012) in numerator and denominator. With K~ and L~
for K and L without their diagonals,

    HSIC_1(K, L) = [ tr(K~ L~) + (1'K~ 1)(1'L~ 1) / ((n - 1)(n - 2)) - 2/(n - 2) 1'K~ L~ 1 ]
                   / (n (n - 3))

X being centred, K 1 = 0, so with k = diag K and l = diag L: K~ 1 = -k, and

    n (n - 3) HSIC_1(K, L) = ||X^T Y||_F^2 - n/(n - 2) k'l + (1'k)(1'l) / ((n - 1)(n - 2))

which is the feature-space form in Kornblith's published code. HSIC_1 is an inner product of the
U-centred matrices (Szekely & Rizzo 2014), so the debiased CKA lies between -1 and 1; for
independent features its numerator is zero on average.
"""

from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from forgetting.activations import activation_matrices
from forgetting.measures._matrices import EPS, centred, double, products, scaled
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
    "inputs": "str",
}


class Settings(BaseSettings):
    """On what the networks before and after task 2 are compared."""

    probe: Probe = Probe()
    """The images that activations are compared on."""
    inputs: Literal["task 1", "task 2"] = "task 1"
    """The task that they are drawn from."""
    layout: Literal["pooled", "flattened"] = "pooled"
    """Feature maps as a matrix: average over positions (images x channels), or every position a
    feature (images x channels * positions); the latter keeps all maps of the probe of both
    networks in memory: 2 * images x all units x 4 bytes."""


def linear_cka(x: Tensor | ArrayLike, y: Tensor | ArrayLike, debiased: bool = False) -> float:
    """Linear CKA of two sets of features of the same samples, in float64.

    Takes n (p1 p2 + p1^2 + p2^2) or n^2 (p1 + p2) multiplications, whatever is less, and no
    n x n matrix in the first case.

    Args:
        x: (n, p1), a row a sample; need not be centred. numpy or torch, of any real type.
        y: (n, p2), the same samples in the same order.
        debiased: With Song et al.'s unbiased estimate of HSIC.

    Returns:
        Between 0 and 1, debiased between -1 and 1. NaN where it is not defined: no feature of x
        (or of y) varies, an entry is not finite; debiased also with fewer than four samples, or
        where x varies in one sample only.

    Raises:
        ValueError: Not two axes, or different numbers of samples.
    """
    return _both(x, y)[debiased]


def _both(x: Tensor | ArrayLike, y: Tensor | ArrayLike) -> tuple[float, float]:
    """CKA and debiased CKA, which share their products."""
    first, second = (scaled(centred(double(matrix))) for matrix in (x, y))
    n = len(first)
    if len(second) != n:
        raise ValueError(f"CKA compares the same samples, got {n} and {len(second)}")
    if not (first.isfinite().all() and second.isfinite().all()):
        return torch.nan, torch.nan
    norms = products(first, second)
    biased = _ratio(norms, floor=(0.0, 0.0))
    if n < 4:
        return biased, torch.nan
    k, other = first.square().sum(1), second.square().sum(1)
    unbiased = tuple(
        norm - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))
        for norm, a, b in zip(norms, (k, k, other), (other, k, other), strict=True)
    )
    # The terms cancel; what is left below this is rounding.
    floor = (n * EPS * norms[1], n * EPS * norms[2])
    return biased, _ratio(unbiased, floor=floor)


def _ratio(products: tuple[float, ...], *, floor: tuple[float, float]) -> float:
    cross, first, second = products
    if first <= floor[0] or second <= floor[1]:
        return torch.nan
    return cross / first**0.5 / second**0.5


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """CKA of every stage's activations after task 1 and after task 2, for every seed.

    Columns: seed, task (2), layer, statistic (``cka_biased``, ``cka_debiased``), value, depth
    (place in the network, from 1), samples, features, layout, inputs (``task 1``: images of task
    1). A seed that diverged by the end of task 2 has no rows. ``attrs["probe"]`` describes the
    probes.
    """
    alive = survivors(run)
    before, after = (networks(run, task, alive) for task in (1, 2))
    drawn = TaskProbes(run, settings.probe)
    rows: list[dict[str, Any]] = []
    for index in alive:
        images = drawn.inputs(index, int(settings.inputs[-1]))
        stages = zip(
            activation_matrices(before[index], images, layout=settings.layout),
            activation_matrices(after[index], images, layout=settings.layout),
            strict=True,
        )
        for depth, ((layer, layout, x), (_, _, y)) in enumerate(stages, start=1):
            for statistic, value in zip(("cka_biased", "cka_debiased"), _both(x, y), strict=True):
                rows.append(
                    {
                        "seed": run.seeds[index],
                        "task": 2,
                        "layer": layer,
                        "statistic": statistic,
                        "value": value,
                        "depth": depth,
                        "samples": x.shape[0],
                        "features": x.shape[1],
                        "layout": layout,
                        "inputs": settings.inputs,
                    }
                )
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    frame.attrs["probe"] = drawn.about()
    return frame
