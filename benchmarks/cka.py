"""Debiased CKA of 5 stages at 10 checkpoints, 2,000 samples, against ckatorch.

Stages are as wide as those of a ResNet-18, pooled: 64, 64, 128, 256 and 512 features. Each
checkpoint's is compared with the same stage before training: 50 pairs. Both compute in float64;
ckatorch's ``cka_batch`` takes the n x n matrices of the samples. The floor is the products of the
features, of which ours needs three for a pair.
"""

from collections.abc import Iterator

import torch

from benchmarks._harness import Floor, Goal, NotMeasured, Row, Scale, now
from forgetting.measures.cka import linear_cka

WIDTHS = (64, 64, 128, 256, 512)
Pair = tuple[torch.Tensor, torch.Tensor]


def rows(scale: Scale) -> Iterator[Row]:
    samples, checkpoints = scale.of(2000, 30), scale.of(10, 1)
    found = pairs(samples, checkpoints)

    def remark() -> str:
        difference = max(abs(ours(*pair) - theirs(*pair)) for pair in found[:: checkpoints + 1])
        return f"values differ by at most {difference:.0e}"

    yield Row(
        f"debiased CKA, 5 stages x {checkpoints} checkpoints, n = {samples}",
        "ckatorch",
        lambda: seconds(ours, found),
        lambda: seconds(theirs, found),
        goal=Goal(3.0),
        floor=Floor(
            checkpoints * sum(3 * 2.0 * samples * width**2 for width in WIDTHS), dtype="float64"
        ),
        most=2,
        remark=remark,
    )


def pairs(samples: int, checkpoints: int) -> list[Pair]:
    """Return features of a stage before training, and the same after some of it."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for width in WIDTHS:
        first = torch.randn(samples, width, generator=generator).relu()
        for checkpoint in range(1, checkpoints + 1):
            noise = torch.randn(samples, width, generator=generator)
            found.append((first, (first + 0.1 * checkpoint * noise).relu()))
    return found


def seconds(cka, found: list[Pair]) -> float:
    started = now()
    for pair in found:
        cka(*pair)
    return now() - started


def ours(x: torch.Tensor, y: torch.Tensor) -> float:
    return linear_cka(x, y, debiased=True)


def theirs(x: torch.Tensor, y: torch.Tensor) -> float:
    try:
        from ckatorch import cka_batch
    except ImportError:
        raise NotMeasured(
            "ckatorch is not installed: pip install -c envs/constraints.txt -e '.[benchmarks]'"
        ) from None
    return cka_batch(x[None], y[None]).item()
