"""The scorecard: every study's claims on one page, with what they rest on.

Takes the rows of ``claims.csv`` as they are and adds no judgement: only order, counts, a small
drawing per number, and a plain warning where preset or data cannot bear a verdict.
"""

import base64
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from forgetting.scorecard_page import MARKDOWN, PAGE

SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?", "not run": "○"}
WIDTH, MARGIN = 180.0, 8.0


@dataclass(frozen=True)
class Plot:
    """A dot with its bar and the paper's mark: x positions in the drawing, None where absent."""

    value: float
    low: float | None
    high: float | None
    paper: float | None
    zero: float | None
    label: str


@dataclass(frozen=True)
class Row:
    """One claim, ready to print."""

    claim: str
    statement: str
    source: str
    paper: str
    ours: str
    seeds: str
    verdict: str
    evidence: str
    note: str
    plot: Plot | None


@dataclass(frozen=True)
class Figure:
    """A picture, inline for the page and as a relative link for the Markdown."""

    name: str
    data: str
    link: str


@dataclass(frozen=True)
class Study:
    """One paper's part of the page; without rows it was not run."""

    name: str
    title: str
    paper: str
    rows: tuple[Row, ...] = ()
    figures: tuple[Figure, ...] = ()

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How often each verdict occurs, in the fixed order, without zeros."""
        counted = Counter(row.verdict for row in self.rows)
        return [(verdict, counted[verdict]) for verdict in SYMBOLS if counted[verdict]]


def study(
    description: Mapping[str, Any],
    claims: Sequence[Mapping[str, str]],
    figures: Sequence[Figure] = (),
) -> Study:
    """A study from its entry (``study``, ``title``, ``paper``) and the rows of its claims."""
    paper = description.get("paper") or ""
    if isinstance(paper, Mapping):
        arxiv = f"arXiv:{paper['arxiv']}" if paper.get("arxiv") else ""
        parts = [paper.get("authors"), paper.get("title"), paper.get("year"), arxiv]
        parts = [", ".join(part) if isinstance(part, list) else part for part in parts]
        paper = ". ".join(str(part) for part in parts if part)
    name = str(description["study"])
    rows = tuple(row(entry) for entry in claims)
    return Study(name, str(description.get("title") or name), str(paper), rows, tuple(figures))


def row(entry: Mapping[str, str]) -> Row:
    """One row of ``claims.csv`` (every field a text, empty where undefined) as it is printed."""
    numbers = {key: _number(entry[key]) for key in ("paper_value", "value", "ci_low", "ci_high")}
    paper, value, low, high = numbers.values()
    ours = "none" if value is None else f"{value:.3g}"
    if low is not None and high is not None:
        ours += f" [{low:.3g}, {high:.3g}]"
    return Row(
        claim=entry["claim"],
        statement=entry["statement"],
        source=entry["source"],
        paper=entry["paper_value"] if paper is None else f"{paper:.4g}",
        ours=ours,
        seeds=entry["n_seeds"],
        verdict=entry["verdict"],
        evidence=entry["evidence"],
        note=entry["note"],
        plot=None if value is None else plot(value, low, high, paper=paper),
    )


def plot(value: float, low: float | None, high: float | None, *, paper: float | None) -> Plot:
    """Positions on a scale that holds our interval, the paper's value and zero."""
    if low is None or high is None:
        low = high = None
    shown = [number for number in (value, low, high, paper, 0.0) if number is not None]
    start, end = min(shown), max(shown)
    scale = (WIDTH - 2 * MARGIN) / (end - start or 1.0)

    def position(number: float | None) -> float | None:
        return None if number is None else round(MARGIN + (number - start) * scale, 1)

    label = f"ours {value:.3g}"
    label += "" if low is None else f", interval {low:.3g} to {high:.3g}"
    label += "" if paper is None else f", the paper's value {paper:.3g}"
    x = position(value)
    assert x is not None
    return Plot(x, position(low), position(high), position(paper), position(0.0), label)


def figure(path: Path, relative_to: Path) -> Figure:
    """A PNG file, inlined, and its link from a file in the folder ``relative_to``."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    link = quote(Path(os.path.relpath(path, relative_to)).as_posix())
    return Figure(path.stem, f"data:image/png;base64,{data}", link)


def warnings(studies: Sequence[Study]) -> list[str]:
    """What the top of the page must say about what the verdicts rest on."""
    judged = [row for study in studies for row in study.rows if row.verdict != "not run"]
    if not judged:
        return ["Nothing has been judged with this preset yet: every claim is not run."]
    kinds = Counter(row.evidence for row in judged)
    found = []
    if kinds["stand-in"]:
        part = "All" if kinds["stand-in"] == len(judged) else f"{kinds['stand-in']} of"
        found.append(
            f"{part} {len(judged)} judged claims rest on stand-in data, bundled small images "
            "instead of the paper's. They show that the pipeline works and cannot bear a verdict: "
            "each is inconclusive whatever its numbers."
        )
    if not kinds["protocol"]:
        rest = [f"{kinds[kind]} {kind}" for kind in sorted(kinds) if kind]
        found.append(
            "Nothing on this page was run under a paper's published protocol "
            f"({', '.join(rest)}), so no verdict here speaks of a paper."
        )
    return found


def render(preset: str, studies: Sequence[Study]) -> tuple[str, str]:
    """The page as HTML and as Markdown, with the same content."""
    from jinja2 import Environment, StrictUndefined

    content = {
        "preset": preset,
        "studies": studies,
        "warnings": warnings(studies),
        "symbols": SYMBOLS,
    }
    html = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    text = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    text.filters["md"] = _markdown
    return html.from_string(PAGE).render(content), text.from_string(MARKDOWN).render(content)


def _markdown(text: object) -> str:
    """Plain text inside a Markdown table cell."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", flat).replace("&", "&amp;")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
