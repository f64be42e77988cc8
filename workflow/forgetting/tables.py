"""Tidy tables over all runs of a study: the raw facts joined, and what follows from them.

Every table is a pure function of run folders, of measure files or of other tables, and its
name is the function's name; the parameters' names are the tables it is derived from. The
identity of a row is (benchmark, architecture, strategy, seed). A table never invents a row: a
seed that diverged has no rows after its divergence, the scores that would need them are NaN,
and `summary` counts it.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forgetting import parquet, statistics
from forgetting.errors import UserError
from forgetting.results import read_json
from forgetting.rungs import without_rung

ID = ["benchmark", "architecture", "strategy", "seed"]
GROUP = ID[:3]
ERANK = "erank_sigma_uncentred"
PEAK = "_peak_normalised"
SCORES = [
    "average_accuracy",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "learning_accuracy",
]
TEXT = [
    *GROUP,
    "metric",
    "estimator",
    "layer",
    "statistic",
    "matrix",
    "pack",
    "status",
    "datasets",
    "fingerprint",
    "commit",
    "output",
    "condition",
    "direction",
    "inputs",
    "layout",
    "moment",
    "split",
    "direction_x",
    "direction_y",
    "mode",
    "arm",
    "started_strategy",
]
# What tells the rows of a measure apart within a run, in the order of the rows.
MEASURED = [
    "task",
    "epoch",
    "of_task",
    "output",
    "matrix",
    "depth",
    "layer",
    "condition",
    "k",
    "direction",
    "stages_reset",
    "moment",
    "mode",
    "split",
    "steps",
    "eps",
    "probe",
    "index",
    "direction_x",
    "direction_y",
    "path_task",
    "path_epoch",
    "x",
    "y",
    "statistic",
]
# Of every Hessian thousands, and a table of their own.
EIGENVALUES = ["ritz_value", "ritz_weight", "eigenvalue"]
ESTIMATORS = {
    "epsilon_rank": "quadrature",
    "epsilon_rank_published": "published",
    "epsilon_rank_exact": "exact",
}
WHOLE = ["diverged_task", "diverged_step", "started_task"]
"""Columns of whole numbers that may be empty."""
COLLAPSE = ["nc1", "nc2", "nc3", "nc4"]
CHANCE = 1.5
"""An accuracy at or below this many times that of guessing is at chance."""


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV: one header line, ten significant digits, empty where undefined."""
    table.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """Read a table; only an empty field is undefined, so an entry may be called ``none``."""
    types: dict[str, Any] = {**dict.fromkeys(TEXT, str), **dict.fromkeys(WHOLE, "Int64")}
    return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])


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
        _with_id(_frame(folder / "accuracy.parquet"), **_entry_names(record))
        for folder, record in records
    ]
    return _joined(parts, keys=["metric", "after_task", "task"], name="accuracy")


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
        parts.append(_with_id(found, **_entry_names(record)))
    return _joined(parts, keys=["task", "epoch", "statistic"], name="history")


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


def performance(
    accuracy: pd.DataFrame, runs: pd.DataFrame, online: pd.DataFrame | None = None
) -> pd.DataFrame:
    """How well each task was learned, in the metric that its benchmark is judged by.

    For ``online`` that accuracy; else the accuracy on the task's test images after training on
    it. Columns: the run, task, metric, value.
    """
    metric = runs.drop_duplicates("benchmark").set_index("benchmark")["scenario_metric"]
    own = accuracy[accuracy["after_task"] == accuracy["task"]]
    tested = own[own["metric"] == own["benchmark"].map(metric)]
    parts = [tested[[*ID, "task", "metric", "value"]]]
    if online is not None:
        judged = online[online["benchmark"].map(metric) == "online"]
        parts.append(judged.assign(metric="online")[[*ID, "task", "metric", "value"]])
    return _joined(parts, keys=["task"], name="performance")


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
    table = _joined([pd.DataFrame(rows)], keys=[], name="runs")
    types: dict[str, Any] = dict.fromkeys(WHOLE, "Int64")
    types |= {"started_strategy": "str", "started_epoch": float}
    return table.astype(types)


