"""Settings that several measures share.

Apart from ``forgetting.settings``, which training jobs import too: measuring other images trains
nothing anew. Imports no torch, because studies are checked without it.
"""

from typing import Annotated, Literal

from pydantic import Field

from forgetting.settings import Settings


class Probe(Settings):
    """The images that a network is looked at with, the same for all seeds of a data set."""

    split: Literal["train", "test"] = "test"
    """Part of the data that they are drawn from."""
    images: Annotated[int, Field(gt=0)] = 2000
    """How many; all, where there are fewer."""


class Moments(Settings):
    """At which moments of a sequence of tasks, on how many images and for which seeds."""

    tasks: Literal["kept"] | tuple[Annotated[int, Field(ge=1)], ...] = "kept"
    """Tasks looked at; kept: all for which there are weights (``training.checkpoints``)."""
    moments: Annotated[tuple[Literal["init", "end"], ...], Field(min_length=1)] = ("init", "end")
    """init: the task's images, the weights of the task before; end: after training on it."""
    images: Annotated[int, Field(gt=0)] = 2000
    """Images of each split; all, where there are fewer."""
    added: bool = False
    """Only images of the classes that a task adds, where tasks grow (the paper's CIFAR-100)."""
    seeds: Annotated[int, Field(gt=0)] | None = None
    """How many seeds of a pack, from the first; null: all."""
