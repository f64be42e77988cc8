"""Synaptic intelligence (Zenke, Poole & Ganguli 2017, arXiv 1703.04200, section 3).

Every parameter collects what it contributed to the decrease of the loss along the trajectory, the
path integral of the gradient (equation 3),

    omega_i <- omega_i - g_i (theta_i after the step - theta_i before it),

with the *actual* displacement, so momentum, weight decay and adam are accounted for. After task t
it is divided by the squared distance that the parameter went in the task, from theta_t-1 to
theta_t, and added to the importances; omega starts at zero again (equation 5):

    Omega_i <- Omega_i + max(omega_i, 0) / ((theta_t,i - theta_t-1,i)^2 + xi).

While the next task is trained, the penalty (equation 4; one anchor, the last task's weights)

    L = L_task + c sum over i of Omega_i (theta_i - theta_t,i)^2

holds the important parameters; there is no factor 1/2. (Gradient descent with step r and momentum m
is stable on it only while r 2 c max Omega < 2 (1 + m).) The gradient g is that of the loss on the
task alone, as in the paper and the authors' code (several later codes take that of the whole
loss): since after a step only the latter is at hand, the penalty's own gradient, 2 c Omega (theta -
theta_t) at the weights before the step, is taken off again. Neither has the optimiser's weight
decay in it; with another strategy as a further part, both have that one's terms. The maximum with 0
stands in the authors' code alone (there, of the sum over tasks), not in the paper.

In the first task nothing is added to the loss: it is plain training.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting.ensemble import Net, Tensors
from forgetting.settings import Settings as Base
from forgetting.strategy import Context, Memory
from forgetting.tasks import Batch

# The path integral is taken along the training itself.
GATHERS_WHILE_TRAINING = True
LABELS = True  # that there were earlier tasks is told by their outputs


class Settings(Base):
    """Strength of the penalty, and how importances are computed."""

    strength: Annotated[float, Field(ge=0)] = 1.0
    """Weight c of the penalty."""
    half: bool = False
    """Whether the penalty is c/2 times the sum instead of c times it (the paper)."""
    damping: Annotated[float, Field(gt=0)] = 0.1
    """The term xi, which bounds the importance of a parameter that hardly moved."""
    nonnegative: bool = True
    """Whether a path integral below zero, of a parameter that raised the loss, counts as zero."""
    gradient: Literal["task", "total"] = "task"
    """Which gradient enters the path integral: of the loss without or with the penalty."""


def start(net: Net, settings: Settings) -> Memory:
    """Return zero importances and path integrals; the initial weights are where task 1 starts."""
    if settings.strength == 0:
        return {}
    zeros = {name: torch.zeros_like(p, requires_grad=False) for name, p in net.params.items()}
    return {
        "path": zeros,
        "importance": {name: zero.clone() for name, zero in zeros.items()},
        "anchor": {name: p.detach().clone() for name, p in net.params.items()},
    }


def loss(
    net: Net, batch: Batch, logits: Tensor, memory: Memory, settings: Settings, *, context: Context
) -> dict[str, Tensor]:
    """Return the penalty; none before the second task."""
    if settings.strength == 0 or context.old_groups.shape[0] == 0:
        return {}
    distances = [
        (importance * (net.params[name] - memory["anchor"][name]).square()).sum()
        for name, importance in memory["importance"].items()
    ]
    return {"si": _factor(settings) * torch.stack(distances).sum()}


def after_step(
    net: Net, memory: Memory, settings: Settings, *, before: Tensors, gradients: Tensors
) -> Memory:
    """Add the step to the path integral; parameters without a gradient did not move."""
    if settings.strength == 0:
        return memory
    path = dict(memory["path"])
    for name, gradient in gradients.items():
        if settings.gradient == "task":
            away = before[name] - memory["anchor"][name]
            gradient = gradient - 2 * _factor(settings) * memory["importance"][name] * away
        path[name] = path[name] - gradient * (net.params[name] - before[name])
    return {**memory, "path": path}


def after_task(
    net: Net, memory: Memory, settings: Settings, *, task: int, context: Context
) -> Memory:
    """Add the task's importances; from here the next task starts."""
    if settings.strength == 0:
        return memory
    weights = {name: p.detach().clone() for name, p in net.params.items()}
    importance = {}
    for name, path in memory["path"].items():
        gained = path.clamp(min=0) if settings.nonnegative else path
        moved = weights[name] - memory["anchor"][name]
        importance[name] = memory["importance"][name] + gained / (moved.square() + settings.damping)
    return {
        "path": {name: torch.zeros_like(path) for name, path in memory["path"].items()},
        "importance": importance,
        "anchor": weights,
    }


def _factor(settings: Settings) -> float:
    return settings.strength / 2 if settings.half else settings.strength
