"""Joint training on all tasks seen so far: the ceiling for every other strategy.

After task t the network is the one trained on tasks 1 to t together, the reference that
Chaudhry et al. (2018, arXiv 1801.10112, section 3) define intransigence against.
"""

from typing import Literal

from forgetting.settings import Settings as Base
from forgetting.strategy import Phase


class Settings(Base):
    """When and from where the joint network is trained."""

    when: Literal["every_task", "once"] = "every_task"
    """After every task on the tasks so far, or once on all tasks together."""
    from_scratch: bool = True
    """Whether each joint training starts from the initial weights."""


def phases(tasks: int, settings: Settings) -> list[Phase]:
    """Return one phase for every task, or the last one only."""
    rows = [tasks] if settings.when == "once" else range(1, tasks + 1)
    return [Phase(t, tuple(range(1, t + 1)), fresh=settings.from_scratch) for t in rows]
