"""Less collapse on purpose: within-class over between-class variation, NC1, is rewarded.

    loss = cross-entropy - strength * min(NC1, cap),    NC1 = Tr(Sigma_W Sigma_B^+) / C

of the minibatch, with covariances within and between classes as in ``measures.neural_collapse`` and
features the input of the head. Bonifazi et al. (2024, arXiv 2404.02719) train so on the first half
of the images, and plainly afterwards (``tasks``, or a run that continues another). A large NC1 is
little collapse. Their stored runs have strength 0.05; 0.075 is the default of their code.

As published a class of the task that is missing from the batch has the mean zero. (The classes are
the task's outputs and whatever else is in the batch.) Above ``cap`` the gradient is zero. NC1 of a
batch is not that of all images: a mean of n images is off by 1/n of the variance within, in every
direction in which features vary. With independent Gaussian features it stays near (N - C) (C - 1) /
(C (d - C)) however close the true means are, 0.21 for 128 images of 10 classes in 512 dimensions.

With M^T (C x d) the class means less the mean of the batch, Sigma_B = M M^T / C and

    NC1 = (1/N) sum over images of ||M^+ (h - mu_c)||^2

in which C cancels. M^+ is differentiated as a pseudoinverse (Golub & Pereyra 1973, SIAM J. Numer.
Anal. 10, 413), which takes no more than that M keeps its rank; through an eigendecomposition equal
or vanishing eigenvalues would make the gradient infinite, and one always vanishes, since the class
means weighed by their numbers of images sum to zero. All is float64. As in torch.linalg.pinv of
Sigma_B (d x d), which is what is published, directions in which the means vary by no more than
d * eps of the largest variance count as none, with eps of the training's precision.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.settings import Settings as Base
from forgetting.strategy import Context, Memory
from forgetting.tasks import Batch

LABELS = True  # needs labelled images


class Settings(Base):
    """How much NC1 is worth, up to where, and when."""

    strength: Annotated[float, Field(ge=0)] = 0.05
    """Weight of NC1 in the loss."""
    cap: Annotated[float, Field(gt=0)] = 200.0
    """Value of NC1 from which on more is worth nothing."""
    tasks: Literal["all"] | tuple[Annotated[int, Field(ge=1)], ...] = "all"
    """Tasks in which it is rewarded."""


def start(net: Net, settings: Settings) -> Memory:
    """Return whether the term acts, where that depends on the task."""
    if settings.tasks == "all":
        return {}
    device = next(iter(net.params.values())).device
    return {"acts": torch.zeros((), dtype=torch.bool, device=device)}


def before_task(net: Net, memory: Memory, settings: Settings, *, task: int) -> Memory:
    """Switch the term on or off."""
    if settings.tasks == "all":
        return memory
    return {"acts": torch.full_like(memory["acts"], task in settings.tasks)}


def loss(
    net: Net,
    batch: Batch,
    logits: Tensor,
    memory: Memory,
    settings: Settings,
    *,
    activations: Mapping[str, Tensor],
    context: Context,
) -> dict[str, Tensor]:
    """Return the term, which is negative."""
    if settings.strength == 0:
        return {}
    features = list(activations.values())[-2].flatten(1)
    value = batch_nc1(features, batch.targets, context.outputs)
    term = -settings.strength * value.clamp(max=settings.cap)
    if settings.tasks != "all":
        term = torch.where(memory["acts"], term, 0.0)
    return {"nc1": term}


def batch_nc1(features: Tensor, targets: Tensor, outputs: Tensor) -> Tensor:
    """NC1 of a batch as a scalar of the features' type, differentiable.

    Args:
        features: (N, d).
        targets: (N,) int64, positions among K outputs.
        outputs: (K,) bool: the task's outputs, whose means are zero where they are missing.

    Returns:
        At least 0; 0 where all features are equal.
    """
    values = features.to(torch.float64)
    numbers = torch.arange(outputs.shape[0], device=targets.device)
    members = (targets[:, None] == numbers).to(torch.float64)
    counts = members.sum(0)
    means = members.mT @ values / counts.clamp(min=1)[:, None]
    between = means - values.mean(0)
    counted = (outputs | (counts > 0))[:, None]
    # Means that are equal differ by rounding, which has no direction to speak of.
    rounding = len(targets) * torch.finfo(torch.float64).eps * values.abs().amax()
    between = torch.where(counted & (between.abs().amax() > rounding), between, 0.0)
    within = values - members @ means
    cutoff = (features.shape[1] * torch.finfo(features.dtype).eps) ** 0.5
    return (within @ pseudoinverse(between, cutoff)).square().sum(1).mean().to(features.dtype)


def pseudoinverse(matrix: Tensor, cutoff: float) -> Tensor:
    """The pseudoinverse (d, C) of a matrix (C, d), differentiable where its rank stays.

    Singular values up to ``cutoff`` times the largest count as zero.
    """
    fixed = matrix.detach()
    # On the CPU, which is faster at it than a GPU; a seed that diverged must not stop the others.
    finite = fixed.nan_to_num(0.0, 0.0, 0.0).cpu()
    inverse = torch.linalg.pinv(finite, rtol=cutoff).to(matrix.device)
    # A^+ + d(A^+) with dA = A - fixed, which is zero and has A's gradient:
    # d(A^+) = -A^+ dA A^+ + A^+ A^+T dA^T (I - A A^+) + (I - A^+ A) dA^T A^+T A^+.
    change = matrix - fixed
    rows = torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device) - fixed @ inverse
    columns = change.mT - inverse @ (fixed @ change.mT)
    return (
        inverse
        - inverse @ (change @ inverse)
        + inverse @ (inverse.mT @ change.mT @ rows)
        + columns @ (inverse.mT @ inverse)
    )
