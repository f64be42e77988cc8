"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3).

After a task the parameters that its predictions depend on are anchored by a quadratic penalty,
weighed by the diagonal of the Fisher information F_t at the weights theta_t reached there:

    L = L_task + lambda/2 * sum over earlier tasks t and parameters i of
                            F_t,i (theta_i - theta_t,i)^2                                      (1)

``F_t`` is the *mean over samples* x of the squared gradient of the log-likelihood of one sample,

    F_t,i = E_x E_y [(d log p(y | x, theta_t) / d theta_i)^2],

never the square of a batch's mean gradient; a public code that sums over n samples has a lambda
n times smaller. Which labels y are meant is the setting ``fisher``. The network is in eval mode
(batch norm on its stored statistics, which are no parameters and have no Fisher), the softmax is
over the outputs that compete in the training loss.

``accumulate: separate`` is equation 1 with its one penalty a task, in memory that does not grow:
completing the square, with F = sum_t F_t and the Fisher-weighted mean anchor a = sum_t F_t theta_t
/ F,

    sum_t F_t (theta - theta_t)^2 = F (theta - a)^2 + sum_t F_t (theta_t - a)^2.

One more task f, theta' on top of F, a, c (the last sum) gives F' = F + f, a' = a + f/F' (theta' -
a) and c' = c + F f/F' (theta' - a)^2, as for a weighted mean and its variance (West 1979).

``accumulate: online`` has one anchor, the last task's weights, and F <- gamma F + F_t: with gamma 1
Huszar's (2018, arXiv 1712.03847) correction, since these weights already minimise the earlier
penalties and the last loss together; with gamma below 1 Schwarz et al.'s (2018, arXiv 1805.06370)
gradual forgetting of old tasks. They write one more gamma in front of F in the penalty, which is
the same as a smaller lambda.

The penalty has curvature lambda F_i: gradient descent with step r and momentum m is stable on it
only while r lambda max F < 2 (1 + m); a strength beyond makes it diverge.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from forgetting import perceptron
from forgetting.ensemble import Net, Tensors
from forgetting.settings import Settings as Base
from forgetting.strategy import Context, Memory, Visits
from forgetting.tasks import Batch


class Settings(Base):
    """Strength of the penalty, and what exactly it is the strength of."""

    strength: Annotated[float, Field(ge=0)] = 100.0
    """Weight lambda of the penalty."""
    half: bool = True
    """Whether the penalty is lambda/2 (the paper) or lambda times the sum."""
    fisher: Literal["exact", "sampled", "empirical"] = "sampled"
    """Labels of the squared gradients: the expectation over the network's own predictions (one
    backward pass an output), one label drawn from them (the same on average), or the true label
    (not the Fisher information: it vanishes where the training images are fitted)."""
    images: Annotated[int, Field(gt=0)] | None = None
    """Training images of a task that its Fisher is the mean over, drawn once; null: all."""
    batch: Annotated[int, Field(gt=0)] = 16
    """Images whose gradients are held at once; each takes the memory of the weights three times
    over, except in an mlp with ReLU, which takes 500 gladly. Apart from rounding nothing but speed
    depends on it."""
    accumulate: Literal["separate", "online"] = "separate"
    """A penalty for every earlier task, or one around the last task's weights."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor of the earlier tasks' Fisher at every further task; only for online."""


def start(net: Net, settings: Settings) -> Memory:
    """Return the penalty, zero so far, and the Fisher of the task at hand, to be gathered."""
    if settings.strength == 0:
        return {}
    zeros = {name: torch.zeros_like(p, requires_grad=False) for name, p in net.params.items()}
    nothing = next(iter(zeros.values())).new_zeros(())
    return {
        "fisher": zeros,
        "anchor": {name: zero.clone() for name, zero in zeros.items()},
        "constant": nothing,
        "squares": {name: zero.clone() for name, zero in zeros.items()},
        "seen": nothing.clone(),
    }


def visits(settings: Settings) -> Visits:
    """Return what the Fisher is to be estimated from."""
    return Visits(settings.images if settings.strength else 0, settings.batch)


def visit(
    net: Net, memory: Memory, settings: Settings, *, batch: Batch, draws: Tensor, context: Context
) -> Memory:
    """Add the squared gradients of a batch."""
    competing = torch.ones_like(context.outputs) if batch.mask is None else batch.mask
    masks = competing.expand(len(batch.targets), -1)
    squares = squared_gradients(net, batch._replace(mask=masks), draws, settings.fisher)
    return {
        **memory,
        "squares": {name: total + squares[name] for name, total in memory["squares"].items()},
        "seen": memory["seen"] + len(batch.targets),
    }


def squared_gradients(net: Net, batch: Batch, draws: Tensor, fisher: str) -> dict[str, Tensor]:
    """Return the sum over a batch's samples of the squared gradients of their log-likelihoods.

    The batch's mask is (B, K); ``draws`` (B,), uniform in [0, 1), choose the sampled labels.
    """
    assert batch.mask is not None
    params = {name: p.detach() for name, p in net.params.items()}
    layers = perceptron.layers_of(net.training, params)
    if layers is not None:
        return _of_perceptron(layers, list(params), batch, draws, fisher)

    def of_one(image: Tensor, target: Tensor, mask: Tensor, draw: Tensor) -> dict[str, Tensor]:
        def log_likelihoods(params: Tensors) -> Tensor:
            (logits,) = net.using({**params, **net.buffers})(image[None])
            # A finite floor: an output at -inf has gradient nan, which p = 0 would not cancel.
            return logits.masked_fill(~mask, -1e9).log_softmax(dim=0)

        log_p, gradient_of, *_ = torch.func.vjp(log_likelihoods, params)
        every = torch.eye(len(log_p), dtype=log_p.dtype, device=log_p.device)
        if fisher == "exact":
            terms = list(zip(log_p.exp(), every, strict=True))
        else:
            label = target if fisher == "empirical" else inverse_cdf(log_p.exp(), draw)
            terms = [(log_p.new_ones(()), every.index_select(0, label[None])[0])]
        total = {name: torch.zeros_like(p) for name, p in params.items()}
        for weight, label_vector in terms:
            (gradient,) = gradient_of(label_vector)
            total = {name: sum_ + weight * gradient[name].square() for name, sum_ in total.items()}
        return total

    squares = torch.vmap(of_one)(batch.inputs, batch.targets, batch.mask, draws)
    return {name: square.sum(dim=0) for name, square in squares.items()}


def _of_perceptron(
    layers: list[perceptron.Layer], names: list[str], batch: Batch, draws: Tensor, fisher: str
) -> dict[str, Tensor]:
    """Do the same where no sample's gradient has to be formed."""
    assert batch.mask is not None
    vectors = batch.inputs.flatten(1)
    units = perceptron.forward(layers, vectors)
    shares = units[-1].masked_fill(~batch.mask, -1e9).softmax(dim=1)
    numbers = torch.arange(shares.shape[1], device=shares.device)
    # The slope of log p(y) at the logits is onehot(y) - p; what a square counts goes in as a root.
    if fisher == "exact":
        roots = shares.sqrt()
        slopes = [((numbers == y).to(shares) - shares) * roots[:, y, None] for y in numbers]
    else:
        label = batch.targets if fisher == "empirical" else torch.vmap(inverse_cdf)(shares, draws)
        slopes = [(label[:, None] == numbers).to(shares) - shares]
    total: list[Tensor] = []
    for slope in slopes:
        squares = perceptron.squared_gradients(layers, vectors, units, slope)
        found = [square for layer in squares for square in layer]
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return dict(zip(names, total, strict=True))


def inverse_cdf(probabilities: Tensor, draw: Tensor) -> Tensor:
    """Return the label whose stretch of [0, 1), as long as its probability, the draw falls in."""
    cdf = probabilities.cumsum(dim=0)
    below_one = draw.clamp(max=1 - torch.finfo(draw.dtype).eps)  # a draw may be rounded to 1
    return (cdf / cdf[-1] <= below_one).sum()


def after_task(
    net: Net, memory: Memory, settings: Settings, *, task: int, context: Context
) -> Memory:
    """Add the task's Fisher and anchor to the penalty; start to gather anew."""
    if settings.strength == 0:
        return memory
    fisher, anchor, constant = dict(memory["fisher"]), dict(memory["anchor"]), memory["constant"]
    for name, squares in memory["squares"].items():
        new, weights = squares / memory["seen"], net.params[name].detach()
        if settings.accumulate == "online":
            fisher[name], anchor[name] = settings.gamma * fisher[name] + new, weights.clone()
            continue
        total, move = fisher[name] + new, weights - anchor[name]
        share = torch.where(total > 0, new / total, 1)  # an anchor without Fisher is idle
        constant = constant + (fisher[name] * share * move.square()).sum()
        fisher[name], anchor[name] = total, anchor[name] + share * move
    return {
        "fisher": fisher,
        "anchor": anchor,
        "constant": constant,
        "squares": {name: torch.zeros_like(s) for name, s in memory["squares"].items()},
        "seen": torch.zeros_like(memory["seen"]),
    }


def loss(
    net: Net, batch: Batch, logits: Tensor, memory: Memory, settings: Settings, *, context: Context
) -> dict[str, Tensor]:
    """Return the penalty; none before the second task."""
    if settings.strength == 0 or context.old_groups.shape[0] == 0:
        return {}
    names = list(memory["fisher"])
    weights, anchors, fishers = (
        [tree[name] for name in names] for tree in (net.params, memory["anchor"], memory["fisher"])
    )
    distance = _Distance.apply(*weights, *anchors, *fishers)[0]
    factor = settings.strength / 2 if settings.half else settings.strength
    return {"ewc": factor * (memory["constant"] + distance)}


class _Distance(torch.autograd.Function):
    """sum F (theta - a)^2 over all parameters, whose gradient 2 F (theta - a) is at hand once its
    value is.

    Five passes over the weights, where the framework's own differentiation takes twelve; one call
    for all parameters, because a call costs a tenth of a millisecond.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        weights, anchors, fishers = _thirds(tensors)
        moves = [weight - anchor for weight, anchor in zip(weights, anchors, strict=True)]
        pulls = [fisher * move for fisher, move in zip(fishers, moves, strict=True)]
        dots = [
            torch.dot(pull.flatten(), move.flatten())
            for pull, move in zip(pulls, moves, strict=True)
        ]
        return torch.stack(dots).sum(), *pulls

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        pulls = [(2 * slope) * pull for pull in ctx.saved_tensors]
        return *pulls, *([None] * (2 * len(pulls)))


def _thirds(tensors: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    count = len(tensors) // 3
    return [tensors[start : start + count] for start in range(0, len(tensors), count)]
