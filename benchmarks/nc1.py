"""NC1 of features of 512 dimensions, against the form with the pseudo-inverse of Sigma_B.

Theirs is Tr(Sigma_W pinv(Sigma_B)) / C with both matrices of 512 x 512, as papers print it; ours
forms neither. One row is NC1 of a minibatch, as the regulariser needs it at every step
(``forgetting.strategies.nc1``), the other that of all features of a task, as the measure takes it
(``forgetting.measures.neural_collapse``). The floor is two products of the features with C vectors.
There theirs is dominated by Sigma_W, which takes d / 2C = 26 times as many operations as ours.
"""

import functools
from collections.abc import Iterator

import torch
from torch.nn import functional

from benchmarks._harness import Floor, Goal, Row, Scale, now
from forgetting.measures.neural_collapse import nc1
from forgetting.strategies.nc1 import batch_nc1

CLASSES = 10


def rows(scale: Scale) -> Iterator[Row]:
    dims, again = scale.of(512, 16), scale.of(20, 1)
    batch, every = scale.of(128, 40), scale.of(2000, 60)
    outputs = torch.ones(CLASSES, dtype=torch.bool)
    for samples, what, ours, goal in (
        (batch, "a batch of", lambda *of: batch_nc1(*of, outputs).item(), Goal(50.0)),
        (every, "all of", nc1, None),
    ):
        given = features_of(samples, dims)

        def remark(ours=ours, given=given) -> str:
            return f"values differ by {abs(ours(*given) / by_pseudo_inverse(*given) - 1):.0e}"

        yield Row(
            f"NC1, d = {dims}, {what} {samples} samples of {CLASSES} classes",
            "pseudo-inverse form",
            functools.partial(seconds, ours, given, again),
            functools.partial(seconds, by_pseudo_inverse, given, 1),
            goal=goal,
            floor=Floor(2 * 2.0 * samples * dims * CLASSES, dtype="float64"),
            remark=remark,
        )


def features_of(samples: int, dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % CLASSES
    means = torch.randn(CLASSES, dims, generator=generator, dtype=torch.float64)
    return means[labels] + torch.randn(means[labels].shape, generator=generator), labels


def seconds(of, given, again: int) -> float:
    started = now()
    for _ in range(again):
        of(*given)
    return (now() - started) / again


def by_pseudo_inverse(features: torch.Tensor, labels: torch.Tensor) -> float:
    members = functional.one_hot(labels, CLASSES).to(features)
    means = (members.T @ features) / members.sum(0)[:, None]
    within = features - means[labels]
    between = means - features.mean(0)
    sigma_w = within.T @ within / len(features)
    sigma_b = between.T @ between / CLASSES
    return (torch.trace(sigma_w @ torch.linalg.pinv(sigma_b)) / CLASSES).item()
