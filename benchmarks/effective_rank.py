"""The effective rank of 8 matrices of 2000 x 512, against singular values in float32.

Ours is ``effective_rank`` on the whole batch, in float64 by the eigenvalues of the Gram matrices;
theirs is ``torch.linalg.svdvals`` in float32 and the entropy of what it gives. The floor is half
of each Gram matrix, which is symmetric, and 4/3 n^3 operations of making it tridiagonal.
"""

from collections.abc import Iterator

import torch

from benchmarks._harness import Floor, Goal, Row, Scale, now
from forgetting.measures.erank import effective_rank


def rows(scale: Scale) -> Iterator[Row]:
    count, samples, features = scale.of(8, 2), scale.of(2000, 40), scale.of(512, 12)
    generator = torch.Generator().manual_seed(0)
    # Activations as they are late in training: few directions carry most.
    spectrum = torch.logspace(0, -4, features)
    matrices = torch.randn(count, samples, features, generator=generator) * spectrum

    def ours() -> float:
        started = now()
        effective_rank(matrices)
        return now() - started

    def theirs() -> float:
        started = now()
        by_singular_values(matrices)
        return now() - started

    def remark() -> str:
        exact = by_singular_values(matrices.double())
        errors = [
            (torch.as_tensor(found) / exact - 1).abs().max().item()
            for found in (effective_rank(matrices), by_singular_values(matrices))
        ]
        return f"largest error {errors[0]:.0e}, theirs {errors[1]:.0e}"

    yield Row(
        f"effective rank of {count} matrices of {samples} x {features}, in float64",
        "`torch.linalg.svdvals` in float32",
        ours,
        theirs,
        goal=Goal(1.6),
        floor=Floor(count * (1.0 * samples * features**2 + 4 / 3 * features**3), dtype="float64"),
        remark=remark,
    )


def by_singular_values(matrices: torch.Tensor) -> torch.Tensor:
    sigma = torch.linalg.svdvals(matrices)
    shares = sigma / sigma.sum(1, keepdim=True)
    return torch.special.entr(shares).sum(1).exp()
