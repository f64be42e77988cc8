"""NC1 of features of 512 dimensions, against the form with the pseudo-inverse of Sigma_B.

Both start from the features, 2,000 of 10 classes, in float64. Ours forms no 512 x 512 matrix
(``forgetting.measures.neural_collapse``); theirs is Tr(Sigma_W pinv(Sigma_B)) / C, as papers
print it. A second row leaves out the features: class means and within-class scatter are there, and
only the trace is to be found; ours then takes the features' share of the first row, theirs the
pseudo-inverse alone. The floor is two products of the features with C vectors.
"""

from collections.abc import Iterator

import torch
from torch.nn import functional

from benchmarks._harness import Floor, Goal, Row, Scale, now
from forgetting.measures.neural_collapse import nc1

CLASSES = 10


def rows(scale: Scale) -> Iterator[Row]:
    samples, dims = scale.of(2000, 60), scale.of(512, 16)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % CLASSES
    means = torch.randn(CLASSES, dims, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, dims, generator=generator, dtype=torch.float64)
    features = means[labels] + noise
    again = scale.of(20, 1)

    def ours() -> float:
        started = now()
        for _ in range(again):
            nc1(features, labels)
        return (now() - started) / again

    def theirs() -> float:
        started = now()
        by_pseudo_inverse(features, labels)
        return now() - started

    def remark() -> str:
        difference = nc1(features, labels) / by_pseudo_inverse(features, labels) - 1
        return f"values differ by {abs(difference):.0e}"

    yield Row(
        f"NC1, d = {dims}, {samples} samples of {CLASSES} classes",
        "pseudo-inverse form",
        ours,
        theirs,
        goal=Goal(50.0),
        floor=Floor(2 * 2.0 * samples * dims * CLASSES, dtype="float64"),
        remark=remark,
    )


def by_pseudo_inverse(features: torch.Tensor, labels: torch.Tensor) -> float:
    members = functional.one_hot(labels, CLASSES).to(features)
    means = (members.T @ features) / members.sum(0)[:, None]
    within = features - means[labels]
    between = means - features.mean(0)
    sigma_w = within.T @ within / len(features)
    sigma_b = between.T @ between / CLASSES
    return (torch.trace(sigma_w @ torch.linalg.pinv(sigma_b)) / CLASSES).item()
