"""Experience replay with a reservoir buffer (Chaudhry et al. 2019, arXiv 1902.10486).

Every batch of new samples is joined by a batch drawn from the buffer, and one cross-entropy runs
over both (the mean over all of them). The buffer is a uniform sample of the stream by reservoir
sampling (Vitter 1985, algorithm R): the n-th sample of the stream takes a random place with
probability ``buffer / n``. A sample enters the stream once, the first time that it is trained
on, however many epochs a task has.

How much is replayed is said as a number or as a share f of the whole batch: f/(1-f) samples for
every new one. What is drawn from is the buffer as it stands, samples of the task at hand among
it, or the buffer as it stood when the task began, which holds earlier tasks only; then nothing is
replayed in the first task, which is plain training.

Images are resident on the device, so the buffer holds their indices and their tasks; replaying
an index replays the very image. Draws happen on the host, from the run's own generator.
"""

from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from forgetting.settings import Settings as Base
from forgetting.strategy import Memory

# The buffer is a sample of the stream as it was trained on.
GATHERS_WHILE_TRAINING = True


class Settings(Base):
    """Sizes of the buffer and of the replayed batch."""

    buffer: Annotated[int, Field(ge=0)] = 2000
    """Number of samples that the buffer holds at most; 0 turns replay off."""
    replay: Annotated[int, Field(ge=0)] | None = None
    """Samples replayed with each batch; null: as many as the batch has new ones."""
    fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of a batch's samples that is replayed, in place of ``replay``."""
    replay_from: Literal["stream", "earlier_tasks"] = "stream"
    """The buffer as it stands, or as it stood when the task at hand began."""

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if self.replay is not None and self.fraction is not None:
            raise ValueError("replay and fraction say the same thing: give one of them")
        return self


def start_plan(settings: Settings) -> Memory:
    """Return an empty buffer: indices and tasks of the samples, and the length of the stream."""
    memory: Memory = {
        "indices": torch.zeros(settings.buffer, dtype=torch.int64),
        "tasks": torch.zeros(settings.buffer, dtype=torch.int64),
        "seen": torch.zeros((), dtype=torch.int64),
    }
    if settings.replay_from == "earlier_tasks":
        memory |= {
            "task": torch.zeros((), dtype=torch.int64),
            "earlier": {name: tensor.clone() for name, tensor in memory.items()},
        }
    return memory


def plan(
    memory: Memory,
    settings: Settings,
    *,
    indices: np.ndarray,
    task: int,
    first_pass: bool,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the replayed samples, without replacement, and then let the new ones enter."""
    source = memory
    if settings.replay_from == "earlier_tasks":
        if task != int(memory["task"]):
            memory["task"].fill_(task)
            memory["earlier"] = {n: memory[n].clone() for n in ("indices", "tasks", "seen")}
        source = memory["earlier"]
    stored, tasks = source["indices"].numpy(), source["tasks"].numpy()
    filled = min(int(source["seen"]), settings.buffer)
    wanted = replayed(settings, len(indices))
    places = generator.choice(filled, size=min(wanted, filled), replace=False)
    chosen = stored[places], tasks[places]
    if first_pass and settings.buffer:
        enter(memory, indices, task, generator)
    return chosen


def replayed(settings: Settings, new: int) -> int:
    """Return the number of samples wanted from the buffer for a batch with ``new`` new ones."""
    if settings.fraction is not None:
        return round(settings.fraction / (1 - settings.fraction) * new)
    return new if settings.replay is None else settings.replay


def enter(memory: Memory, indices: np.ndarray, task: int, generator: np.random.Generator) -> None:
    """Let samples of the stream enter the buffer one after the other (Vitter's algorithm R)."""
    stored, tasks = memory["indices"].numpy(), memory["tasks"].numpy()
    capacity, seen = len(stored), int(memory["seen"])
    positions = np.arange(seen, seen + len(indices))
    places = np.where(
        positions < capacity, positions, generator.integers(0, positions + 1, dtype=np.int64)
    )
    # Later samples overwrite earlier ones at the same place, as they would one at a time.
    kept = places < capacity
    stored[places[kept]] = indices[kept]
    tasks[places[kept]] = task
    memory["seen"] += len(indices)
