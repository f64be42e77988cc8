"""What a study may claim: the entries under ``claims:``, checked when the workflow is parsed.

A claim names a statistic (a file of ``evidence/``) and the side of a margin on which the paper
says it lies. Judging is the business of :mod:`forgetting.verdicts`; this module imports neither
pandas nor scipy, because every parse of the workflow reads it.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from forgetting.errors import UserError
from forgetting.messages import key_path, quoted, shown
from forgetting.settings import Settings

LIMIT = 1000
"""Claims that one entry stands for."""
Word = str | int | float
Placeholder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Holds(Settings):
    """The side of a margin that is claimed: exactly one of the three."""

    above: float | None = None
    """The statistic is larger than this."""
    below: float | None = None
    """The statistic is smaller than this."""
    between: tuple[float, float] | None = None
    """The statistic lies between these two."""

    @model_validator(mode="after")
    def _one_side(self) -> "Holds":
        if sum(side is not None for side in (self.above, self.below, self.between)) != 1:
            raise ValueError("give exactly one of above, below and between")
        if self.between is not None and self.between[0] > self.between[1]:
            raise ValueError("between: give the smaller number first")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """The claimed region as (low, high); infinite where it is open."""
        if self.between is not None:
            return self.between
        low = -float("inf") if self.above is None else self.above
        high = float("inf") if self.below is None else self.below
        return low, high

    def __str__(self) -> str:
        """The region in words."""
        if self.between is not None and self.between[0] == self.between[1]:
            return f"{self.between[0]:g}"
        if self.between is not None:
            return f"between {self.between[0]:g} and {self.between[1]:g}"
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


class Precondition(Settings):
    """What must hold in this run before the claim says anything."""

    statistic: str
    """File of ``evidence/`` that computes it."""
    settings: dict[str, Any]
    """Its settings."""
    holds: Holds
    """Where its interval must lie."""
    text: str
    """The precondition in words, such as "plain SGD forgets"."""
    tables: tuple[str, ...] = ()
    """Tables it reads beyond those that ``settings`` name."""


class Doubts(Settings):
    """What stands in the way of taking a claim at its word, whatever the verdict on it."""

    paper_and_code: str = ""
    """Where the paper's text and its code differ."""
    estimator: str = ""
    """What is unsound about how the paper, or this claim, measures it."""
    baseline: str = ""
    """Against which baselines alone it holds."""


class Claim(Settings):
    """One claim of a paper as a test over tidy tables."""

    statement: str
    """The claim in one sentence."""
    source: str
    """Where the paper says it, and how we know."""
    paper_value: float | str | None = None
    """The paper's value: a number is drawn beside ours, words are shown."""
    statistic: str
    """File of ``evidence/`` that computes ours, one value per seed."""
    settings: dict[str, Any]
    """Its settings."""
    tables: tuple[str, ...] = ()
    """Tables it reads beyond those that ``settings`` name, and ``runs``."""
    holds: Holds | None = None
    """The claimed region. With ``single_run`` the paper's value to its reading precision; left
    out there, exactly ``paper_value``."""
    precondition: Precondition | None = None
    """Unmet, the verdict is inconclusive."""
    single_run: bool = False
    """The paper's value is of one run: compared with our prediction interval for one run."""
    width_at_most: float | None = Field(None, gt=0)
    """With ``single_run``: a wider prediction interval would agree with anything."""
    main: bool = False
    """Whether it is one of the few that a reader looks for first."""
    note: str = ""
    """What a reader should know; shown beside the verdict."""
    doubts: Doubts = Doubts()
    """Shown beside the verdict, each under its heading."""
    figures: tuple[str, ...] = ()
    """The study's figures that show it; of a ladder with the rung, as in ``rank~mnist``."""
    for_each: dict[Placeholder, list[Word]] | list[dict[Placeholder, Word]] | None = None
    """Expands the claim: every combination of the lists, or each mapping of the list. ``{name}``
    in any text of the claim becomes the value."""

    @model_validator(mode="after")
    def _single_run(self) -> "Claim":
        if self.single_run:
            if self.width_at_most is None:
                raise ValueError("single_run needs width_at_most: how wide our interval may be")
            if self.holds is None and not isinstance(self.paper_value, float):
                raise ValueError("single_run needs a number as paper_value, or holds: {between}")
            if self.holds is not None and self.holds.between is None:
                raise ValueError("single_run compares with a value: use holds: {between: [a, b]}")
        elif self.holds is None:
            raise ValueError("holds is missing: give above, below or between")
        elif self.width_at_most is not None:
            raise ValueError("width_at_most goes with single_run: true")
        return self

    @property
    def region(self) -> Holds:
        """``holds``, or the paper's value itself."""
        if self.holds is not None:
            return self.holds
        assert isinstance(self.paper_value, float)
        return Holds(between=(self.paper_value, self.paper_value))


