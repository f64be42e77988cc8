"""Accuracy of every task, under the two readings that the literature mixes.

``task_masked``: the task is known, the prediction is the largest logit among the task's own
outputs (task-incremental accuracy). ``class_incremental``: the prediction is the largest logit
among the outputs of all tasks up to the present one (and up to the task itself, where it still
lies ahead). A network can keep the first and lose the second entirely, so both are stored.
"""

from collections.abc import Iterable

import torch

from forgetting.devices import forward_batch
from forgetting.ensemble import Ensemble
from forgetting.tasks import ImageBenchmark


def accuracies(
    ensemble: Ensemble, benchmark: ImageBenchmark, after: int, tasks: Iterable[int]
) -> list[tuple[int, str, list[float]]]:
    """Return (task, metric, accuracies of the seeds) of the networks as they are, in eval mode.

    ``after`` is the number of the task trained last, 0 before training.
    """
    rows, hits = [], []
    for task in tasks:
        indices = torch.from_numpy(benchmark.test_indices(task)).to(benchmark.pool.images.device)
        outputs = {
            "task_masked": benchmark.outputs_of(task),
            "class_incremental": benchmark.outputs_until(max(after, task)),
        }
        found: dict[str, list[torch.Tensor]] = {metric: [] for metric in outputs}
        for batch in indices.split(forward_batch(indices.device), dim=1):
            inputs, targets = benchmark.fetch(batch, task)
            logits = ensemble.spread(ensemble.predict(ensemble.gather(inputs)))
            for metric, among in outputs.items():
                chosen = logits.masked_fill(~among[:, None], -torch.inf).argmax(dim=-1)
                found[metric].append((chosen == targets).sum(dim=1))
        for metric, counts in found.items():
            rows.append((task, metric))
            hits.append(torch.stack(counts).sum(dim=0).double() / indices.shape[1])
    # One transfer for all tasks.
    values = torch.stack(hits).tolist()
    return [(task, metric, value) for (task, metric), value in zip(rows, values, strict=True)]
