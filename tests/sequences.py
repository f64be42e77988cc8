"""Tables of long sequences of tasks, with the performance that was asked for."""

import pandas as pd


def tables(curves, *, benchmark="permuted-mnist", stop_after=None):
    """``runs`` and ``performance`` from strategy -> seed -> performance on each task.

    ``stop_after`` maps (strategy, seed) to the last task that the run has.
    """
    runs, performance = [], []
    for strategy, seeds in curves.items():
        for seed, values in seeds.items():
            run = {"benchmark": benchmark, "architecture": "mlp", "strategy": strategy}
            run["seed"] = seed
            runs.append({**run, "tasks": len(values), "status": "finished"})
            last = (stop_after or {}).get((strategy, seed), len(values))
            for task, value in enumerate(values[:last], start=1):
                performance.append({**run, "task": task, "metric": "online", "value": value})
    frame = pd.DataFrame(performance).sample(frac=1, random_state=1)
    return {"runs": pd.DataFrame(runs), "performance": frame}
