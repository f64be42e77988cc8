"""Accuracy on each task, and on each of its classes, at every moment whose weights were kept.

The learning curves of the anatomy study (Ramasesh et al. 2020, arXiv 2007.07400): how task 1 is
forgotten while task 2 is trained, and which of its classes. The accuracy of a class is the share
of its test images that are right; the outputs that compete are those of ``forgetting.evaluation``
in either metric. How dense the curve is depends on the training setting ``checkpoint_epochs``.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from forgetting.devices import forward_batch
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import Stages
from forgetting.tasks import ImageBenchmark

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "epoch": "float64",
    "epochs_done": "float64",
    "of_task": "int64",
    "output": "str",
    "images": "int64",
}


class Settings(BaseSettings):
    """None: all test images of all tasks are used."""


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Accuracies of every task at every kept checkpoint, for every seed.

    Columns: seed, task (the one being trained; 0: before training), layer (""), statistic
    (``task_masked``, ``class_incremental``), value, epoch (epochs trained within the task; 0 at
    its end), epochs_done (epochs since the start of task 1, as if every task had been trained:
    task 2 goes from E to 2 E), of_task, output (name of an output, its number where the data name
    none; "" for the whole task), images. A seed has no rows for the task in which it diverged, nor
    afterwards.
    """
    epochs = run.spec["training"]["epochs"]
    rows: list[dict[str, Any]] = []
    for checkpoint in run.checkpoints:
        task, within = checkpoint.task, checkpoint.epoch
        done = (task - 1) * epochs + within if within else task * epochs
        moment = {"task": task, "layer": "", "epoch": within, "epochs_done": done}
        for index, seed in enumerate(run.seeds):
            if run.alive(seed, task):
                network = run.network(index, checkpoint.name)
                benchmark = run.benchmark.alone(index)
                for row in class_accuracies(network, benchmark, after=task):
                    rows.append({"seed": seed, **moment, **row})
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return frame.sort_values(["seed", "epochs_done"], kind="stable", ignore_index=True)


@torch.no_grad()
def class_accuracies(
    network: Stages, benchmark: ImageBenchmark, *, after: int
) -> Iterator[dict[str, Any]]:
    """Rows of_task, statistic, output, value, images for one network in eval mode.

    Args:
        network: Its weights.
        benchmark: The tasks of one seed.
        after: Number of the task that is or was trained last, 0 before training.
    """
    device = benchmark.pool.images.device
    for task in range(1, benchmark.tasks + 1):
        metrics = {
            "task_masked": benchmark.outputs_of(task)[0],
            "class_incremental": benchmark.outputs_until(max(after, task))[0],
        }
        own = metrics["task_masked"].nonzero()[:, 0].tolist()
        # One row each for images and hits in either metric; one transfer to the host a task.
        counts = torch.zeros(1 + len(metrics), benchmark.outputs, dtype=torch.int64, device=device)
        indices = torch.from_numpy(benchmark.test_indices(task)).to(device)
        for batch in indices.split(forward_batch(device), dim=1):
            inputs, (targets,) = benchmark.fetch(batch, task)
            logits = network(inputs[0])
            hits = [
                logits.masked_fill(~among, -torch.inf).argmax(1) == targets
                for among in metrics.values()
            ]
            ones = torch.ones_like(targets)
            for row, values in enumerate([ones, *hits]):
                counts[row].index_add_(0, targets, values.to(torch.int64))
        images, *right = counts.tolist()
        for statistic, of_outputs in zip(metrics, right, strict=True):
            about = {"of_task": task, "statistic": statistic}
            whole = sum(of_outputs) / sum(images)
            yield {**about, "output": "", "value": whole, "images": sum(images)}
            for output in own:
                if images[output]:
                    names = benchmark.output_names or tuple(map(str, range(benchmark.outputs)))
                    value = of_outputs[output] / images[output]
                    yield {
                        **about,
                        "output": names[output],
                        "value": value,
                        "images": images[output],
                    }
