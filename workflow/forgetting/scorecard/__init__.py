"""The scorecard: every study's claims on one page, with what they rest on.

Takes ``claims.csv`` and ``claims.json`` as they are and adds no judgement: only order, counts, a
small drawing per number, and a plain warning where preset or data cannot bear a verdict.
"""

import base64
import io
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from forgetting.scorecard.behind import Context, Details, Run, details, slug
from forgetting.scorecard.drawing import Plot, plot
from forgetting.scorecard.markdown import MARKDOWN
from forgetting.scorecard.page import PAGE

SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?", "not run": "○"}
EVIDENCE = {
    "protocol": "the paper's published protocol; only this speaks of the paper",
    "reduced": "the paper's data, but fewer images, smaller networks or shorter training",
    "other data": "other images than the paper's",
    "other simulator": "another simulator than the paper's",
    "stand-in": "small bundled images in place of the paper's; cannot bear a verdict",
}
"""What a verdict may rest on, from what says the most to what says nothing."""
COLOURS = 128
"""Of an embedded picture; line art loses nothing and is a third of the size."""


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
    details: Details = field(default_factory=Details)


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
    reduction: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """How often each verdict occurs, in the fixed order, without zeros."""
        counted = Counter(row.verdict for row in self.rows)
        return {verdict: counted[verdict] for verdict in SYMBOLS if counted[verdict]}

    @property
    def doubted(self) -> int:
        """How many of the reproduced rows have a doubt beside them."""
        return sum(row.verdict == "reproduced" and bool(row.details.doubts) for row in self.rows)

    @property
    def glance(self) -> dict[str, list[tuple[str, Row]]]:
        """The rows by the claim that they are cases of."""
        found: dict[str, list[tuple[str, Row]]] = {}
        for anchor, row in self._addresses():
            found.setdefault(row.claim.partition("[")[0], []).append((anchor, row))
        return found

    @property
    def main(self) -> dict[str, list[tuple[str, Row]]]:
        """Of these the main claims."""
        return {name: cases for name, cases in self.glance.items() if cases[0][1].details.main}

    @property
    def judged(self) -> list[tuple[str, Row]]:
        """The rows that were judged, each with its address."""
        return [(anchor, row) for anchor, row in self._addresses() if row.verdict != "not run"]

    @property
    def not_run(self) -> list[tuple[str, Row]]:
        """The others."""
        return [(anchor, row) for anchor, row in self._addresses() if row.verdict == "not run"]

    @property
    def runs(self) -> list[Run]:
        """The runs behind the rows, each once."""
        found = {run.path: run for row in self.rows for run in row.details.runs}
        return [found[path] for path in sorted(found)]

    @property
    def drawn(self) -> set[str]:
        """The names of its figures."""
        return {figure.name for figure in self.figures}

    def _addresses(self) -> list[tuple[str, Row]]:
        taken: Counter[str] = Counter()
        found = []
        for each in self.rows:
            address = f"{self.name}.{slug(each.claim)}"
            taken[address] += 1
            again = f"-{taken[address]}" if taken[address] > 1 else ""
            found.append((address + again, each))
        return found


@dataclass(frozen=True)
class Material:
    """What a study's part is made from, beside its description."""

    claims: Sequence[Mapping[str, str]] = ()
    """Rows of ``claims.csv``."""
    basis: Mapping[str, Any] = field(default_factory=dict)
    """``claims.json``."""
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """run.json by path of the run."""
    figures: Sequence[Figure] = ()


def study(description: Mapping[str, Any], material: Material, preset: str = "") -> Study:
    """A study's part of the page.

    Args:
        description: ``study``, ``title``, ``paper``, ``reduction`` (what is smaller than in the
            paper), and ``claims``: their names in order.
        material: What it is made from.
        preset: The preset, for commands.
    """
    paper = description.get("paper") or ""
    if isinstance(paper, Mapping):
        arxiv = f"arXiv:{paper['arxiv']}" if paper.get("arxiv") else ""
        parts = [paper.get("authors"), paper.get("title"), paper.get("year"), arxiv]
        parts = [", ".join(part) if isinstance(part, list) else part for part in parts]
        paper = ". ".join(str(part) for part in parts if part)
    name = str(description["study"])
    context = Context(name, preset, description.get("seeds"), material.records)
    order = {claim: place for place, claim in enumerate(description.get("claims", ()))}
    rows = [
        row(entry, details(material.basis[entry["claim"]], context) if material.basis else None)
        for entry in material.claims
    ]
    rows.sort(key=lambda each: order.get(each.claim.partition("[")[0], len(order)))
    title = str(description.get("title") or name)
    reduction = str(description.get("reduction", ""))
    return Study(name, title, str(paper), tuple(rows), tuple(material.figures), reduction)


def row(entry: Mapping[str, str], behind: Details | None = None) -> Row:
    """One row of ``claims.csv`` (every field a text, empty where undefined) as it is printed."""
    numbers = {key: _number(entry[key]) for key in ("paper_value", "value", "ci_low", "ci_high")}
    paper, value, low, high = numbers.values()
    behind = behind or Details()
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
        plot=None if value is None else plot(value, low, high, paper=paper, region=behind.region),
        details=behind,
    )


def figure(path: Path, relative_to: Path) -> Figure:
    """A PNG file, inlined, and its link from a file in the folder ``relative_to``."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as image:
        flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        flat.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
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
            f"({', '.join(rest)}): verdicts say what holds in smaller runs, and none settles what "
            "a paper says of its own."
        )
    return found


def render(preset: str, studies: Sequence[Study]) -> tuple[str, str]:
    """The page as HTML and as Markdown, with the same claims."""
    from jinja2 import Environment, StrictUndefined

    kinds = {row.evidence for study in studies for row in study.rows}
    content = {
        "preset": preset,
        "studies": studies,
        "warnings": warnings(studies),
        "symbols": SYMBOLS,
        "judged": sum(len(study.judged) for study in studies),
        "evidence": {kind: text for kind, text in EVIDENCE.items() if kind in kinds},
    }
    html = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    html.filters["capital"] = lambda text: text[:1].upper() + text[1:]
    html.filters["slug"] = slug
    html.filters["code"] = _code
    text = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    text.filters["md"] = _markdown
    return html.from_string(PAGE).render(content), text.from_string(MARKDOWN).render(content)


def _code(text: str) -> Any:
    """Text with what stands in double backticks as code, escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"``(.+?)``", r"<code>\1</code>", str(escape(text))))


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
