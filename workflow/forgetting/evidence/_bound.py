"""A bound that stands in a table of its own, at the same task and moment of the same run."""

from collections.abc import Sequence

import pandas as pd

from forgetting.errors import UserError
from forgetting.evidence._rows import Tables, Where, known, select
from forgetting.evidence._settings import Bound
from forgetting.tables import GROUP


def limits(tables: Tables, bound: Bound, where: Where, keys: Sequence[str]) -> pd.DataFrame:
    """Return the bound of each run at each of some ``keys``, in the column ``limit``.

    Args:
        tables: All tables by name.
        bound: Where it stands.
        where: Rows wanted of what is bounded; what names runs in it is wanted of the bound, too.
        keys: Columns of the bound's table, the run's among them, of which each has one bound.

    Raises:
        NotRun: The table is missing, or rows are.
        UserError: A column does not exist, or one key has several bounds.
    """
    about = {key: where[key] for key in GROUP if key in where}
    rows = select(tables, bound.table, {**about, **bound.where})
    known(rows, bound.table, bound.column, *keys, *([bound.per] if bound.per else []))
    if rows.duplicated(list(keys)).any():
        raise UserError(f"claims: {bound.table} has several bounds for one {', '.join(keys)}")
    limit = rows[bound.column] / (rows[bound.per] if bound.per else 1)
    return rows[list(keys)].assign(limit=limit)
