"""Names of rungs: ``ewc~100`` is the rung of the ladder ``ewc`` whose value is 100."""


def without_rung(name: str) -> str:
    """Return the entry that a rung of a ladder belongs to: ``ewc`` of ``ewc~100``."""
    return name.partition("~")[0]
