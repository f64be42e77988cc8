"""Reset: every task is trained from newly initialised weights, with a fresh optimiser.

What a network that kept nothing of earlier tasks would reach. In Prakash et al. (2025, arXiv
2509.22335) RESET draws new weights for each task (``weights: new``); ``same`` starts every task
from those that the first started from.
"""

from typing import Literal

from forgetting.ensemble import Net, Tensors
from forgetting.settings import Settings as Base
from forgetting.strategy import Memory, Phase


class Settings(Base):
    """Where a task starts from."""

    weights: Literal["new", "same"] = "new"
    """Initial weights drawn for the task, or the first task's."""


def phases(tasks: int, settings: Settings) -> list[Phase]:
    """Return one phase for every task; each starts from the initial weights."""
    return [Phase(task, (task,), fresh=True) for task in range(1, tasks + 1)]


def before_task(
    net: Net, memory: Memory, settings: Settings, *, task: int, fresh: Tensors
) -> Memory:
    """Put the task's own initial weights in their place; the first task has the run's."""
    if settings.weights == "new" and task > 1:
        for name, tensor in (*net.params.items(), *net.buffers.items()):
            tensor.copy_(fresh[name])
    return memory
