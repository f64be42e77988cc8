"""The rows that figures are drawn from where a strategy is one method on a benchmark.

Whatever its network: in the study of the Hessian's spectrum layer normalisation belongs to
``layer_norm_l2`` and makes an architecture of its own. Rows are therefore told apart by strategy
alone, and a strategy on two networks is refused.
"""

from collections.abc import Collection, Sequence

import pandas as pd

from forgetting import plots, tables
from forgetting.errors import UserError
from forgetting.figures import _panels
from forgetting.figures._panels import Tables

ALL = "all"  # the layer that stands for all of them


def of_benchmark(
    given: Tables, table: str, benchmark: str, strategies: Collection[str] | None = None
) -> pd.DataFrame:
    """The rows of a table of one benchmark, of all strategies or of some.

    Raises:
        UserError: A strategy is there on two architectures.
    """
    rows = _panels.of_benchmark(given, table, benchmark)
    if strategies is not None:
        wanted = " or ".join(strategies)
        there = rows["strategy"].isin(strategies)
        rows = _panels.some(rows[there], f"{table}.csv has no {wanted} on {benchmark}")
    networks = rows.groupby("strategy")["architecture"].unique()
    for strategy, found in networks[networks.map(len) > 1].items():
        raise UserError(
            f"{benchmark}: {strategy} is there on {', '.join(sorted(found))}, but this figure "
            "draws a strategy on one architecture; give one of them a strategy of another name"
        )
    return rows


def at_start(
    rows: pd.DataFrame, table: str, statistic: str, split: str | None = None
) -> pd.DataFrame:
    """A statistic at the start of each task measured, of the whole network.

    Where there is no row of the layer ``all``, it is the sum over the layers.

    Args:
        rows: Of a measure.
        table: Its name, for the reason when there are none.
        statistic: What is wanted.
        split: Images it is taken on; None where it does not depend on any.
    """
    wanted = (rows["moment"] == "init") & (rows["statistic"] == statistic)
    if split is not None:
        wanted &= rows["split"] == split
    on = "" if split is None else f" on {split} images"
    rows = _panels.some(rows[wanted], f"{table}.csv has no {statistic} at the start of a task{on}")
    if (rows["layer"] == ALL).any():
        return rows[rows["layer"] == ALL]
    counted = [column for column in ("value", "units") if column in rows]
    return rows.groupby([*tables.ID, "task"], as_index=False)[counted].sum(min_count=1)


def spread_out(values: Collection[int], most: int) -> list[int]:
    """At most ``most`` of the values, evenly by rank, first and last among them."""
    ordered = sorted(set(values))
    if len(ordered) <= most:
        return ordered
    places = [round(i * (len(ordered) - 1) / (most - 1)) for i in range(most)] if most > 1 else [0]
    return [ordered[place] for place in places]


def unmeasured(runs: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Strategies that finished with some seed and have no row."""
    done = runs.loc[runs["status"] == "finished", "strategy"]
    return plots.in_order(set(done) - set(rows["strategy"]))


def about(runs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The runs that rows of a measure speak of, which may be taken on some of the seeds only.

    Seeds that diverged before the first row are among them.
    """
    left_out = runs["strategy"].isin(unmeasured(runs, rows))
    return runs[~left_out & runs["seed"].isin(rows["seed"])]


def naming(strategies: Sequence[str], why: str) -> list[str]:
    """A note that names strategies; none where there are none."""
    names = ", ".join(plots.look(strategy).label for strategy in strategies)
    return [f"{why}: {names}."] if names else []


def label(runs: pd.DataFrame, strategy: str) -> str:
    """A strategy's label, with a second line that counts its diverged seeds."""
    mine = runs[runs["strategy"] == strategy]
    architecture = str(mine["architecture"].iloc[0]) if len(mine) else ""
    return _panels.label_of(runs, architecture, strategy)


def not_run(wanted: Sequence[str], there: Collection[str]) -> list[str]:
    """A note that names the strategies that a figure was asked for and does not show."""
    return naming([name for name in wanted if name not in there], "Not run")


def metric_label(given: Tables, benchmark: str) -> str:
    """The metric that the benchmark is judged by, in words."""
    return plots.METRICS[_panels.metric_of(given, benchmark, "scenario")]


def ends(tasks: int) -> int:
    """How many tasks the last tenth is."""
    return max(1, round(tasks / 10))
