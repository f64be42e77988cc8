"""Online learning of a multilayer perceptron: one image a step, each seen once, written out.

With one sample a step the gradient of a linear layer is an outer product, delta h^T, so a step of
stochastic gradient descent on the loss -log softmax(z)_y is, layer by layer from the head down,

    delta_head = softmax(z) - onehot(y),        delta_l = (W_l+1^T delta_l+1) * [h_l > 0],
    W_l <- (1 - rate * decay) W_l - rate * delta_l h_l-1^T,     b_l likewise,

(the chain rule), with deltas taken through the weights from before the step. The gradient is
never formed: every weight is read three times (forward, backward, update) and written once. What
the loop of ``forgetting.steps`` does in dozens of framework calls a layer is a handful here; the
results are the same up to rounding.

With layer normalisation between W_l h + b and the nonlinearity, delta_l is taken through it too
(on a CPU), by the framework's own kernels for one vector.

It applies to fully connected ReLU networks under plain stochastic gradient descent (with L2) where
all outputs compete and no strategy looks into the step (on a CPU it may look at the outputs of
stages afterwards); ``applies`` decides. Seeds are trained in
turn on a CPU; on a GPU together, by graphs of many steps captured once and replayed, so that no
time goes into launching kernels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from forgetting.ensemble import Ensemble, Tensors
from forgetting.stages import HEAD, Stages
from forgetting.strategy import Gradient, Written

STRETCH = 1000
"""Most steps taken at once, between which a training may be interrupted."""
GRAPH = 100
"""Steps of one captured graph."""


def applies(network: Stages, *, on_cpu: bool = True) -> bool:
    """Whether the network is linear layers with ReLU between them, on flattened images.

    On a CPU there may be layer normalisation before each ReLU.
    """
    *hidden, head = network.stages.values()
    if not isinstance(head, nn.Linear):
        return False
    known = [(nn.Linear, nn.ReLU), *([(nn.Linear, nn.LayerNorm, nn.ReLU)] if on_cpu else [])]
    for stage in hidden:
        layers = [layer for layer in stage.children() if not isinstance(layer, nn.Flatten)]
        if not any(_are(layers, kinds) for kinds in known):
            return False
    return all(
        layer.bias is not None for layer in network.modules() if isinstance(layer, nn.Linear)
    )


def _are(layers: Sequence[nn.Module], kinds: Sequence[type[nn.Module]]) -> bool:
    return len(layers) == len(kinds) and all(map(isinstance, layers, kinds))


class Online:
    """Steps of one sample for every seed of an ensemble, which is changed in place."""

    def __init__(self, ensemble: Ensemble) -> None:
        self._names = [
            (f"{name}.weight", f"{name}.bias")
            for name, module in ensemble.network.named_modules()
            if isinstance(module, nn.Linear)
        ]
        assert self._names[-1][0].startswith(f"stages.{HEAD}")
        # By the stage they are in, as linear layers are.
        self._norms = {
            stage: (name, module.eps)
            for stage, within in ensemble.network.stages.items()
            for name, module in within.named_modules(prefix=f"stages.{stage}")
            if isinstance(module, nn.LayerNorm)
        }
        self._ensemble = ensemble
        self._graph: _Graph | None = None

    @torch.no_grad()
    def run(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        rate: float,
        decay: float,
        terms: Callable[[int, Tensors], Written] | None = None,
        after: Callable[[int, Tensors], None] | None = None,
    ) -> dict[str, Tensor]:
        """Take one step for each sample in order.

        Args:
            inputs: (S, n, ...) images.
            targets: (S, n) outputs.
            rate: Learning rate.
            decay: L2 coefficient.
            terms: Returns loss terms of a network's own and their gradients, by place and
                parameters of the seed; on a CPU only.
            after: Is called after every step with its place and the outputs of all stages from
                before it, (1, width), which hold until the next; on a CPU and one seed only.

        Returns:
            ``loss``, ``accuracy`` and terms by name of every sample before its step, (n, S).
        """
        images = inputs.flatten(2)
        layers = [
            tuple(self._ensemble.spread(self._ensemble.params[name]) for name in names)
            for names in self._names
        ]
        wanted = nn.functional.one_hot(targets, layers[-1][1].shape[-1]).to(images.dtype)
        others: list[dict[str, Tensor]] = [{}]
        if images.device.type == "cuda":
            logits = self._on_gpu(layers, images, wanted, rate=rate, decay=decay)
        else:
            found, others = [], []
            for seed in range(len(images)):
                own = {n: self._ensemble.spread(p)[seed] for n, p in self._ensemble.params.items()}
                stages = list(self._ensemble.network.stages)
                norms = [self._norm(stage, own) for stage in stages[:-1]]
                logits, more = _one_network(
                    [(weight[seed], bias[seed]) for weight, bias in layers],
                    norms,
                    images[seed],
                    wanted[seed],
                    rate=rate,
                    decay=decay,
                    terms=None if terms is None else partial(terms, seed, own),
                    after=after,
                    stages=stages,
                    params=own,
                )
                found.append(logits)
                others.append(more)
            logits = torch.stack(found)
        losses = -(logits.log_softmax(dim=-1) * wanted).sum(dim=-1)
        hits = (logits.argmax(dim=-1) == targets).float()
        named = {n: torch.stack([more[n] for more in others], dim=1) for n in others[0]}
        return {"loss": losses.T, **named, "accuracy": hits.T}

    def _norm(self, stage: str, params: Tensors) -> "_LayerNorm | None":
        if stage not in self._norms:
            return None
        name, eps = self._norms[stage]
        return _LayerNorm(params[f"{name}.weight"], params[f"{name}.bias"], eps)

    def _on_gpu(
        self,
        layers: Sequence[tuple[Tensor, ...]],
        images: Tensor,
        wanted: Tensor,
        *,
        rate: float,
        decay: float,
    ) -> Tensor:
        found, steps = [], images.shape[1]
        whole = steps - steps % GRAPH
        if whole:
            fits = self._graph is not None and self._graph.settings == (rate, decay)
            if self._graph is None or not fits:
                self._graph = _Graph(layers, images, wanted, rate=rate, decay=decay)
            for start in range(0, whole, GRAPH):
                window = slice(start, start + GRAPH)
                found.append(self._graph.replay(images[:, window], wanted[:, window]))
        if whole < steps:
            rest = slice(whole, steps)
            found.append(
                all_networks(layers, images[:, rest], wanted[:, rest], rate=rate, decay=decay)
            )
        return torch.cat(found, dim=1)


class _LayerNorm:
    """Layer normalisation of one vector z, before a ReLU; scale and shift change in place."""

    def __init__(self, scale: Tensor, shift: Tensor, eps: float) -> None:
        self.scale, self.shift, self.eps = scale, shift, eps
        self.sums = torch.empty_like(shift)
        """(width,): z is written here."""
        self.gradients: list[Tensor] = []
        """Those of scale and shift."""

    def relu(self, out: Tensor) -> Tensor:
        """Write what comes out behind the ReLU, (width,)."""
        normed, self._mean, self._spread = torch.native_layer_norm(
            self.sums, self.shift.shape, self.scale, self.shift, self.eps
        )
        return torch.clamp_min(normed, 0, out=out)

    def backward(self, delta: Tensor) -> None:
        """Turn the gradient (width,) before the ReLU into that of z, in place; note the others."""
        of_sums, *self.gradients = torch.ops.aten.native_layer_norm_backward(
            delta, self.sums, self.shift.shape, self._mean, self._spread,
            self.scale, self.shift, [True, True, True],
        )  # fmt: skip
        delta.copy_(of_sums)


def _one_network(
    layers: Sequence[tuple[Tensor, Tensor]],
    norms: Sequence[_LayerNorm | None],
    images: Tensor,
    wanted: Tensor,
    *,
    rate: float,
    decay: float,
    params: Mapping[str, Tensor],
    terms: Callable[[], Written] | None,
    after: Callable[[int, Tensors], None] | None,
    stages: Sequence[str],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits (n, K) and terms (n,) before each step; ``layers`` change in place."""
    keep = 1.0 - rate * decay
    units = [bias.clone() for _, bias in layers]  # where each layer's output is written
    deltas = [bias.clone() for _, bias in layers]
    logits = torch.empty_like(wanted)
    hidden, (head, head_bias) = layers[:-1], layers[-1]
    relu_, zero_where_off = torch.relu_, torch.ops.aten.threshold_backward.grad_input
    addmv, mv, softmax = torch.addmv, torch.mv, torch.softmax
    downwards = [
        (layers[depth + 1][0].T, deltas[depth + 1], units[depth], deltas[depth], norms[depth])
        for depth in reversed(range(len(hidden)))
    ]
    normed = [norm for norm in norms if norm is not None]
    vectors = [*(bias for _, bias in layers), *(v for n in normed for v in (n.scale, n.shift))]
    noted: list[dict[str, Tensor]] = []
    pulls: list[dict[str, Gradient]] = []
    outputs = dict(zip(stages, (unit[None] for unit in units), strict=True))
    samples = zip(images.unbind(), wanted.unbind(), logits.unbind(), strict=True)
    for place, (image, target, out) in enumerate(samples):
        below = image
        for (weight, bias), unit, norm in zip(hidden, units, norms, strict=False):
            if norm is None:
                below = relu_(addmv(bias, weight, below, out=unit))
            else:
                addmv(bias, weight, below, out=norm.sums)
                below = norm.relu(unit)
        addmv(head_bias, head, below, out=out)
        softmax(out, 0, out=deltas[-1]).sub_(target)
        # Every delta and every term by the old weights, before any of them is changed.
        for upper, delta, unit, own, norm in downwards:
            zero_where_off(mv(upper, delta, out=own), unit, 0, grad_input=own)
            if norm is not None:
                norm.backward(own)
        if terms is not None:
            values, pulls = terms()
            noted.append(values)
        below = image
        for (weight, _), unit, delta in zip(layers, units, deltas, strict=True):
            weight.addr_(delta, below, beta=keep, alpha=-rate)
            below = unit
        if decay:
            torch._foreach_mul_(vectors, keep)
        slopes = [*deltas, *(gradient for norm in normed for gradient in norm.gradients)]
        torch._foreach_sub_(vectors, slopes, alpha=rate)
        for pull in pulls:
            for name, gradient in pull.items():
                if isinstance(gradient, Tensor):
                    params[name].sub_(gradient, alpha=rate)
                else:
                    params[name].addr_(*gradient, alpha=-rate)
        if after is not None:
            outputs[stages[-1]] = out[None]
            after(place, outputs)
    names = noted[0] if noted else {}
    return logits, {name: torch.stack([values[name] for values in noted]) for name in names}


