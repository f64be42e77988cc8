"""The spectrum of the Hessian of an MLP 784-100-100-10 on 2,000 samples, against curvlinops.

100 steps of Lanczos' method from each of 10 start vectors. Ours is what the measure does
(``forgetting.measures.hessian``): products, orthogonalisation, Ritz values and weights. Theirs is
``lanczos_approximate_spectrum`` of curvlinops, at equal steps and probes, without its default of
finding the bounds first (some 140 further products): it is given ours.

How right both are is shown against all eigenvalues of a network of 3,000 parameters: the largest
error of the fraction of eigenvalues below any value, which is what a density is for. Theirs is
read off its smoothed density, ours off the weights.

The floor is matrix products: twice a gradient's for every product with the Hessian.
"""

import functools
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks._harness import Floor, Goal, NotMeasured, Row, Scale, now
from forgetting.architectures import mlp
from forgetting.measures._curvature import dense_hessian, objective
from forgetting.measures._moments import Sample
from forgetting.measures.hessian import Settings, tridiagonals
from forgetting.randomness import torch_generator
from forgetting.spectra import ritz
from forgetting.stages import Stages


def rows(scale: Scale) -> Iterator[Row]:
    steps, probes, samples = scale.of(100, 8), scale.of(10, 2), scale.of(2000, 50)
    size, width = (28, 100) if not scale.tiny else (6, 5)
    problem = example(size, width, samples)
    bounds = extremes(ours(*problem, steps=steps, probes=1))
    layers = [size * size * width, width * width, width * 10]
    gradient = 2.0 * samples * (3 * sum(layers) - layers[0])

    def timed(side) -> float:
        started = now()
        side(*problem, steps=steps, probes=probes)
        return now() - started

    yield Row(
        f"Hessian spectrum, {steps} Lanczos steps x {probes} probes, "
        f"MLP {size * size}-{width}-{width}-10, {samples} samples",
        "curvlinops 3.0.1",
        lambda: timed(ours),
        lambda: timed(functools.partial(theirs, bounds=bounds)),
        goal=Goal(3.0),
        floor=Floor(2 * gradient * steps * probes),
        most=3,
        remark=functools.partial(accuracies, scale.of(36, 4), steps=steps, probes=probes),
    )


def example(size: int, width: int, samples: int) -> tuple[Stages, Sample]:
    """Return a network that has trained a little, and images of ten kinds."""
    generator = torch_generator("hessian")
    network = mlp.build((1, size, size), 10, mlp.Settings(hidden=(width, width)), generator)
    targets = torch.arange(samples) % 10
    kinds = torch.randn(10, 1, size, size, generator=generator)
    inputs = kinds[targets] + torch.randn(samples, 1, size, size, generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    return network, Sample(inputs, targets, None)


def ours(network: Stages, sample: Sample, *, steps: int, probes: int) -> list:
    """Return Ritz values and weights of every start vector."""
    settings = Settings(steps=(steps,), probes=probes)
    of = objective(network, sample, batch_size=settings.batch_size)
    return [ritz(*found) for found in tridiagonals(of, settings, ("hessian",))]


def theirs(
    network: Stages, sample: Sample, *, steps: int, probes: int, bounds: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a grid and the density there."""
    try:
        from curvlinops import HessianLinearOperator
        from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum
    except ImportError:
        raise NotMeasured(
            "curvlinops is not installed: pip install -c envs/constraints.txt -e '.[benchmarks]'"
        ) from None
    batches = list(zip(sample.inputs.split(500), sample.targets.split(500), strict=True))
    parameters = [p for p in network.parameters() if p.requires_grad]
    operator = HessianLinearOperator(
        network, torch.nn.CrossEntropyLoss(), parameters, batches, check_deterministic=False
    )
    torch.manual_seed(0)
    return lanczos_approximate_spectrum(operator, steps, num_repeats=probes, boundaries=bounds)


def extremes(found: list) -> tuple[float, float]:
    return min(v[0] for v, _ in found), max(v[-1] for v, _ in found)


def accuracies(width: int, *, steps: int, probes: int) -> str:
    """Return what is said of both against a dense spectrum, with 36 units in a layer of 3,034."""
    network, sample = example(6, width, 500)
    truth = np.sort(
        np.linalg.eigvalsh(dense_hessian(objective(network, sample, batch_size=500)).numpy())
    )
    found = ours(network, sample, steps=steps, probes=probes)
    grid, density = theirs(network, sample, steps=steps, probes=probes, bounds=extremes(found))
    below = np.searchsorted(truth, grid, side="right") / len(truth)
    read = np.mean([[w[v <= x].sum() for x in grid.tolist()] for v, w in found], axis=0)
    smoothed = np.cumsum(density.numpy())
    smoothed /= smoothed[-1]
    errors = [np.abs(one - below).max() for one in (read, smoothed)]
    return (
        f"of {len(truth)} eigenvalues the fraction below any value is off by at most "
        f"{errors[0]:.3f}, theirs {errors[1]:.3f}"
    )
