"""The table in Markdown, in a file that keeps the rows of earlier runs on the same machine."""

import math
import re
from pathlib import Path

from benchmarks._harness import Measured, NotMeasured

BEGIN, END = "<!-- table: written by python -m benchmarks -->", "<!-- end of table -->"
COLUMNS = ("row", "work", "against", "goal", "measured", "met", "ours", "theirs", "floor", "at")


def write(
    path: Path, found: dict[str, list[Measured]], *, machine: str, rates: str, at: str
) -> None:
    """Put rows, by name, into the table of a file; one that was there is replaced.

    Raises:
        NotMeasured: The file has a table of another machine.
    """
    text = path.read_text() if path.exists() else f"{BEGIN}\n{END}\n"
    before, inside, after = _parts(text)
    there = re.search(r"^Machine: (.*)\.$", inside, re.MULTILINE)
    if there and there[1] != machine:
        raise NotMeasured(
            f"{path} has the table of another machine ({there[1]}): give another --out"
        )
    kept: dict[str, list[str]] = {}
    for old in inside.splitlines():
        if old.startswith("| `"):
            kept.setdefault(old.split("`")[1], []).append(old)
    kept |= {name: [line(name, each, at) for each in rows] for name, rows in found.items()}
    table = [_cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    table += [each for name in sorted(kept) for each in kept[name]]
    head = f"Machine: {machine}.\n\nRates behind the floors, one thread: {rates}.\n\n"
    path.write_text(f"{before}{BEGIN}\n{head}" + "\n".join(table) + f"\n{END}{after}")


def _parts(text: str) -> tuple[str, str, str]:
    if BEGIN not in text or END not in text:
        return text.rstrip("\n") + "\n\n", "", "\n"
    before, rest = text.split(BEGIN, 1)
    inside, after = rest.split(END, 1)
    return before, inside, after


def line(name: str, found: Measured, at: str) -> str:
    row = found.row
    goal = "-" if row.goal is None else f"{row.goal.kind} {_value(row.goal.limit, row.value)}"
    first = [f"`{name}`", row.work, row.against, goal]
    if found.reason:
        return _cells([*first, f"not measured: {found.reason}", "", "", "", "", at])
    values = found.values
    shown = _value(found.median, row.value)
    if len(values) > 1:
        shown += f" ({_value(min(values), row.value)} to {_value(max(values), row.value)})"
    if found.remark:
        shown += f"; {found.remark}"
    met = "" if row.goal is None else "yes" if row.goal.met(found.median) else "**no**"
    own = sorted(found.ours)[len(found.ours) // 2]
    times = [_seconds(own, row.unit) if row.value in ("ratio", "cost", "over floor") else ""]
    times.append(_seconds(sorted(found.theirs)[len(found.theirs) // 2], "") if found.theirs else "")
    floor = (
        ""
        if math.isnan(found.floor)
        else f"{_seconds(found.floor, '')}; ours is {own / found.floor:.1f} x"
    )
    return _cells([*first, shown, met, *times, floor, at])


def _value(value: float, kind: str) -> str:
    if kind == "seconds":
        return _seconds(value, "")
    if kind == "share":
        return f"{100 * value:.0f} %"
    return f"{value:.{1 if value >= 10 else 2}f} x" + (" the floor" if kind == "over floor" else "")


def _seconds(value: float, unit: str) -> str:
    if value >= 100:
        text = f"{value / 60:.1f} min"
    elif value >= 1:
        text = f"{value:.2f} s"
    elif value >= 1e-3:
        text = f"{1e3 * value:.2f} ms"
    else:
        text = f"{1e6 * value:.0f} us"
    return f"{text} {unit}".strip()


def _cells(texts) -> str:
    return "| " + " | ".join(str(text).replace("|", "/") for text in texts) + " |"
