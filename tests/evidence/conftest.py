"""Small tables whose statistics can be read off."""

import pandas as pd
import pytest


@pytest.fixture
def tables():
    """Two networks, two strategies, three seeds, three tasks; seed 2 of mlp sgd diverged in task 3.

    eRank of layer a after task t is 10 + t (20 - 2 t for sgd), of layer b twice that; seeds add
    their number. Scores: accuracy 0.5 for sgd, 0.75 for lwf, a tenth more per seed in the second
    metric.
    """
    runs, erank, scores = [], [], []
    for benchmark, architecture in (("split-mnist", "mlp"), ("split-cifar100", "resnet18")):
        metric = "task_masked" if benchmark == "split-mnist" else "class_incremental"
        for strategy in ("sgd", "lwf"):
            for seed in (0, 1, 2):
                run = {
                    "benchmark": benchmark,
                    "architecture": architecture,
                    "strategy": strategy,
                    "seed": seed,
                }
                diverged = (architecture, strategy, seed) == ("mlp", "sgd", 2)
                status = "diverged" if diverged else "finished"
                facts = {"scenario_metric": metric, "tasks": 3, "status": status}
                runs.append({**run, **facts, "stand_in": False, "evidence": "reduced"})
                for task in range(3 if diverged else 4):
                    value = (20 - 2 * task if strategy == "sgd" else 10 + task) + seed
                    for layer, factor in (("a", 1), ("b", 2)):
                        erank.append(
                            {**run, "task": task, "layer": layer, "value": float(factor * value)}
                        )
                for which in ("task_masked", "class_incremental"):
                    for after in (1, 2, 3):
                        accuracy = 0.5 if strategy == "sgd" else 0.75
                        accuracy += 0.1 * seed if which == "class_incremental" else 0
                        missing = diverged and after == 3
                        point = {"metric": which, "after_task": after}
                        point["average_accuracy"] = float("nan") if missing else accuracy
                        scores.append({**run, **point})
    frames = {"runs": runs, "erank": erank, "scores": scores}
    return {name: pd.DataFrame(rows) for name, rows in frames.items()}
