"""Freezing from below (Ramasesh, Dyer & Raghu 2021, arXiv 2007.07400).

From the second task on the first stages of the network keep the weights that the first task left
them with; only the stages above are trained. How little the second task's accuracy suffers says
how far the lower layers serve it as they are.

The paper freezes contiguous blocks of layers from the input up; a stage is the unit here, and
stages without parameters do not count. What it does with the running statistics of batch norm is
not stated: by default they stay too, so that frozen stages are the same function after the second
task as before it.
"""

from typing import Annotated

from pydantic import Field

from forgetting.ensemble import Frozen
from forgetting.errors import UserError
from forgetting.settings import Settings as Base


class Settings(Base):
    """How much is frozen."""

    stages: Annotated[int, Field(ge=0)] = 1
    """Number of stages frozen, counted from the input, of those with parameters; 0: none."""
    statistics: bool = True
    """Whether batch norm of the frozen stages runs on its stored statistics, which then stay."""


def frozen(settings: Settings, *, stages: list[str], task: int) -> Frozen:
    """Return the first stages from the second task on, and nothing before.

    Raises:
        UserError: Nothing would be left to train.
    """
    if settings.stages >= len(stages):
        raise UserError(
            f"strategy freeze: found stages: {settings.stages}, but the network has "
            f"{len(stages)} stages with parameters ({', '.join(stages)}), of which the head at "
            f"least is trained; set stages between 0 and {len(stages) - 1}"
        )
    held = stages[: settings.stages] if task > 1 else []
    return Frozen(tuple(held), settings.statistics)