def measure(paths: Sequence[Path]) -> pd.DataFrame:
    """A measure's rows over all runs; their path names the entries they belong to.

    Single eigenvalues are left to table `spectra`. For every effective rank, adds
    eRank(t) / max_{u <= t} eRank(u) as a statistic of its own
    (per run, matrix and layer; u = 0, the network before training, counts when it was measured).
    """
    parts = [part[~part["statistic"].isin(EIGENVALUES)] for part in _measured(paths)]
    found = set().union(*(part.columns for part in parts))
    keys = [key for key in MEASURED if key in found]
    table = _joined(parts, keys=keys, name="measure")
    ranks = table["statistic"].str.startswith("erank") & ~table["statistic"].str.endswith(PEAK)
    if not ranks.any():
        return table
    normalised = table[ranks].copy()
    series = [key for key in [*ID, "matrix", "layer", "statistic"] if key in found | set(ID)]
    peak = normalised.groupby(series, sort=False)["value"].cummax()
    # A matrix of zeros has eRank 0 (or none) and no peak to fall from.
    normalised["value"] = normalised["value"] / peak.where(peak > 0)
    normalised["statistic"] += PEAK
    return _joined([table, normalised], keys=keys, name="measure")


def spectra(paths: Sequence[Path]) -> pd.DataFrame:
    """The eigenvalues, Ritz values and their weights that measure ``hessian`` found."""
    parts = [part[part["statistic"].isin(EIGENVALUES)] for part in _measured(paths)]
    keys = ["task", "moment", "split", "steps", "probe", "index", "statistic"]
    return _joined(parts, keys=keys, name="spectra")[[*ID, *keys, "value", "dim"]]


def rank_and_performance(hessian: pd.DataFrame, performance: pd.DataFrame) -> pd.DataFrame:
    """The Hessian's epsilon-rank at the start of a task beside how well the task was learned.

    On images trained on; the most of Lanczos' steps that were taken. Columns: the run, task,
    estimator (``quadrature``, ``published``, ``exact``), eps, epsilon_rank (fraction), performance.
    """
    rows = hessian[(hessian["moment"] == "init") & (hessian["split"] == "train")]
    rows = rows[rows["statistic"].isin(ESTIMATORS)]
    longest = rows.groupby([*ID, "task", "statistic"])["steps"].transform("max")
    rows = rows[rows["steps"] == longest]
    rows = rows.assign(estimator=rows["statistic"].map(ESTIMATORS)).rename(
        columns={"value": "epsilon_rank"}
    )
    learned = performance.rename(columns={"value": "performance"})[[*ID, "task", "performance"]]
    keys = ["task", "estimator", "eps"]
    table = rows[[*ID, *keys, "epsilon_rank"]].merge(learned, on=[*ID, "task"])
    return _joined([table], keys=keys, name="rank_and_performance")


def continued(
    runs: pd.DataFrame,
    accuracy: pd.DataFrame,
    neural_collapse: pd.DataFrame,
    history: pd.DataFrame,
) -> pd.DataFrame:
    """What a run that continues another from within a task started from, and what became of it.

    A row for each seed and each mode of `neural_collapse`. Columns: the run, arm (its strategy
    without the rung), started_strategy, task and epoch (where it starts), mode, nc1 to nc4 there,
    training_accuracy_before (that epoch's), accuracy_before (test accuracy of that task there),
    accuracy (of the next task after it), status (``finished``, ``diverged``, or ``chance``: either
    accuracy is at most 1.5 times that of guessing).
    """
    starts = runs[runs["started_epoch"].notna()].rename(
        columns={"started_task": "task", "started_epoch": "epoch"}
    )
    starts = starts.assign(arm=starts["strategy"].map(without_rung))
    parent = [*ID[:2], "started_strategy", "seed", "task", "epoch"]
    moments = neural_collapse[neural_collapse["statistic"].isin(COLLAPSE)]
    collapse = moments.rename(columns={"strategy": "started_strategy"}).pivot_table(
        index=[*parent, "mode"], columns="statistic", values="value"
    )
    seen = history[history["statistic"] == "accuracy"].rename(
        columns={"strategy": "started_strategy", "value": "training_accuracy_before"}
    )
    table = starts.merge(collapse.reset_index(), on=parent, how="left")
    table = table.merge(seen[[*parent, "training_accuracy_before"]], on=parent, how="left")
    tested = accuracy[(accuracy["metric"] == "task_masked")]
    tested = tested[tested["after_task"] == tested["task"]][[*ID, "task", "value"]]
    for column, later in (("accuracy_before", 0), ("accuracy", 1)):
        own = tested.assign(task=tested["task"] - later).rename(columns={"value": column})
        table = table.merge(own, on=[*ID, "task"], how="left")
    chance = CHANCE / table["classes"]
    fallen = (table["accuracy_before"] <= chance) | (table["accuracy"] <= chance)
    table.loc[fallen & (table["status"] == "finished"), "status"] = "chance"
    columns = [*ID, "arm", "started_strategy", "task", "epoch", "mode"]
    columns += [*COLLAPSE, "training_accuracy_before", "accuracy_before", "accuracy", "status"]
    return _joined([table.reindex(columns=columns)], keys=["epoch", "mode"], name="continued")


