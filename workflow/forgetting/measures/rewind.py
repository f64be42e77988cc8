"""Rewinding: stages of the network after task 2 are put back to where they were after task 1.

If forgetting comes from changes in the stages near the output, then resetting those few stages
brings task 1 back, and resetting as many near the input does not (Ramasesh et al. 2020, arXiv
2007.07400). For N = 0, 1, ... all stages, the N topmost (``top-down``) or lowest
(``bottom-up``) ones are reset, and the accuracy on task 1 is taken on all of its test images.

Stages are those with parameters; pooling between them counts for nothing. Whether the paper
resets batch norm's running statistics, and what becomes of the head, is not known: both are
settings. With a head for each task, task 1 is asked through its own head, which is no part of the
network that task 2 goes through, so that head is back in place in every rewind. With a
shared head it is the topmost stage, and then N = 0 is the network after task 2 and N = all the
one after task 1.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import torch
from torch import Tensor

from forgetting.devices import forward_batch
from forgetting.measures._two_tasks import networks, survivors
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import HEAD, Stages

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "direction": "str",
    "stages_reset": "int64",
    "metric": "str",
    "images": "int64",
}


class Settings(BaseSettings):
    """What goes back with a stage."""

    statistics: bool = True
    """Whether batch norm's running statistics go back with the stage's parameters."""
    head: Literal["stage", "always"] | None = None
    """Whether the head is the topmost stage, or is back in place in every rewind; null: always
    with a head for each task, else a stage."""
    metric: Literal["task_masked", "class_incremental"] | None = None
    """Outputs that compete: those of task 1, or of tasks 1 and 2; null: of task 1 with a head for
    each task, else of both."""


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Accuracy on task 1 after each rewind, for every seed.

    Columns: seed, task (2), layer (the stage reset last; "" where none is), statistic
    (``accuracy_task1``), value, direction (``top-down``, ``bottom-up``), stages_reset (N),
    metric (outputs that compete, as in ``forgetting.evaluation``), images. A seed that diverged
    by the end of task 2 has no rows.
    """
    own_heads = run.benchmark.mask == "task"
    head = settings.head or ("always" if own_heads else "stage")
    metric = settings.metric or ("task_masked" if own_heads else "class_incremental")
    alive = survivors(run)
    before, after = (networks(run, task, alive) for task in (1, 2))
    rows: list[dict[str, Any]] = []
    for index in alive:
        old, new = before[index], after[index]
        if not settings.statistics:
            for name, buffer in old.named_buffers():
                buffer.copy_(new.get_buffer(name))
        if head == "always":
            new.stages[HEAD] = old.stages[HEAD]
        stages = counted(old, head=head == "stage")
        hits, images = _hits(run, index, (old, new), stages, metric)
        for direction, of_direction in hits.items():
            for number, found in enumerate(of_direction):
                last = stages[number - 1] if direction == "bottom-up" else stages[-number]
                rows.append(
                    {
                        "seed": run.seeds[index],
                        "task": 2,
                        "layer": last if number else "",
                        "statistic": "accuracy_task1",
                        "value": found / images,
                        "direction": direction,
                        "stages_reset": number,
                        "metric": metric,
                        "images": images,
                    }
                )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def counted(network: Stages, *, head: bool) -> list[str]:
    """The stages that are reset one after the other, input first: those with parameters."""
    return [
        name
        for name, stage in network.stages.items()
        if (head or name != HEAD) and any(True for _ in stage.parameters())
    ]


@torch.no_grad()
def _hits(
    run: "RunView", index: int, pair: tuple[Stages, Stages], stages: list[str], metric: str
) -> tuple[dict[str, list[int]], int]:
    """How many test images of task 1 are right, by direction and number of stages reset; of how
    many.
    """
    old, new = pair
    benchmark = run.benchmark.alone(index)
    masked = metric == "task_masked"
    (among,) = benchmark.outputs_of(1) if masked else benchmark.outputs_until(2)
    places = [old.stage_names.index(name) + 1 for name in stages]
    indices = torch.from_numpy(benchmark.test_indices(1)).to(run.device)
    found = []
    for batch in indices.split(forward_batch(run.device), dim=1):
        inputs, targets = benchmark.fetch(batch, 1)
        found.append(
            [
                (logits.masked_fill(~among, -torch.inf).argmax(1) == targets[0]).sum()
                for lower, upper in ((old, new), (new, old))
                for logits in crossed(lower, upper, inputs[0], places)
            ]
        )
    counts = torch.tensor(found).sum(0).tolist()
    bottom, top = counts[: len(places)], counts[len(places) :]
    # Either direction ends where the other one starts: with one network alone.
    return {"top-down": [*top[::-1], bottom[-1]], "bottom-up": [top[-1], *bottom]}, len(indices[0])


def crossed(
    lower: Stages, upper: Stages, images: Tensor, places: Sequence[int]
) -> Iterator[Tensor]:
    """Logits of the first s stages of one network and the rest of another, for s in ``places``.

    The places ascend; what the lower stages put out is carried from one to the next.
    """
    below, above = list(lower.stages.values()), list(upper.stages.values())
    done = 0
    for place in places:
        for stage in below[done:place]:
            images = stage(images)
        done, logits = place, images
        for stage in above[place:]:
            logits = stage(logits)
        yield logits
