"""Numbers of a seed along a ladder: a column of numbers, or entries named after a number."""

from collections.abc import Sequence

import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._rows import Tables, Where, known, one_per_seed, select

Rung = str | int | float


def number(rung: Rung) -> float:
    """The number that a rung stands for: itself, or what follows ``~`` in an entry's name.

    Raises:
        UserError: The name has no such number.
    """
    try:
        return float(str(rung).rpartition("~")[2])
    except ValueError:
        raise UserError(
            f"claims: {rung!r} has no number; name rungs as in ewc~100, "
            "or list them under order, with scale: rank where there is one"
        ) from None


def along_ladder(
    tables: Tables,
    name: str,
    where: Where,
    *,
    column: str,
    along: str,
    order: Sequence[Rung] | None = None,
    over: Sequence[str] = (),
    combine: str = "mean",
) -> pd.DataFrame:
    """The numbers of each seed, shape (seeds, rungs); NaN where a seed lacks a rung.

    Args:
        tables: All tables by name.
        name: Which one.
        where: Rows wanted, without the column ``along``.
        column: The column that holds the number.
        along: The column that holds the rungs.
        order: The rungs wanted; when left out, all that occur, by their number.
        over: Columns whose rows are combined within a rung.
        combine: How they are combined.

    Raises:
        NotRun: The table is missing or a rung does not occur.
        UserError: A column does not exist, or rows of one rung differ in what is not selected.
    """
    rows = select(tables, name, where if order is None else {**where, along: list(order)})
    known(rows, name, along)
    rungs = sorted(rows[along].unique(), key=number) if order is None else list(order)
    columns = [
        one_per_seed(rows[rows[along] == rung], column, over=over, combine=combine)
        for rung in rungs
    ]
    return pd.concat(columns, axis=1, keys=rungs).sort_index()
