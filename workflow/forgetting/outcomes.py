"""What instruments are to foretell: how much is forgotten next, and how badly is learned next.

Both outcomes belong to a seed of a run and a task t after which it was measured, and lie wholly
after that measurement.

* ``forgetting``: with u the next task after which the run was measured (t + 1, where weights of all
  tasks were kept), the mean over tasks j <= t of accuracy on j after t minus that after u. Only of
  runs that were tested on old tasks. It is what one step loses; the average forgetting of Chaudhry
  et al. (2018) sums over steps.
* ``loss_of_plasticity``: how well task t + 1 is learned by a run that meets it afresh minus how
  well this one learns it (as Dohare et al. 2024, Nature 632, 768, see it against a network without
  a past). Afresh is a run of the same benchmark and network with strategy ``reset``, or
  ``single_task`` of that very task; that of the same seed, else their mean over seeds. A benchmark
  without such runs does not have this outcome.

Accuracies are those that the benchmark is judged by. Runs whose strategy orders the tasks in its
own way (``joint``, ``reset``, ``single_task``) have neither outcome: what was measured is not what
is trained next.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forgetting import components
from forgetting.tables import GROUP, ID, of_measures, of_runs
from forgetting.tables.performance import performance, rank_and_performance

FORGETTING, PLASTICITY = "forgetting", "loss_of_plasticity"
OUTCOMES = (FORGETTING, PLASTICITY)
EPSILON = 0.01
"""The smallest of the magnitudes that Prakash et al. (2025, arXiv 2509.22335) count eigenvalues
above."""
ABOUT = ["study", "family", *ID, "task"]
Records = Sequence[tuple[Path, dict[str, Any]]]


def gathered(
    records: Records,
    instruments: Sequence[Path],
    spectra: Sequence[Path],
    about: Mapping[str, Mapping[str, str]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all that is compared of one study, a row for each seed and task, and its runs.

    Columns: family (component and data sets of the benchmark: those that differ in settings alone
    are no independent evidence), the run, task, an instrument each, ``epsilon_rank`` where spectra
    were taken, the outcomes. Missing where there is none.

    ``epsilon_rank`` is the fraction of the Hessian's eigenvalues above ``EPSILON`` at the start of
    task t + 1 (its images, the weights after t), by quadrature (``measures.hessian``).

    Args:
        records: The runs, from `tables.of_runs.read_records`.
        instruments: Files of the measures taken for the comparison.
        spectra: Files of measure ``hessian``, as many as there are.
        about: For each benchmark its ``metric`` and ``evidence``.
    """
    runs = of_runs.runs(records, about)
    accuracy = of_runs.accuracy(records)
    learned = performance(accuracy, runs, of_runs.online(records))
    measured = of_measures.measure(instruments)
    table = measured.pivot(index=[*ID, "task"], columns="statistic", values="value").reset_index()
    table["epsilon_rank"] = np.nan
    if spectra:
        ranks = rank_and_performance(of_measures.measure(spectra), learned)
        ranks = ranks[(ranks["estimator"] == "quadrature") & np.isclose(ranks["eps"], EPSILON)]
        before = ranks.assign(task=ranks["task"] - 1)[[*ID, "task", "epsilon_rank"]]
        table = table.drop(columns="epsilon_rank").merge(before, on=[*ID, "task"], how="left")
    strategies = _strategies(records)
    table = table.merge(strategies[[*GROUP, "family", "in_turn"]], on=GROUP)
    metric = runs.drop_duplicates("benchmark").set_index("benchmark")["scenario_metric"]
    judged = accuracy[accuracy["metric"] == accuracy["benchmark"].map(metric)]
    for outcome, found in (
        (FORGETTING, forgotten_next(judged, table)),
        (PLASTICITY, learned_worse_next(learned, strategies)),
    ):
        table = table.merge(found, on=[*ID, "task"], how="left")
        table[outcome] = table.pop("value").where(table["in_turn"])
    table = table.drop(columns="in_turn")
    first = ["family", *ID, "task"]
    rest = [name for name in table if name not in (*first, *OUTCOMES)]
    return table[[*first, *rest, *OUTCOMES]], runs


def forgotten_next(accuracy: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return what each run loses of its old tasks until it is measured again.

    Columns: the run, task, value; no row for the last measurement, nor where an accuracy that is
    needed was not taken.

    Args:
        accuracy: The run, after_task, task, value; one metric for a benchmark.
        measured: The run and the tasks after which it was measured.
    """
    tested = dict(iter(accuracy.groupby(ID)))
    found = []
    for run, rows in measured.groupby(ID):
        if run not in tested:
            continue
        matrix = tested[run].pivot(index="task", columns="after_task", values="value")
        times = sorted(time for time in rows["task"] if time >= 1)
        for now, later in itertools.pairwise(times):
            old = matrix.reindex(index=range(1, now + 1), columns=[now, later])
            found.append([*run, now, (old[now] - old[later]).mean(skipna=False)])
    return pd.DataFrame(found, columns=[*ID, "task", "value"]).dropna(subset="value")


def learned_worse_next(learned: pd.DataFrame, strategies: pd.DataFrame) -> pd.DataFrame:
    """Return by how much each run learns the next task worse than one that meets it afresh.

    Columns: the run, task (the one before), value; no row where no run meets the next task afresh.

    Args:
        learned: The run, task, value: how well each task was learned.
        strategies: ``fresh`` for each benchmark, architecture and strategy: the task that it meets
            afresh, 0 for every task; missing for none.
    """
    rows = learned.merge(strategies[[*GROUP, "fresh"]], on=GROUP)
    afresh = rows[(rows["fresh"] == 0) | (rows["fresh"] == rows["task"])]
    place = ["benchmark", "architecture", "task"]
    own = afresh.groupby([*place, "seed"])["value"].mean().rename("own").reset_index()
    mean = own.groupby(place)["own"].mean().rename("mean").reset_index()
    rows = rows.merge(own, on=[*place, "seed"], how="left").merge(mean, on=place, how="left")
    rows["value"] = rows["own"].fillna(rows["mean"]) - rows["value"]
    rows["task"] -= 1
    return rows.loc[rows["task"] >= 1, [*ID, "task", "value"]].dropna(subset="value")


def _strategies(records: Records) -> pd.DataFrame:
    """Return what each benchmark, architecture and strategy is, a row each.

    Columns: these three, family, in_turn (whether the tasks are trained one after the other, each
    from what the one before left), fresh (as `learned_worse_next` has it).
    """
    rows = []
    for _, record in records:
        spec = record["spec"]
        data = "+".join(sorted(dataset["name"] for dataset in record["datasets"]))
        parts = {part["component"]: part["settings"] for part in spec["strategy"]["parts"]}
        in_turn = not any("phases" in components.definitions("strategies", name) for name in parts)
        fresh = np.nan
        if [*parts] == ["reset"]:
            fresh = 0
        elif [*parts] == ["single_task"]:
            fresh = parts["single_task"]["task"]
        family = f"{spec['benchmark']['component']} {data}"
        rows.append([*(spec[part]["name"] for part in GROUP), family, in_turn, fresh])
    columns = [*GROUP, "family", "in_turn", "fresh"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates(GROUP)