def scores(accuracy: pd.DataFrame) -> pd.DataFrame:
    """The scalar scores after every task t >= 1, over the tasks and rows up to t.

    A score is NaN where accuracies that it needs were not taken: after divergence, for a run
    evaluated once at its end, for tasks not yet seen under ``evaluate: seen``.
    """
    lengths = accuracy.groupby("benchmark")["task"].max().to_dict()
    rows = []
    for key, cells in accuracy.groupby([*ID, "metric"]):
        tasks = lengths[key[0]]
        matrix = _accuracy_matrix(cells, tasks)
        for t in range(1, tasks + 1):
            until = matrix[: t + 1, :t]
            values = [getattr(statistics, name)(until) for name in SCORES]
            rows.append([*key, t, *values])
    table = pd.DataFrame(rows, columns=[*ID, "metric", "after_task", *SCORES])
    return _joined([table], keys=["metric", "after_task"], name="scores")


def representative_rank(erank: pd.DataFrame) -> pd.DataFrame:
    """One effective rank for each run, task, matrix and statistic: the two the paper speaks of.

    ``activation``: the last hidden stage (the deepest that is not the head), layer ``last``.
    ``weight``: the mean over the layers, head included, layer ``mean``.
    """
    wanted = erank[erank["statistic"].isin([ERANK, ERANK + PEAK])]
    if "epoch" in wanted:
        wanted = wanted[wanted["epoch"] == 0]  # the end of the task
    keys = [*ID, "task", "matrix", "statistic"]
    weight = wanted[wanted["matrix"] == "weight"].groupby(keys, as_index=False)["value"].mean()
    hidden = wanted[(wanted["matrix"] == "activation") & (wanted["layer"] != "head")]
    deepest = hidden.groupby(GROUP)["depth"].transform("max")
    last = hidden.loc[hidden["depth"] == deepest, [*keys, "value"]]
    table = pd.concat([weight.assign(layer="mean"), last.assign(layer="last")])
    columns = [*ID, "task", "matrix", "layer", "statistic", "value"]
    return _joined([table[columns]], keys=["task", "matrix", "statistic"], name="erank")


def forgetting_rank(scores: pd.DataFrame, erank: pd.DataFrame) -> pd.DataFrame:
    """Mean forgetting of tasks 1..t-1 after task t >= 2 beside the rank lost, 1 - eRank(t)/peak."""
    rank = representative_rank(erank)
    rank = rank[rank["statistic"] == ERANK + PEAK]
    rank = rank.assign(rank_lost=1.0 - rank["value"])[[*ID, "task", "matrix", "layer", "rank_lost"]]
    lost = scores.loc[scores["after_task"] >= 2, [*ID, "after_task", "metric", "forgetting"]]
    table = lost.rename(columns={"after_task": "task"}).merge(rank, on=[*ID, "task"])
    columns = [*ID, "task", "metric", "matrix", "layer", "forgetting", "rank_lost"]
    return _joined([table[columns]], keys=["task", "metric", "matrix"], name="forgetting_rank")


