"""Packs: the seeds that are trained together in one job.

``seeds: [0, 1, 2]`` is three packs of one seed, ``["0-4", 5]`` a pack of five and one of one.
Packs are written down so that growing the list never renames a finished one.
"""

import re
from collections.abc import Sequence

from forgetting.errors import UserError
from forgetting.messages import shown

PACK = r"[0-9]+(?:-[0-9]+)?"
MOST = 1000
"""Seeds that are trained at all."""
DIGITS = 9
"""Of a seed."""


def members(pack: int | str) -> tuple[int, ...]:
    """Return the seeds of a pack.

    Raises:
        UserError: It is neither a number nor "first-last", or too large.
    """
    text = str(pack)
    if not re.fullmatch(PACK, text) or isinstance(pack, bool):
        raise UserError(f'found {shown(pack)}; a pack is a seed (5) or a range of seeds ("0-4")')
    first, _, last = text.partition("-")
    if max(len(first), len(last)) > DIGITS:
        raise UserError(f"found {shown(pack)}; a seed has at most {DIGITS} digits")
    seeds = range(int(first), int(last or first) + 1)
    if last and len(seeds) < 2:
        raise UserError(f'found {shown(pack)}; a range of seeds is "first-last" with first < last')
    if len(seeds) > MOST:
        raise UserError(f"found {shown(pack)}; there may be at most {MOST} seeds")
    return tuple(seeds)


def packs(listed: Sequence[int | str], *, upto: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the packs by name ("5", "0-4"), limited or extended to ``upto`` seeds.

    ``upto`` takes the listed packs in order as far as they fit, then single seeds, the smallest
    not yet taken first.

    Raises:
        UserError: A pack is malformed, or a seed is in two packs.
    """
    found = {str(pack): members(pack) for pack in listed}
    everything = [seed for seeds in found.values() for seed in seeds]
    if len(everything) > MOST:
        raise UserError(f"found {len(everything)} seeds; there may be at most {MOST}")
    if len({*everything}) < len(everything) or len(found) < len(listed):
        raise UserError(f"found {shown(list(listed))}; a seed may stand in one pack only")
    if upto is None:
        return found
    kept: dict[str, tuple[int, ...]] = {}
    taken: set[int] = set()
    for name, seeds in found.items():
        if len(taken) + len(seeds) > upto:
            break
        kept[name] = seeds
        taken.update(seeds)
    seed = 0
    while len(taken) < upto:
        if seed not in taken:
            kept[str(seed)] = (seed,)
            taken.add(seed)
        seed += 1
    return kept
