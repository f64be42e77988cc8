"""L2 regularisation: every step's gradient has strength * theta added, for all parameters.

That is the gradient of (strength / 2) ||theta||^2, and it goes through momentum and Adam's moments
as the loss's does (coupled, as torch.optim's ``weight_decay``); biases and norms decay as well.
Prakash et al. (2025, arXiv 2509.22335) and Dohare et al. (2024, Nature 632, 768) use it so.
"""

from typing import Annotated

from pydantic import Field

from forgetting.settings import Settings as Base


class Settings(Base):
    """Strength of the regularisation."""

    strength: Annotated[float, Field(ge=0)] = 1e-4
    """Coefficient of the weights in the gradient; added to the training's ``weight_decay``."""


def optimizer(settings: Settings) -> dict[str, float]:
    """Return what is added to the optimiser's settings."""
    return {"weight_decay": settings.strength}
