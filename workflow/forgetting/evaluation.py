"""Accuracy of every task, under the two readings that the literature mixes.

``task_masked``: the task is known, the prediction is the largest logit among the task's own
outputs (task-incremental accuracy). ``class_incremental``: the prediction is the largest logit
among the outputs of all tasks up to the present one (and up to the task itself, where it still
lies ahead). A network can keep the first and lose the second entirely, so both are stored.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from forgetting.devices import forward_batch
from forgetting.ensemble import Ensemble
from forgetting.tasks import ImageBenchmark, Indices


def accuracies(
    ensemble: Ensemble, benchmark: ImageBenchmark, after: int, tasks: Iterable[int]
) -> list[tuple[int, str, list[float]]]:
    """Return (task, metric, accuracies of the seeds) of the networks as they are, in eval mode.

    ``after`` is the number of the task trained last, 0 before training.
    """
    rows, shares = [], []
    for task in tasks:
        outputs = {
            "task_masked": benchmark.outputs_of(task),
            "class_incremental": benchmark.outputs_until(max(after, task)),
        }
        found = _shares(ensemble, benchmark, task, benchmark.test_indices(task), outputs)
        rows += [(task, metric) for metric in found]
        shares += list(found.values())
    # One transfer for all tasks.
    values = torch.stack(shares).tolist()
    return [(task, metric, value) for (task, metric), value in zip(rows, values, strict=True)]


def validation_accuracy(ensemble: Ensemble, benchmark: ImageBenchmark, task: int) -> Tensor:
    """Return the class-incremental accuracy on a task's validation images, (S,) float64."""
    outputs = {"class_incremental": benchmark.outputs_until(task)}
    indices = benchmark.validation_indices(task)
    return _shares(ensemble, benchmark, task, indices, outputs)["class_incremental"]


def _shares(
    ensemble: Ensemble,
    benchmark: ImageBenchmark,
    task: int,
    indices: Indices,
    outputs: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the share of images (S, n) that each metric's outputs (S, K) tell, (S,) float64."""
    images = torch.from_numpy(indices).to(benchmark.device)
    found: dict[str, list[Tensor]] = {metric: [] for metric in outputs}
    for batch in images.split(forward_batch(images.device), dim=1):
        inputs, targets = benchmark.fetch(batch, task)
        logits = ensemble.spread(ensemble.predict(ensemble.gather(inputs)))
        for metric, among in outputs.items():
            chosen = logits.masked_fill(~among[:, None], -torch.inf).argmax(dim=-1)
            found[metric].append((chosen == targets).sum(dim=1))
    return {
        metric: torch.stack(counts).sum(dim=0).double() / images.shape[1]
        for metric, counts in found.items()
    }
