"""Regularisation of spectral norms (Lewandowski et al. 2025, arXiv 2406.06811).

    strength * [ sum over weight matrices W of (sigma_max(W)^k - target)^2
                 + sum over biases and shifts b of ||b||^2
                 + sum over scales s of norms of ||s - 1||^2 ]

is added to the loss. Lewandowski et al. keep the largest singular value of every layer near 1
(target 1). The defaults, k = 2 and target 2, hence sigma_max near 1.19 for (sigma^2 - 2)^2, are
those of the code of Prakash et al. (2025, arXiv 2509.22335). A kernel is the matrix outputs x
(inputs * rows * columns).

sigma_max is estimated by power iteration from a start vector that stays the same through training,
so the loss is a function of the weights; in ``iterations`` steps it falls short of sigma_max as far
as the next singular values are close. With v the last iterate and u = W^T v / ||W^T v|| the
gradient is that of v^T W u with v and u held fixed, v u^T, exact where the iteration has converged.
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.strategy import Array, Arrays, Context, Gradient, Memory
from forgetting.tasks import Batch
from forgetting.weights import weight_matrices

POWERS = 8


class Settings(Base):
    """Strength and form of the regularisation."""

    strength: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the term."""
    exponent: Annotated[float, Field(gt=0)] = 2.0
    """Power k of the largest singular value."""
    target: float = 2.0
    """What its k-th power is drawn to; 1 in Lewandowski et al."""
    iterations: Annotated[int, Field(gt=0)] = 10
    """Steps of the power iteration."""


def start(net: Net, settings: Settings) -> Memory:
    """Return the start vector of every weight matrix, the same for all seeds."""
    if settings.strength == 0:
        return {}
    vectors = {}
    for name, matrix in weight_matrices(net.training, net.params).items():
        drawn = numpy_generator("spectral norm", name).standard_normal(matrix.shape[0])
        vectors[name] = torch.from_numpy(drawn).to(matrix.device, matrix.dtype)
    return {"start": vectors}


def loss(
    net: Net, batch: Batch, logits: Tensor, memory: Memory, settings: Settings, *, context: Context
) -> dict[str, Tensor]:
    """Return the term."""
    if settings.strength == 0:
        return {}
    terms = []
    for name, matrix in weight_matrices(net.training, net.params).items():
        sigma = largest_singular_value(matrix, memory["start"][name], settings.iterations)
        terms.append((sigma**settings.exponent - settings.target).square())
    for name, parameter in net.params.items():
        if _is_regularised(name, parameter):
            terms.append((parameter - _wanted(name)).square().sum())
    return {"spectral_norm": settings.strength * torch.stack(terms).sum()}


def loss_gradient(
    params: Arrays, memory: Memory, settings: Settings
) -> tuple[float | None, dict[str, Gradient]]:
    """Return the term and its gradient, written out; see the module's docstring."""
    if settings.strength == 0:
        return None, {}
    total, gradients = np.float64(0.0), dict[str, Gradient]()
    for layer, start in memory["start"].items():
        name = f"stages.{layer}.weight"
        matrix = params[name].reshape(len(start), -1)
        left, right = _singular_vectors(matrix, start, settings.iterations)
        # numpy's numbers, other than Python's, become infinite where a run diverges.
        sigma = np.float64(left.dot(matrix.dot(right)))
        power = settings.exponent
        missing = sigma**power - settings.target
        total += missing**2
        left *= 2 * settings.strength * power * missing * sigma ** (power - 1)
        gradients[name] = (left, right)
    for name, parameter in params.items():
        if _is_regularised(name, parameter):
            missing_vector = parameter - _wanted(name)
            total += missing_vector.dot(missing_vector)
            missing_vector *= 2 * settings.strength
            gradients[name] = missing_vector
    return float(settings.strength * total), gradients


def largest_singular_value(matrix: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Estimate the largest singular value of a matrix (m, n) from a vector (m,)."""
    left, right = singular_vectors(matrix.detach(), start, iterations)
    return left @ matrix @ right


def singular_vectors(matrix: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Estimate the first singular vectors (m,) and (n,) of a matrix (m, n) from a vector (m,)."""
    # With a Frobenius norm of 1 sigma_max is at least 1 / sqrt(rank): a few powers of it stay in
    # range, and the iterate need not be made a unit vector in every step.
    fixed = _unit(matrix)
    turned, v = fixed.mT, start
    for done in range(1, iterations + 1):
        v = torch.mv(fixed, torch.mv(turned, v))
        if done % POWERS == 0:
            v = _unit(v)
    v = _unit(v)
    return v, _unit(torch.mv(turned, v))


def _singular_vectors(matrix: Array, start: Array, iterations: int) -> tuple[Array, Array]:
    """Do the same in numpy, where calls cost less: half of the time of four small matrices."""
    turned, v = matrix.T, start
    shrink = matrix.dtype.type(_inverse_norm(matrix) ** 2)
    for done in range(1, iterations + 1):
        v = matrix.dot(turned.dot(v))
        v *= shrink
        if done % POWERS == 0:
            v *= _inverse_norm(v)
    v *= _inverse_norm(v)
    right = turned.dot(v)
    right *= _inverse_norm(right)
    return v, right


def _inverse_norm(values: Array) -> float:
    flat = values.reshape(-1)
    # The inverse of a norm of zero can still be squared.
    return 1 / max(math.sqrt(flat.dot(flat)), math.sqrt(np.finfo(values.dtype).tiny))


def _is_regularised(name: str, parameter: Tensor | Array) -> bool:
    """Whether it is a bias, a shift or a scale; a policy's standard deviations are none."""
    return parameter.ndim == 1 and name.endswith((".weight", ".bias"))


def _wanted(name: str) -> float:
    """What a vector of parameters is drawn to: 1 if scales of a norm, else 0."""
    return 1.0 if name.endswith(".weight") else 0.0


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
