"""Effective-rank regularisation (Prakash et al. 2025, arXiv 2509.22335, as in the authors' code).

Beside training, the effective rank (Roy & Vetterli 2007) of hidden features is raised by steps of
its own: theta <- theta + rate * gradient of mean over layers of E(F),

    E(F) = exp(-sum_i p_i log(p_i + floor)),    p_i = sigma_i / S,    S = sum_j sigma_j,

sigma the singular values of F, the outputs of a hidden stage (after nonlinearity and pooling) on
the minibatches of the last or next ``every`` steps together: samples x features, not centred, maps
flattened (a feature for every channel and position). Neither momentum nor Adam nor weight decay
take part. With an L2 part this is the paper's L2-ER.

The gradient, with F = U diag(sigma) V^T, g_i = log(p_i + floor) + p_i / (p_i + floor):

    dE/dsigma_i = -(E / S) (g_i - sum_j p_j g_j),    dE/dF = U diag(dE/dsigma) V^T,

since d(-sum p log(p + floor))/dp_i = -g_i and dp_i/dsigma_j = (delta_ij - p_i) / S. (At floor 0 it
is -(E/S) U diag(log p_i + H) V^T, H the entropy.) It comes from the eigenvectors of the smaller of
F^T F and F F^T in float64; U sigma^-1 follows by one product with F. Directions whose eigenvalue is
rounding, below max(N, d) eps of the largest, have no direction to speak of: they count as sigma = 0
and have zero gradient. So units that are dead, or features collapsed to one direction, give no NaN.
In float32 the squares of singular values below 3e-4 of the largest would drown in rounding, and
these have the largest gradients.

That gradient G enters as sum(F * G) with G held constant, whose derivative in the weights is by the
chain rule exactly that of E: no custom autograd function, and it maps over seeds.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.settings import Settings as Base
from forgetting.strategy import Context, Memory, OwnStep
from forgetting.tasks import Batch


class Settings(Base):
    """Size and rhythm of the steps, and the layers they look at."""

    rate: Annotated[float, Field(ge=0)] = 1e-4
    """Step size (er_lr in the authors' code); 0 takes no steps."""
    every: Annotated[int, Field(gt=0)] = 1
    """Minibatches that a step is taken on together, once in as many."""
    when: Literal["before", "after"] = "before"
    """Before the first of these minibatches is trained on, or after the last."""
    layers: Annotated[int, Field(gt=0)] | None = None
    """How many hidden stages, the last ones; null: all."""
    floor: Annotated[float, Field(ge=0)] = 1e-8
    """Added to the share p inside the logarithm."""


def own_step(settings: Settings) -> OwnStep:
    """Return when the steps are taken."""
    return OwnStep(settings.every, settings.when, settings.rate)


def own_loss(
    net: Net, batch: Batch, memory: Memory, settings: Settings, *, context: Context
) -> Tensor:
    """Return minus the mean effective rank of the chosen layers."""
    *hidden, _ = net.activations(batch.inputs).values()
    chosen = hidden if settings.layers is None else hidden[-settings.layers :]
    ranks = [effective_rank(output.flatten(1), settings.floor) for output in chosen]
    return -torch.stack(ranks).mean()


def effective_rank(features: Tensor, floor: float) -> Tensor:
    """The effective rank of features (N, d), with its gradient; 1 where all are zero."""
    value, gradient = value_and_gradient(features.detach(), floor)
    linear = (features * gradient.to(features.dtype)).sum()
    return value.to(features.dtype) + linear - linear.detach()


def value_and_gradient(features: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """The effective rank of features (N, d) and dE/dF (N, d), in float64."""
    matrix = features.to(torch.float64)
    peak = matrix.abs().amax()
    scale = torch.where(peak > 0, peak, 1.0)  # E does not depend on it, and squares stay finite
    # A seed that diverged must not stop the others of its pack.
    matrix = (matrix / scale).nan_to_num(0.0, 0.0, 0.0)
    tall = matrix.shape[0] >= matrix.shape[1]
    gram = matrix.mT @ matrix if tall else matrix @ matrix.mT
    # On the CPU, which is faster at it than a GPU.
    eigenvalues, vectors = (x.to(gram.device) for x in torch.linalg.eigh(gram.cpu()))
    tolerance = max(matrix.shape) * torch.finfo(torch.float64).eps * eigenvalues[-1]
    alive = (eigenvalues > tolerance) & (eigenvalues > 0)
    sigma = torch.where(alive, eigenvalues, 1.0).sqrt()
    total = torch.where(alive, sigma, 0.0).sum()
    total = torch.where(total > 0, total, 1.0)
    share = torch.where(alive, sigma / total, 0.0)
    shifted = torch.where(alive, share + floor, 1.0)
    rank = (-(share * shifted.log()).sum()).exp()
    slope = shifted.log() + share / shifted  # the docstring's g
    slope = -(rank / total) * (slope - (share * slope).sum())
    weighted = vectors * torch.where(alive, slope / sigma, 0.0)
    gradient = matrix @ weighted @ vectors.mT if tall else weighted @ vectors.mT @ matrix
    return rank, gradient / scale
