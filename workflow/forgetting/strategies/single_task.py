"""One task of the sequence trained alone, from the initial weights.

The reference that a network after two tasks is compared with: what the second task's images alone
make of the same initial weights (Ramasesh, Dyer & Raghu 2021, arXiv 2007.07400, section 4.3). The
accuracy matrix has row 0 and this task's row, no other.
"""

from typing import Annotated

from pydantic import Field

from forgetting.errors import UserError
from forgetting.settings import Settings as Base
from forgetting.strategy import Phase


class Settings(Base):
    """Which task is trained."""

    task: Annotated[int, Field(gt=0)] = 2
    """Number of the task, from 1."""


def phases(tasks: int, settings: Settings) -> list[Phase]:
    """Return the one phase.

    Raises:
        UserError: The benchmark has no such task.
    """
    if settings.task > tasks:
        raise UserError(
            f"strategy single_task: found task: {settings.task}, but the benchmark has only "
            f"{tasks} tasks; set task between 1 and {tasks}"
        )
    return [Phase(settings.task, (settings.task,), fresh=True)]
