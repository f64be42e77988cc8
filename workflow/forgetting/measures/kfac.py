"""Kronecker factors of the curvature of linear layers: their ranks, and what they leave out.

For a linear layer with inputs a (with a 1 for the bias) and outputs s, K-FAC (Martens & Grosse
2015, arXiv 1503.05671) takes the layer's block of the generalised Gauss-Newton matrix, the mean
of (g g^T) (x) (a a^T) over samples, for the product of the means G (x) A:

    A = E[a a^T],   G = E[g g^T]

so that its rank is the product of theirs: Prakash et al. (2025, arXiv 2509.22335, section 7)
argue from this for raising the rank of a layer's inputs. ``ggn``: the columns g of a sample are
J^T R with J the derivative of the logits in s and R R^T = diag(p) - p p^T, exact for the softmax
(no labels are drawn); ``empirical``: g is the gradient of the sample's loss.

Exact where g does not depend on a: with one sample, or with a network of one layer that gives
every sample the same p. How far it is off elsewhere is measured where the network is small
enough to have its dense matrices built. Batch norm uses its running statistics.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor, nn

from forgetting.errors import UserError
from forgetting.measures._curvature import (
    Objective,
    dense_gauss_newton,
    dense_hessian,
    objective,
    softmax_roots,
)
from forgetting.measures._moments import Samples, looks, network, tabled
from forgetting.measures._settings import Moments
from forgetting.measures.erank import effective_rank

if TYPE_CHECKING:
    from forgetting.runs import RunView

COLUMNS = {
    "seed": "int64",
    "task": "int64",
    "layer": "str",
    "statistic": "str",
    "value": "float64",
    "moment": "str",
    "split": "str",
    "eps": "float64",
    "size": "int64",
    "samples": "int64",
}


class Settings(Moments):
    """At which moments, on which images, and which factors."""

    splits: Annotated[tuple[Literal["train", "held_out"], ...], Field(min_length=1)] = ("train",)
    """Images trained on, or the task's test images."""
    gradients: Literal["ggn", "empirical"] = "ggn"
    """What the factor of the gradients is made of; the first takes a backward pass an output."""
    eps: tuple[Annotated[float, Field(gt=0)], ...] = (0.0001, 0.001, 0.01, 0.1)
    """Levels of the epsilon-ranks: of a factor relative to its largest eigenvalue, of the product
    as they are."""
    max_parameters: Annotated[int, Field(ge=0)] = 2000
    """Networks of up to so many parameters are compared with their dense matrices, which takes as
    many Hessian-vector products."""
    batch_size: Annotated[int, Field(gt=0)] = 100
    """Images at once; changes time and memory only."""


class Factors(NamedTuple):
    """The two factors of one linear layer, float64."""

    inputs: Tensor
    """A, (inputs + 1, inputs + 1) with a bias (last row and column), else (inputs, inputs)."""
    gradients: Tensor
    """G, (outputs, outputs)."""
    bias: bool

    def block(self) -> Tensor:
        """G (x) A in the order of the layer's parameters: weight (outputs, inputs), then bias."""
        product = torch.kron(self.gradients, self.inputs)
        if not self.bias:
            return product
        places = torch.arange(len(product), device=product.device)
        places = places.view(len(self.gradients), len(self.inputs))
        order = torch.cat([places[:, :-1].flatten(), places[:, -1]])
        return product[order[:, None], order]


def kronecker_factors(of: Objective, *, gradients: str = "ggn") -> dict[str, Factors]:
    """Return the factors of every linear layer, by the layer's name without ``stages.``.

    Args:
        of: The mean cross-entropy of a network.
        gradients: ``ggn`` or ``empirical`` (see the module).

    Raises:
        UserError: A linear layer is applied to anything but one vector an image.
    """
    layers = {
        name.removeprefix("stages."): module
        for name, module in of.network.named_modules()
        if isinstance(module, nn.Linear)
    }
    first: dict[str, Any] = dict.fromkeys(layers, 0)
    second: dict[str, Any] = dict.fromkeys(layers, 0)
    for images, targets in of.batches():
        passed, logits = _passed(of, layers, images)
        if gradients == "ggn":
            fields = softmax_roots(logits.detach()).unbind(2)
        else:
            wanted = nn.functional.one_hot(targets, logits.shape[1])
            fields = (logits.detach().softmax(1) - wanted,)
        for name, (incoming, _) in passed.items():
            first[name] = first[name] + _second_moment(incoming)
        outputs = [outgoing for _, outgoing in passed.values()]
        for field in fields:
            slopes = torch.autograd.grad(
                logits, outputs, field, retain_graph=True, materialize_grads=True
            )
            for name, slope in zip(passed, slopes, strict=True):
                second[name] = second[name] + _second_moment(slope)
    count = len(of.sample.targets)
    return {
        name: Factors(first[name] / count, second[name] / count, layer.bias is not None)
        for name, layer in layers.items()
    }


