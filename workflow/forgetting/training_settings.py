"""Settings that every kind of training has; no torch, as studies are checked without it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from forgetting.settings import Settings


class Every(Settings):
    """A schedule over tasks."""

    every: Annotated[int, Field(ge=1)]
    """After every so many tasks, and before the first."""


class Optimisation(Settings):
    """The optimiser, and the moments at which weights are kept."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """Stochastic gradient descent or Adam."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Step size."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of sgd (heavy ball); adam ignores it."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of adam's moments; sgd ignores them."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 coefficient, added to the gradient as torch.optim does."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """New samples in a batch; the last batch of an epoch may be smaller."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Passes over each task's training images, or over what each rollout collected."""
    reset_optimizer: bool = True
    """Whether each task starts with a fresh optimiser state."""
    checkpoints: Literal["all"] | tuple[int, ...] | Every = "all"
    """Tasks after which the weights are kept (0: before training)."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and inputs."""
    bfloat16: bool = False
    """Whether convolutions and matrix products of the training steps are in bfloat16: several
    times as fast where the hardware has it. Weights, sums, losses and the optimiser stay in
    float32, and so does all that is measured."""

    @model_validator(mode="after")
    def _not_half_of_double(self) -> Self:
        if self.bfloat16 and self.dtype == "float64":
            raise ValueError("bfloat16: true goes with dtype: float32; take one of the two back")
        return self