def expand(claims: Mapping[str, Claim | Mapping[str, Any]]) -> dict[str, Claim]:
    """The claims with every ``for_each`` written out; expanding twice changes nothing.

    An expanded claim is called ``name[value, value]``.

    Raises:
        UserError: An entry is not a claim, or a text names a placeholder that for_each lacks.
    """
    expanded = {}
    for name, entry in claims.items():
        raw = entry.model_dump(mode="json") if isinstance(entry, Claim) else dict(entry)
        _validated(name, raw)  # so that an error names the entry as it was written
        for bindings in _bindings(name, raw.pop("for_each", None)):
            label = f"{name}[{', '.join(str(value) for value in bindings.values())}]"
            filled = {
                key: value if key == "paper_value" else _fill(value, bindings, name)
                for key, value in raw.items()
            }
            identity = label if bindings else name
            if identity in expanded:
                raise UserError(f"{_place(name)}.for_each: {quoted(identity)} occurs twice")
            expanded[identity] = _validated(identity, filled)
    return expanded


def needed_tables(claims: Iterable[Claim]) -> list[str]:
    """Names of the tables that judging these claims reads, sorted."""
    names = {"runs"}
    for claim in claims:
        parts: list[Claim | Precondition] = [claim]
        parts += [claim.precondition] if claim.precondition is not None else []
        for part in parts:
            names.update(part.tables)
            names.update(_tables(part.settings))
    return sorted(names)


def _tables(settings: Mapping[str, Any]) -> Iterator[str]:
    """Tables that settings name, those of a covariate or a bound among them."""
    if "table" in settings:
        yield settings["table"]
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from (table for table in _tables(value) if table)  # "": that of the first


def _place(name: str) -> str:
    return key_path(("claims", name))


def _validated(name: str, raw: Mapping[str, Any]) -> Claim:
    try:
        return Claim.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = key_path(("claims", name, *first["loc"]))
        raise UserError(f"{where}: {first['msg']}; found {shown(first['input'])}") from None


def _bindings(name: str, for_each: Any) -> list[dict[str, Word]]:
    if not for_each:
        return [{}]
    if isinstance(for_each, list):
        return for_each
    if (count := math.prod(map(len, for_each.values()))) > LIMIT:
        raise UserError(
            f"{_place(name)}.for_each: found {count} combinations; at most {LIMIT} a claim"
        )
    combinations = itertools.product(*for_each.values())
    return [dict(zip(for_each, values, strict=True)) for values in combinations]


def _fill(part: Any, bindings: Mapping[str, Word], name: str) -> Any:
    """Replace placeholders; a text that is one placeholder takes the value with its type."""
    if isinstance(part, Mapping):
        return {key: _fill(value, bindings, name) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_fill(value, bindings, name) for value in part]
    if not isinstance(part, str) or not bindings:
        return part
    names = re.findall(r"\{(\w+)\}", part)
    for placeholder in names:
        if placeholder not in bindings:
            raise UserError(
                f"{_place(name)}: {{{placeholder}}} is not in for_each, "
                f"which has {', '.join(bindings)}"
            )
    if len(names) == 1 and part == f"{{{names[0]}}}":
        return bindings[names[0]]
    return re.sub(r"\{(\w+)\}", lambda match: str(bindings[match[1]]), part)
