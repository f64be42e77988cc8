"""Tables of what runs have recorded: accuracies, the course of training, how each seed ended."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forgetting import parquet
from forgetting.results import read_json
from forgetting.tables import GROUP, ID, WHOLE, joined, with_id


def read_records(paths: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The folder and the contents of every ``run.json`` named.

    Raises:
        UserError: One is missing or damaged.
    """
    return [
        (path.parent, read_json(path, otherwise=f"start the workflow again with --forcerun {path}"))
        for path in paths
    ]


def accuracy(records: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    """Accuracy of every task after every task (``after_task`` 0 = before training)."""
    parts = [
        with_id(_frame(folder / "accuracy.parquet"), **_entry_names(record))
        for folder, record in records
    ]
    return joined(parts, keys=["metric", "after_task", "task"], name="accuracy")


def history(records: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    """What training saw, a row for each epoch: the mean over its steps of loss, accuracy and so on.

    Each step's are of its batch before the step; ``step`` is the epoch's last. Of agents an epoch
    is a rollout, and steps are the environment's, from the start of the run. A run that continues
    another has the other's rows up to where it starts.
    """
    parts = []
    for folder, record in records:
        rows = _frame(folder / "history.parquet")
        rows = rows.sort_values("step", kind="stable")
        epoch = ["seed", "task", "epoch", "statistic"]
        # A row is the mean over the steps since the row before.
        steps = rows["step"] - rows.groupby(epoch)["step"].shift(fill_value=0)
        rows = rows.assign(value=rows["value"] * steps, steps=steps)
        by_epoch = rows.groupby(epoch, as_index=False)
        sums = by_epoch[["value", "steps"]].agg("sum", skipna=False)
        ends = by_epoch["step"].agg("max")
        found = sums.assign(value=sums["value"] / sums["steps"], step=ends["step"])
        found = found[[*epoch, "step", "value"]]
        parts.append(with_id(found, **_entry_names(record)))
    return joined(parts, keys=["task", "epoch", "statistic"], name="history")


def online(records: Sequence[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    """Accuracy on the samples trained on, before each is learned from; of a task's last epoch.

    In training with one pass and one sample a step this is the online accuracy of Dohare et al.
    (2024). A task in which the seed diverged has no row.
    """
    rows = history(records)
    rows = rows[rows["statistic"] == "accuracy"]
    rows = rows[rows["epoch"] == rows.groupby([*ID, "task"])["epoch"].transform("max")]
    ends = {
        (*_entry_names(record).values(), int(seed)): about.get("task", np.inf)
        for _, record in records
        for seed, about in record["seeds"].items()
    }
    alive = [task < ends[tuple(of)] for *of, task in rows[[*ID, "task"]].itertuples(index=False)]
    return rows.loc[alive, [*ID, "task", "value"]].reset_index(drop=True)


def runs(
    records: Sequence[tuple[Path, dict[str, Any]]], about: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame:
    """One row for each seed of each run: how it began and ended, on which data and machine.

    Args:
        records: From `read_records`.
        about: For each benchmark the ``metric`` it is judged by and the ``evidence`` its results
            are; no part of a run, so that saying it otherwise trains nothing again.
    """
    rows = []
    for folder, record in records:
        datasets = record["datasets"]
        benchmark = about[_entry_names(record)["benchmark"]]
        start = record["spec"]["strategy"].get("starts_from", {})
        stand_in = any(dataset["stand_in"] for dataset in datasets)
        shared = {
            "pack": folder.name.removeprefix("seeds"),
            "datasets": "+".join(dataset["name"] for dataset in datasets),
            "stand_in": stand_in,
            "evidence": "stand-in" if stand_in else benchmark["evidence"],
            "scenario_metric": benchmark["metric"],
            "tasks": len(record["tasks"]),
            # None where tasks are not sets of labelled images.
            "classes": max(len(task.get("outputs", [[]])[0]) for task in record["tasks"]),
            "started_strategy": start.get("strategy"),
            "started_task": start.get("task"),
            "started_epoch": start.get("epoch"),
            "train_images": sum(dataset["train_images"] for dataset in datasets),
            "device": record["device"],
            "wall_seconds": record["wall_seconds"],
            "fingerprint": record["fingerprint"],
            "commit": record["commit"],
        }
        for seed, ending in record["seeds"].items():
            identity = {**_entry_names(record), "seed": int(seed)}
            ended = {
                "status": ending["status"],
                "diverged_task": ending.get("task") if ending["status"] == "diverged" else None,
                "diverged_step": ending.get("step") if ending["status"] == "diverged" else None,
            }
            rows.append({**identity, **ended, **shared})
    table = joined([pd.DataFrame(rows)], keys=[], name="runs")
    types: dict[str, Any] = dict.fromkeys(WHOLE, "Int64")
    types |= {"started_strategy": "str", "started_epoch": float}
    return table.astype(types)


def _frame(path: Path) -> pd.DataFrame:
    return parquet.read(path).to_pandas(use_threads=False)


def _entry_names(record: Mapping[str, Any]) -> dict[str, str]:
    return {part: record["spec"][part]["name"] for part in GROUP}
