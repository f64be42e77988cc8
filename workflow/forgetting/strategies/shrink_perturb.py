"""Shrink and perturb: weights made smaller, and noise added, to stay trainable.

``when: task_start`` is Ash & Adams (2020, arXiv 1910.08475, section 4): before every task but the
first

    theta <- shrink theta + noise theta_new,

theta_new the parameters of a newly initialised network, drawn for the task. (They write Gaussian
noise and sample it so, since initial weights differ in scale from layer to layer.) With
``perturbation: gaussian`` it is N(0, noise^2) as they write it, in place of noise theta_new.

``when: every_step`` is the use of Dohare et al. (2024, Nature 632, 768) and of Prakash et al.
(2025): after every step of the optimiser

    theta <- shrink theta + N(0, noise^2).

They shrink by L2 regularisation: leave shrink at 1 and add the part ``l2``. All parameters take
part; in Dohare et al.'s code there are none but weights and biases, Prakash et al. have versions
with and without norms. Running statistics of batch norm stay.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from forgetting.ensemble import Net, Tensors
from forgetting.settings import Settings as Base
from forgetting.strategy import Memory


class Settings(Base):
    """How much the weights are shrunk and perturbed, and when."""

    when: Literal["every_step", "task_start"] = "every_step"
    """After every step, or before every task but the first."""
    perturbation: Literal["gaussian", "fresh"] | None = None
    """What is added: Gaussian noise, or freshly initialised weights; default: Gaussian noise after
    a step, fresh weights before a task."""
    shrink: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor of the weights."""
    noise: Annotated[float, Field(ge=0)] = 1e-5
    """Standard deviation of the Gaussian noise, or factor of the fresh weights."""

    @model_validator(mode="after")
    def _fresh_before_a_task(self) -> "Settings":
        if self.when == "every_step" and self.perturbation == "fresh":
            raise ValueError(
                "perturbation: fresh is for when: task_start; after every step it is gaussian"
            )
        return self


def before_task(
    net: Net, memory: Memory, settings: Settings, *, task: int, fresh: Tensors, normal: Tensors
) -> Memory:
    """Shrink and perturb where a new task begins."""
    if settings.when == "task_start" and task > 1:
        _apply(net, settings, normal if settings.perturbation == "gaussian" else fresh)
    return memory


def draw(settings: Settings, *, params: Tensors, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw a standard normal number for every parameter."""
    if settings.when == "task_start" or settings.noise == 0:
        return {}
    return {
        name: torch.randn(p.shape, dtype=p.dtype, device=p.device, generator=generator)
        for name, p in params.items()
    }


def after_step(net: Net, memory: Memory, settings: Settings, *, drawn: Tensors) -> Memory:
    """Shrink and perturb after a step."""
    if settings.when == "every_step":
        _apply(net, settings, drawn)
    return memory


def _apply(net: Net, settings: Settings, noise: Tensors) -> None:
    for name, parameter in net.params.items():
        if settings.shrink != 1:
            parameter.mul_(settings.shrink)
        if settings.noise:
            parameter.add_(noise[name], alpha=settings.noise)
