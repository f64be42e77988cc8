"""Settings that several kinds of evidence share; no pandas, as studies are checked without it."""

from forgetting.settings import Settings


class Other(Settings):
    """The quantity that another one is correlated with."""

    table: str = ""
    """Name of its table, without ``.csv``; the other one's when left out."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """Column of its table -> wanted value or values; not read where it has no table of its own."""
    match: tuple[str, ...] = ()
    """Columns that, beside the run, rows of the two tables have in common, such as ``task``."""


class Bound(Settings):
    """Where a bound stands."""

    table: str
    """Name of its table, without ``.csv``."""
    column: str = "value"
    """The column that holds it."""
    where: dict[str, str | int | float | bool | list[str | int | float]] = {}
    """Column -> wanted value or values."""
    per: str = ""
    """Column of its table that it is divided by."""