def all_networks(
    layers: Sequence[tuple[Tensor, ...]],
    images: Tensor,
    wanted: Tensor,
    *,
    rate: float,
    decay: float,
) -> Tensor:
    """Return the logits (S, n, K) of all seeds before each step; ``layers`` change in place."""
    keep, found = 1.0 - rate * decay, []
    for step in range(images.shape[1]):
        below = [images[:, step, None]]  # (S, 1, width)
        for weight, bias in layers[:-1]:
            below.append(torch.baddbmm(bias[:, None], below[-1], weight.mT).relu_())
        weight, bias = layers[-1]
        logits = torch.baddbmm(bias[:, None], below[-1], weight.mT)
        found.append(logits[:, 0])
        deltas = [logits.softmax(dim=-1) - wanted[:, step, None]]
        for (weight, _), unit in zip(reversed(layers[1:]), reversed(below[1:]), strict=True):
            deltas.append(torch.bmm(deltas[-1], weight) * (unit > 0))
        for (weight, bias), delta, unit in zip(layers, reversed(deltas), below, strict=True):
            weight.baddbmm_(delta.mT, unit, beta=keep, alpha=-rate)
            bias.mul_(keep).sub_(delta[:, 0], alpha=rate)
    return torch.stack(found, dim=1)


class _Graph:
    """``GRAPH`` steps of all seeds as one captured CUDA graph over fixed places in memory."""

    def __init__(
        self,
        layers: Sequence[tuple[Tensor, ...]],
        images: Tensor,
        wanted: Tensor,
        *,
        rate: float,
        decay: float,
    ) -> None:
        self.settings = (rate, decay)
        self._images = images[:, :GRAPH].clone()
        self._wanted = wanted[:, :GRAPH].clone()
        saved = [tuple(tensor.clone() for tensor in layer) for layer in layers]
        # Capturing asks for a warm-up on another stream; what it trains is taken back.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            all_networks(layers, self._images[:, :3], self._wanted[:, :3], rate=rate, decay=decay)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = all_networks(layers, self._images, self._wanted, rate=rate, decay=decay)
        for layer, old in zip(layers, saved, strict=True):
            for tensor, value in zip(layer, old, strict=True):
                tensor.copy_(value)

    def replay(self, images: Tensor, wanted: Tensor) -> Tensor:
        """Take the steps for these samples."""
        self._images.copy_(images)
        self._wanted.copy_(wanted)
        self._graph.replay()
        return self._logits.clone()
