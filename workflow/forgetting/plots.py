"""The look of every figure, and how a figure is saved.

A strategy has one colour and one marker in all studies (colours of Okabe & Ito 2008, which
readers with colour-blindness can tell apart). Files hold real text and no dates, so the same
tables give the same bytes.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from forgetting import tables
from forgetting.results import atomic
from forgetting.rungs import without_rung
from forgetting.wording import NAMES

SINGLE, DOUBLE = 3.3, 7.0  # inches: one and two columns of a paper
SMALL, TEXT = 6.5, 7.5  # points at print size
GREY, STAND_IN = "#595959", "#B03A00"

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "forgetting",
}


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn, in every figure of every study."""

    colour: str
    marker: str
    label: str


LOOKS = {
    "sgd": Look("#D55E00", "o", "SGD"),
    "lwf": Look("#0072B2", "s", "LwF"),
    "experience_replay": Look("#009E73", "^", "Replay"),
    "joint": Look("#000000", "D", "Joint"),
    "ewc": Look("#CC79A7", "v", "EWC"),
    "si": Look("#E69F00", "P", "SI"),
    "freeze": Look("#56B4E9", "X", "Frozen"),
    "l2": Look("#0072B2", "v", "L2"),
    "effective_rank": Look("#E69F00", "d", "ER"),
    "l2_effective_rank": Look("#CC79A7", "D", "L2-ER"),
    "replace_most_useful": Look("#882255", "<", "Replace most useful"),
    "replace_most_useful_l2": Look("#882255", ">", "Replace most useful + L2"),
    "continual_backprop": Look("#009E73", "X", "CBP (Dohare)"),
    "continual_backprop_l2": Look("#009E73", "H", "CBP (Dohare) + L2"),
    "continual_backprop_path": Look("#009E73", "d", "CBP (Dohare, ResNet)"),
    "adam": Look("#332288", "o", "Adam"),
    "adam_same_betas": Look("#D55E00", "p", "Adam, same betas"),
    "adam_reset": Look("#E69F00", "s", "Adam, reset"),
    "layer_norm_l2": Look("#56B4E9", "s", "LN + L2"),
    "spectral_norm": Look("#7F6000", "h", "Spectral norm"),
    "redo": Look("#332288", "H", "ReDo"),
    "shrink_perturb": Look("#009E73", "p", "Shrink & perturb"),
    "shrink_perturb_l2": Look("#117733", "P", "S&P + L2"),
    "reset": Look("#7F7F7F", "*", "Reset"),
    "replay": Look("#009E73", ">", "Replay"),
    "task2_only": Look("#7F7F7F", "p", "Task 2 alone"),
    "sgd_lr": Look("#D55E00", "D", "SGD, rate"),
}
METRICS = {
    "task_masked": "task-masked accuracy",
    "class_incremental": "class-incremental accuracy",
    "online": "online accuracy",
    "return": "return",
}


def look(strategy: str) -> Look:
    """Colour, marker and label of a strategy's entry; a rung ``name~1`` looks like ``name``.

    A strategy that is not listed gets a colour and marker that depend on its name alone.
    """
    base, _, rung = strategy.partition("~")
    known = LOOKS.get(base.replace("-", "_"))
    if known is None:
        number = hashlib.sha256(base.encode()).digest()[0]
        colours = sorted({entry.colour for entry in LOOKS.values()})
        known = Look(colours[number % len(colours)], "<>dp8H"[number % 6], base)
    return Look(known.colour, known.marker, f"{known.label} {rung}" if rung else known.label)


def in_order(entries: Iterable[str]) -> list[str]:
    """Strategies or architectures in the order of this module, then by name: one order for all."""
    order = [*LOOKS, *NAMES]

    def place(entry: str) -> tuple[int, str]:
        base = re.sub("[-_]", "", without_rung(entry))
        found = [i for i, known in enumerate(order) if known.replace("_", "") == base]
        return (found[0] if found else len(order)), entry

    return sorted(set(entries), key=place)


def save(figure: Figure, drawn: pd.DataFrame, path: Path) -> None:
    """Write ``path`` (PDF) and beside it the PNG and the CSV of exactly what is drawn."""
    with mpl.rc_context(STYLE):
        metadata = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}
        for suffix, entries in metadata.items():
            # Not straight into the file: of a full disk Matplotlib says something about a stream.
            whole = io.BytesIO()
            figure.savefig(whole, format=suffix[1:], metadata=entries, dpi=200)
            with atomic(path.with_suffix(suffix)) as temporary:
                temporary.write_bytes(whole.getbuffer())
    with atomic(path.with_suffix(".csv")) as temporary:
        tables.write(drawn, temporary)
