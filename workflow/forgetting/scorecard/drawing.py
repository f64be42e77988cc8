"""The small drawing of a number: ours with its interval, the paper's mark, the claimed side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, MARGIN = 180.0, 8.0


@dataclass(frozen=True)
class Plot:
    """A dot with its bar and the paper's mark: x positions in the drawing, None where absent."""

    value: float
    low: float | None
    high: float | None
    paper: float | None
    zero: float | None
    claimed: tuple[float, float] | None
    """Left end and width of the claimed side, reaching to the edges where it is open."""
    ends: tuple[str, str]
    """The numbers at the scale's ends; every drawing has a scale of its own."""
    label: str


def plot(
    value: float,
    low: float | None,
    high: float | None,
    *,
    paper: float | None,
    region: Sequence[float | None] = (None, None),
) -> Plot:
    """Positions on a scale that holds our interval, the paper's value and the margin.

    Args:
        value: Ours.
        low: Lower end of its interval.
        high: Upper end.
        paper: The paper's value.
        region: The claimed side as (low, high), None where it is open; zero takes the place of
            a margin where there is none.
    """
    if low is None or high is None:
        low = high = None
    margins = [limit for limit in region if limit is not None and math.isfinite(limit)]
    shown = [number for number in (value, low, high, paper) if number is not None]
    shown += margins or [0.0]
    start, end = min(shown), max(shown)
    scale = (WIDTH - 2 * MARGIN) / (end - start or 1.0)

    def at(number: float) -> float:
        return round(MARGIN + (number - start) * scale, 1)

    def position(number: float | None) -> float | None:
        return None if number is None else at(number)

    label = f"ours {value:.3g}"
    label += "" if low is None else f", interval {low:.3g} to {high:.3g}"
    label += "" if paper is None else f", the paper's value {paper:.3g}"
    return Plot(
        value=at(value),
        low=position(low),
        high=position(high),
        paper=position(paper),
        zero=at(0.0) if start <= 0 <= end else None,
        claimed=_claimed(region, at) if margins else None,
        ends=(f"{start:.3g}", f"{end:.3g}"),
        label=label,
    )


def _claimed(region: Sequence[float | None], at) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    left, right = (
        edge if limit is None or not math.isfinite(limit) else at(limit)
        for limit, edge in zip(region, (0.0, WIDTH), strict=True)
    )
    return left, round(max(right - left, 1.5), 1)
