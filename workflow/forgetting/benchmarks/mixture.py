"""Two tasks whose likeness is set by a dial: the second is mixed with inputs like the first's.

Ramasesh et al. (2021, arXiv 2007.07400, the figure on mixing) train one task, then a second whose
data hold a fixed share of inputs like the first task's, and find forgetting worst at a share of
0.1 to 0.2. The mixed-in inputs carry labels of the *second* task, class by class (the i-th class
of the first task is shown as the i-th of the second), so the dial is similarity, not replay.

Whether the paper mixes samples or pixels is not known to us, so there are both: ``samples`` takes
a share of the second task's images from the first task's classes; ``pixels`` shows every image of
the second task as (1 - share) of itself and the share of an image of the paired class. Test
images of the second task are mixed in the same way. Each task has a head of its own.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.benchmarks._relabelled import Relabelled, outputs_of
from forgetting.benchmarks._relabelled import build as of_classes
from forgetting.datasets import Dataset
from forgetting.errors import UserError
from forgetting.randomness import numpy_generator
from forgetting.settings import Settings as Base
from forgetting.tasks import ImageBenchmark, Task


class Settings(Base):
    """The two tasks and the dial."""

    first: Annotated[list[str], Field(min_length=2)]
    """Classes of the first task."""
    second: Annotated[list[str], Field(min_length=2)]
    """Classes of the second task, as many."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of task-1-like input in the second task."""
    mix: Literal["samples", "pixels"] = "samples"
    """Whether a share of the images, or a share of every image, is like the first task's."""


@dataclass(frozen=True)
class Blended(Relabelled):
    """In task 2 every image is seen through another one, its partner."""

    partners: Tensor = field(kw_only=True)
    """(S, N) int64: the pool index of each image's partner."""
    share: float = field(kw_only=True)
    """The partner's share of what is seen."""

    def alone(self, seed: int) -> "Blended":
        """Return the benchmark of one seed (by position in the pack), sharing the pool."""
        single = super().alone(seed)
        assert isinstance(single, Blended)
        return replace(single, partners=self.partners[seed : seed + 1])

    def fetch(self, indices: Tensor, tasks: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return inputs (S, B, C, H, W) and targets (S, B) of samples drawn in their tasks."""
        inputs, targets = super().fetch(indices, tasks)
        second = tasks == 2
        if isinstance(second, bool):
            if not second:
                return inputs, targets
            share: Tensor | float = self.share
        else:
            share = (self.share * second.to(inputs.dtype))[..., None, None, None]
        # Normalising is affine and the shares add up to one, so blending after it is the same.
        partners = self.pool.inputs(self.partners.gather(1, indices))
        return inputs + share * (partners - inputs), targets


def build(
    datasets: list[Dataset],
    settings: Settings,
    *,
    name: str,
    seeds: list[int],
    device: torch.device,
    dtype: torch.dtype,
) -> ImageBenchmark:
    """Return the two tasks for each seed; larger shares keep the images that smaller ones mix in.

    Draws do not depend on the benchmark's name, so the rungs of a ladder over the share differ in
    the share alone.
    """
    (dataset,) = datasets
    key = f"benchmarks.{name}.settings"
    first = outputs_of(dataset, settings.first, key=f"{key}.first")
    second = outputs_of(dataset, settings.second, key=f"{key}.second")
    taken = {number for numbers in first.values() for number in numbers}
    overlap = any(taken.intersection(numbers) for numbers in second.values())
    if len(first) != len(second) or overlap:
        raise UserError(f"{key}.second: give {len(first)} classes that are not among the first")
    pure = of_classes(
        dataset, [[first, second]] * len(seeds), shared=False, device=device, dtype=dtype
    )
    labels, cut = pure.pool.labels.cpu().numpy(), len(dataset.train_images)
    table = pure.table.clone()
    for mine, others in zip(second.values(), first.values(), strict=True):
        table[:, 1, list(others)] = int(table[0, 1, mine[0]])
    pairs = list(zip(first.values(), second.values(), strict=True))
    sequences, partners = [], np.tile(np.arange(len(labels)), (len(seeds), 1))
    for position, (seed, sequence) in enumerate(zip(seeds, pure.sequences, strict=True)):
        parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
        for number, (others, mine) in enumerate(pairs):
            for part, chosen in parts.items():
                inside = (np.arange(len(labels)) < cut) == (part == "train")
                own, like = (np.flatnonzero(inside & np.isin(labels, c)) for c in (mine, others))
                generator = numpy_generator("mixture", seed, part, number)
                own, like = generator.permutation(own), generator.permutation(like)
                partners[position, own] = np.resize(like, len(own))
                replaced = round(settings.share * len(own))
                if replaced > len(like) and settings.mix == "samples":
                    raise UserError(
                        f"{key}.share: {replaced} images like the first task's are needed and "
                        f"class {settings.first[number]} has {len(like)}"
                    )
                mixed = [own[replaced:], like[:replaced]]
                chosen += mixed if settings.mix == "samples" else [own]
        train, test = (np.sort(np.concatenate(chosen)) for chosen in parts.values())
        sequences.append([sequence[0], Task(train, test, sequence[1].outputs)])
    shown = replace(pure, sequences=sequences, table=table)
    if settings.mix == "samples":
        return shown
    given = {name: getattr(shown, name) for name in shown.__dataclass_fields__ if name[0] != "_"}
    return Blended(**given, partners=torch.from_numpy(partners).to(device), share=settings.share)