def summary(
    scores: pd.DataFrame, runs: pd.DataFrame, erank: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Mean over seeds with its interval of every final score and final effective rank.

    ``n_seeds`` counts the seeds that have the statistic, ``n_diverged`` those that diverged.
    """
    last = runs[["benchmark", "tasks"]].drop_duplicates("benchmark")
    final = scores.merge(last, on="benchmark")
    final = final[final["after_task"] == final["tasks"]]
    long = final.melt([*ID, "metric"], SCORES, var_name="score")
    long["statistic"] = long["score"] + "_" + long["metric"]
    parts = [long[[*ID, "statistic", "value"]]]
    if erank is not None:
        rank = representative_rank(erank).merge(last, on="benchmark")
        rank = rank[rank["task"] == rank["tasks"]]
        rank["statistic"] += "_" + rank["matrix"] + "_" + rank["layer"]
        parts.append(rank[[*ID, "statistic", "value"]])
    values = pd.concat(parts)
    diverged = runs[runs["status"] == "diverged"].groupby(GROUP)["seed"].nunique()
    rows = []
    for group, _ in runs.groupby(GROUP):
        mine = values[(values[GROUP] == list(group)).all(axis=1)]
        for statistic in sorted(values["statistic"].unique()):
            sample = mine.loc[mine["statistic"] == statistic, "value"].dropna().to_numpy()
            limits = statistics.interval(sample)
            rows.append([*group, statistic, *limits, len(sample), int(diverged.get(group, 0))])
    columns = [*GROUP, "statistic", "mean", "ci_low", "ci_high", "n_seeds", "n_diverged"]
    return pd.DataFrame(rows, columns=columns)


FROM_TABLES: Mapping[str, Callable[..., pd.DataFrame]] = {
    "continued": continued,
    "performance": performance,
    "rank_and_performance": rank_and_performance,
    "scores": scores,
    "representative_rank": representative_rank,
    "forgetting_rank": forgetting_rank,
    "summary": summary,
}


def _frame(path: Path) -> pd.DataFrame:
    return parquet.read(path).to_pandas(use_threads=False)


def _measured(paths: Sequence[Path]) -> list[pd.DataFrame]:
    parts = []
    for path in paths:
        benchmark, architecture, strategy = path.parts[-4:-1]
        names = {"benchmark": benchmark, "architecture": architecture, "strategy": strategy}
        parts.append(_with_id(_frame(path), **names))
    return parts


def _entry_names(record: Mapping[str, Any]) -> dict[str, str]:
    return {part: record["spec"][part]["name"] for part in GROUP}


def _with_id(part: pd.DataFrame, **names: str) -> pd.DataFrame:
    rest = [column for column in part.columns if column not in ID]
    return part.assign(**names)[[*ID, *rest]]


def _joined(parts: Sequence[pd.DataFrame], *, keys: Sequence[str], name: str) -> pd.DataFrame:
    """One table with its rows in a fixed order; two rows of one identity are an error."""
    table = pd.concat(parts, ignore_index=True)
    twice = table.duplicated([*ID, *keys])
    if twice.any():
        found = ", ".join(f"{key}={table.loc[twice, key].iloc[0]}" for key in [*ID, *keys])
        raise UserError(
            f"table {name}: two rows for {found}. A seed belongs to one pack: "
            "remove the run folder that the study's seeds no longer name."
        )
    return table.sort_values([*ID, *keys], kind="stable", ignore_index=True, key=_in_time)


def _in_time(column: pd.Series) -> pd.Series:
    """Epoch 0 is the end of a task: it comes after the epochs within."""
    ends = column.name in ("epoch", "path_epoch")
    return column.where(~(column <= 0), np.inf) if ends else column


def _accuracy_matrix(cells: pd.DataFrame, tasks: int) -> np.ndarray:
    """Accuracies as R of shape (tasks + 1, tasks), row 0 before training, NaN where not taken."""
    matrix = np.full((tasks + 1, tasks), np.nan)
    matrix[cells["after_task"].to_numpy(), cells["task"].to_numpy() - 1] = cells["value"]
    return matrix