def measure(run: "RunView", settings: Settings) -> pd.DataFrame:
    """Ranks of the Kronecker factors at each moment, for every seed.

    Columns: seed, task, layer, statistic, value, moment, split, eps (NaN where none is meant),
    size (order of the matrix), samples.

    Statistics, for every linear layer: ``effective_rank_inputs`` and
    ``effective_rank_gradients``, the effective rank of A and of G (entropy of their eigenvalues,
    not of the roots); ``epsilon_rank_inputs`` and ``epsilon_rank_gradients``, the number of their
    eigenvalues above eps times the largest; ``epsilon_rank_product``, the number of eigenvalues of
    G (x) A above eps. For small networks: ``error_ggn`` and ``error_hessian``,
    ||G (x) A - B||_F / ||B||_F with B the layer's block of the dense matrix (NaN where B is 0),
    and with layer ``all`` the same for the matrix of all layers, if these have all the
    parameters, blocks beside the diagonal being zero in the factorised one.

    A diverged seed has no rows from the task on after which its weights are not finite.
    ``attrs["probe"]`` identifies the samples.
    """
    samples = Samples(run, settings.images, settings.added)
    rows: list[dict[str, Any]] = []
    for moment, index, seed in looks(run, settings):
        for split in settings.splits:
            measured = network(run, index, moment)
            of = objective(
                measured,
                samples.draw(index, moment.task, split, measured),
                batch_size=settings.batch_size,
            )
            factors = kronecker_factors(of, gradients=settings.gradients)
            found = [row for name in factors for row in _ranks(name, factors[name], settings)]
            if of.dim <= settings.max_parameters:
                found += _errors(of, factors)
            about = {
                "seed": seed,
                "task": moment.task,
                "moment": moment.moment,
                "split": split,
                "samples": len(of.sample.targets),
            }
            rows += [about | row for row in found]
    return tabled(rows, COLUMNS, samples)


def errors(of: Objective, factors: dict[str, Factors], dense: Tensor) -> dict[str, float]:
    """Return ||G (x) A - B||_F / ||B||_F for every layer's block B of a dense matrix (P, P).

    Under ``all`` the same for the whole matrix, where the layers have all the parameters.
    """
    places = _places(of)
    found, squares, covered = {}, dense.double().square().sum(), 0
    difference = squares.clone()
    for name, of_layer in factors.items():
        rows = places[name]
        block = dense[rows[:, None], rows].double()
        wrong = (of_layer.block() - block).square().sum()
        norm = block.square().sum()
        found[name] = float((wrong / norm).sqrt()) if norm > 0 else np.nan
        difference = difference - norm + wrong
        covered += len(rows)
    if covered == of.dim:
        ratio = difference.clamp_min(0) / squares
        found["all"] = float(ratio.sqrt()) if squares > 0 else np.nan
    return found


def _passed(
    of: Objective, layers: dict[str, nn.Linear], images: Tensor
) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """What goes into (with a 1 for the bias) and comes out of every linear layer; the logits."""
    passed: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            (incoming,) = inputs
            if incoming.dim() != 2 or name in passed:
                raise UserError(f"measure kfac: layer {name} sees an image more than once")
            if module.bias is not None:
                ones = incoming.new_ones(len(incoming), 1)
                incoming = torch.cat([incoming, ones], dim=1)
            passed[name] = (incoming.detach(), output)
            # What follows may change its input in place, which must not be what is kept.
            return output.clone()

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    try:
        parameters = [parameter.requires_grad_() for parameter in of.parameters]
        logits = of.logits(parameters, images)
    finally:
        for hook in hooks:
            hook.remove()
    return passed, logits


def _places(of: Objective) -> dict[str, Tensor]:
    """Where the parameters of every linear layer are in the vector of all."""
    places: dict[str, list[Tensor]] = {}
    start = 0
    for name, parameter in of.network.named_parameters():
        layer, _, _ = name.removeprefix("stages.").rpartition(".")
        along = torch.arange(start, start + parameter.numel(), device=parameter.device)
        places.setdefault(layer, []).append(along)
        start += parameter.numel()
    return {layer: torch.cat(parts) for layer, parts in places.items()}


def _ranks(name: str, factors: Factors, settings: Settings) -> Iterator[dict[str, Any]]:
    spectra = {}
    for kind in ("inputs", "gradients"):
        matrix = getattr(factors, kind)
        values = spectra[kind] = torch.linalg.eigvalsh(matrix.cpu()).clamp_min(0)
        yield _row(name, f"effective_rank_{kind}", effective_rank(matrix), len(matrix))
        for eps in settings.eps:
            count = float((values > eps * values[-1]).sum())
            yield _row(name, f"epsilon_rank_{kind}", count, len(matrix), eps)
    product = torch.outer(spectra["gradients"], spectra["inputs"])
    for eps in settings.eps:
        count = float((product > eps).sum())
        yield _row(name, "epsilon_rank_product", count, product.numel(), eps)


def _errors(of: Objective, factors: dict[str, Factors]) -> Iterator[dict[str, Any]]:
    dense = {"error_ggn": dense_gauss_newton(of), "error_hessian": dense_hessian(of)}
    for statistic, matrix in dense.items():
        for layer, error in errors(of, factors, matrix).items():
            size = (
                len(factors[layer].inputs) * len(factors[layer].gradients)
                if layer in factors
                else of.dim
            )
            yield _row(layer, statistic, error, size)


def _row(
    layer: str, statistic: str, value: float, size: int, eps: float = np.nan
) -> dict[str, Any]:
    return {"layer": layer, "statistic": statistic, "value": value, "size": size, "eps": eps}


def _second_moment(rows: Tensor) -> Tensor:
    rows = rows.detach().double()
    return rows.mT @ rows
