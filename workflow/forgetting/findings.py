"""What the comparison across studies comes to, in words and numbers, as Markdown."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from forgetting.outcomes import FORGETTING, OUTCOMES, PLASTICITY
from forgetting.prediction import ALL, LABELS, MEAN, NOTHING, TASK, instruments

NAMES = {FORGETTING: "Forgetting", PLASTICITY: "Loss of plasticity"}
LIMITS = """\
## What this cannot say

- The evidence is that of the preset: unless it is `paper`, fewer images, smaller networks, shorter
  training and few seeds. An interval over three seeds is wide, and one that leaves out 0 may still
  be chance: {count} instruments are tried on two outcomes by three numbers.
- Families of benchmarks are few, and some have two tasks, of which one point a seed and run is
  left. Means over families differ in which families an instrument was, or could be, measured on:
  the column says how many.
- CKA to the past spans as many tasks as lie between kept weights: one where all were kept, ten
  where every tenth was.
- Strategies are not held fixed. Networks that are alike after a task (runs of one benchmark that
  begin alike) may have different outcomes, because different strategies train them on.
- Forgetting is what the next task (or the next measured one) takes, not all that will be lost. Runs
  that are tested on the current task alone do not have it.
- Loss of plasticity is known only where some run meets a task afresh (`reset`, or `single_task`).
  These runs, and joint training, are what others are held against, and no points themselves.
- The epsilon-rank is known only where a study takes spectra, and looks at images of the next task;
  all other instruments look at the task just trained.
- To foretell is not to cause.
"""


def text(table: pd.DataFrame, prediction: pd.DataFrame, preset: str) -> str:
    """Return the whole text.

    Args:
        table: instruments.csv.
        prediction: prediction.csv.
        preset: The preset that the studies were run with.
    """
    parts = [
        f"# Across studies, preset {preset}\n",
        "Every study's instrument on every network, at the end of every task whose weights were "
        "kept, on the same number of images: which of them foretells what the next task costs? "
        "Numbers are means over seeds with 95 % intervals. *Gain*: in R\u00b2 on families of "
        "benchmarks left out of the fit, over a model that knows the task index alone; above 0 the "
        "instrument helps, below it misleads. *Spearman*: of foretold and actual on the same; a "
        "common trend over tasks is enough for it. *Partial*: Spearman's correlation of instrument "
        "and outcome with task index, network and benchmark held fixed.\n",
    ]
    for outcome in OUTCOMES:
        rows = prediction[prediction["outcome"] == outcome]
        parts += [f"## {NAMES[outcome]}\n", *_sentences(rows), "", *_table(rows), ""]
    parts += ["## What it rests on\n", *_data(table), ""]
    parts.append(LIMITS.format(count=len(instruments(table))))
    return "\n".join(parts)


def _sentences(rows: pd.DataFrame) -> Iterator[str]:
    means = rows[(rows["held_out"] == MEAN) & (rows["instrument"] != TASK)]
    judged = means[means["gain"].notna()]
    if judged.empty:
        given = set(means["reason"].dropna()) - {""}
        reasons = "; ".join(sorted({reason.removesuffix(NOTHING) for reason in given}))
        yield f"- Nothing can be held out: {reasons or 'no instrument was measured'}."
    else:
        helps, harms = judged[judged["gain_low"] > 0], judged[judged["gain_high"] < 0]
        others = judged.drop([*helps.index, *harms.index])
        yield (
            "- On families left out, beyond the task index: foretold by "
            f"{_listed(helps)}; misled by {_listed(harms)}; undecided for {_listed(others)}."
        )
    if means["partial"].notna().any():
        more, less = means[means["partial_low"] > 0], means[means["partial_high"] < 0]
        yield (
            "- With task index, network and benchmark held fixed: it grows with "
            f"{_listed(more)}, and falls with {_listed(less)}."
        )


def _listed(rows: pd.DataFrame) -> str:
    return ", ".join(LABELS.get(name, name) for name in rows["instrument"]) or "none"


def _table(rows: pd.DataFrame) -> Iterator[str]:
    yield "| instrument | gain | Spearman | partial | families | points |"
    yield "|---|---|---|---|---|---|"
    for name in dict.fromkeys(rows["instrument"]):
        mine = rows[rows["instrument"] == name]
        mean = mine[mine["held_out"] == MEAN].iloc[0]
        judged = int(mine.loc[mine["held_out"] != MEAN, "gain"].notna().sum())
        cells = [_number(mean, key) for key in ("gain", "spearman", "partial")]
        label = LABELS.get(name, name) + (" (over the mean)" if name == TASK else "")
        yield f"| {label} | {' | '.join(cells)} | {judged} | {mean['points']} |"
    if ALL in set(rows["instrument"]):
        yield ""
        yield f"*{LABELS[ALL]}*: one model with all instruments but CKA and the epsilon-rank."


def _number(row: "pd.Series[float]", key: str) -> str:
    value, low, high = (row[f"{key}{end}"] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return ""
    interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else " (one seed)"
    return f"{value:.2f}{interval}"


def _data(table: pd.DataFrame) -> Iterator[str]:
    counted = ("benchmark", "architecture", "strategy", "seed")
    heads = ["family", "studies", "benchmarks", "networks", "strategies", "seeds", "tasks"]
    heads += [NAMES[outcome].lower() for outcome in OUTCOMES]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for family, rows in table.groupby("family"):
        studies = ", ".join(sorted(rows["study"].unique()))
        numbers = [rows[name].nunique() for name in counted] + [rows["task"].max()]
        numbers += [rows[outcome].notna().sum() for outcome in OUTCOMES]
        yield f"| {family} | {studies} | {' | '.join(map(str, numbers))} |"
    yield ""
    yield "The last two columns count points: seeds of runs after tasks."
