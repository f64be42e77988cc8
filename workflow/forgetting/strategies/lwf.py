"""Learning without forgetting (Li & Hoiem 2016, arXiv 1606.09282).

Before each new task the network is copied; while training, the copy's softmax over the outputs
of earlier tasks, on the new task's images, is a soft target for the network:

    L = L_task + alpha * sum over groups of KL(softmax(y_old / T) || softmax(y / T)) [* T^2]

A group is the head of one earlier task (task-incremental: Li & Hoiem sum over old tasks), or
all outputs seen before (one shared head). The KL term differs from their cross-entropy by the
teacher's entropy, which has no gradient; its value is what the history records. The factor T^2
(Hinton et al. 2015, arXiv 1503.02531, section 2) keeps the gradient's size when T changes;
public codes mostly leave it out, so it is a flag.

The teacher is in eval mode and sees exactly the images that the network sees.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from forgetting import perceptron
from forgetting.ensemble import Net, Tensors
from forgetting.settings import Settings as Base
from forgetting.strategy import Context, Memory
from forgetting.tasks import Batch

LABELS = True  # needs labelled images


class Settings(Base):
    """Strength and shape of the distillation."""

    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the distillation term (lambda in the paper)."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Temperature T of both softmaxes."""
    t_squared: bool = False
    """Whether the term is multiplied by T squared."""


def start(net: Net, settings: Settings) -> Memory:
    """Keep a teacher from the start, so that the memory's shape never changes."""
    return {"teacher": net.tensors()}


def before_task(
    net: Net, memory: Memory, settings: Settings, *, task: int, context: Context
) -> Memory:
    """Take the network as it is as the teacher of the coming task."""
    return {"teacher": net.tensors()}


def loss(
    net: Net,
    batch: Batch,
    logits: Tensor,
    memory: Memory,
    settings: Settings,
    *,
    context: Context,
) -> dict[str, Tensor]:
    """Return the distillation term, mean over the batch; none before the second task."""
    if settings.alpha == 0 or context.old_groups.shape[0] == 0:
        return {}
    with torch.no_grad():
        soft_targets = _logits(net, memory["teacher"], batch.inputs)
    divergence = distillation(logits, soft_targets, context.old_groups, settings.temperature)
    scale = settings.alpha * (settings.temperature**2 if settings.t_squared else 1.0)
    return {"distillation": scale * divergence}


def _logits(net: Net, teacher: Tensors, inputs: Tensor) -> Tensor:
    """Return the teacher's logits (B, K)."""
    layers = perceptron.layers_of(net.training, teacher)
    if layers is None:
        return net.using(teacher)(inputs)
    return perceptron.forward(layers, inputs.flatten(1))[-1]  # without a module's overhead


def distillation(student: Tensor, teacher: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """Return the mean over B samples of the sum over groups of KL(teacher || student).

    ``student`` and ``teacher`` are logits (B, K), ``groups`` (G, K) bool.
    """

    def log_softmax(logits: Tensor) -> Tensor:
        # Written out because kl_div has no fast rule under vmap; a finite floor instead of -inf
        # keeps 0 * log 0 out of the sum.
        masked = (logits[:, None] / temperature).masked_fill(~groups, -1e9)
        return masked.log_softmax(dim=-1)

    log_p, log_q = log_softmax(teacher), log_softmax(student)
    return (log_p.exp() * (log_p - log_q)).sum(dim=(1, 2)).mean()
