"""Online learning of a multilayer perceptron: one image a step, each seen once, written out.

With one sample a step the gradient of a linear layer is an outer product, delta h^T, so a step of
stochastic gradient descent on the loss -log softmax(z)_y is, layer by layer from the head down,

    delta_head = softmax(z) - onehot(y),        delta_l = (W_l+1^T delta_l+1) * [h_l > 0],
    W_l <- (1 - rate * decay) W_l - rate * delta_l h_l-1^T,     b_l likewise,

(the chain rule), with deltas taken through the weights from before the step. The gradient is
never formed: every weight is read three times (forward, backward, update) and written once (with
L2 small matrices, which stay in the cache, are read and written once more). What
the loop of ``forgetting.steps`` does in dozens of framework calls a layer is a handful here; the
results are the same up to rounding.

On a CPU the vectors are numpy's and the products BLAS's: a call of theirs costs a third of one of
the framework, and for networks of this size calls are what is paid for. There may be layer
normalisation between W_l h + b and the nonlinearity; delta_l is then taken through it too.

It applies to fully connected ReLU networks under plain stochastic gradient descent (with L2) where
all outputs compete and no strategy looks into the step (on a CPU it may look at the outputs of
stages afterwards); ``applies`` decides. Seeds are trained in turn on a CPU; on a GPU together, by
graphs of many steps captured once and replayed, so that no time goes into launching kernels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from forgetting.ensemble import Ensemble
from forgetting.stages import HEAD, Stages, stage_of
from forgetting.strategy import Array, Arrays, Gradient, Written

STRETCH = 1000
"""Most steps taken at once, between which a training may be interrupted."""
GRAPH = 100
"""Steps of one captured graph."""
LARGE = 2**15
"""Weights of a matrix from which on a pass over them costs more than a call of the framework."""


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
        terms: Callable[[int, Arrays], Written] | None = None,
        after: Callable[[int, Arrays, Arrays], None] | None = None,
    ) -> dict[str, Tensor]:
        """Take one step for each sample in order.

        Args:
            inputs: (S, n, ...) images.
            targets: (S, n) outputs.
            rate: Learning rate.
            decay: L2 coefficient.
            terms: Returns loss terms of a network's own and their gradients, by position and
                parameters of the seed; on a CPU only.
            after: Is called after every step with its place, the parameters, and the outputs of
                all stages from before it, (width,), which hold until the next; on a CPU and one
                seed only.

        Returns:
            ``loss``, ``accuracy`` and terms by name of every sample before its step, (n, S).
        """
        images = inputs.flatten(2)
        outputs = self._ensemble.params[self._names[-1][1]].shape[-1]
        wanted = nn.functional.one_hot(targets, outputs).to(images.dtype)
        others: list[dict[str, list[float]]] = [{}]
        if images.device.type == "cuda":
            layers = [
                tuple(self._ensemble.spread(self._ensemble.params[name]) for name in names)
                for names in self._names
            ]
            logits = self._on_gpu(layers, images, wanted, rate=rate, decay=decay)
        else:
            logits, others = images.new_empty(wanted.shape), []
            for seed in range(len(images)):
                network = _Network(self._arrays(seed), self._names, self._norms)
                with np.errstate(all="ignore"):  # whether a run diverges is looked at by the loop
                    more = network.run(
                        images[seed].numpy(),
                        targets[seed].tolist(),
                        logits[seed].numpy(),
                        rate=rate,
                        decay=decay,
                        terms=None if terms is None else partial(terms, seed),
                        after=after,
                    )
                others.append(more)
        losses = -(logits.log_softmax(dim=-1) * wanted).sum(dim=-1)
        hits = (logits.argmax(dim=-1) == targets).float()
        named = {n: losses.new_tensor([more[n] for more in others]).T for n in others[0]}
        return {"loss": losses.T, **named, "accuracy": hits.T}

    def _arrays(self, seed: int) -> dict[str, Array]:
        """Return the parameters of a seed, in the memory of the ensemble's."""
        spread = self._ensemble.spread
        return {n: spread(p)[seed].detach().numpy() for n, p in self._ensemble.params.items()}

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


class _Network:
    """One network on a CPU: its parameters, which change in place, and vectors that stay."""

    def __init__(
        self,
        params: Arrays,
        names: Sequence[tuple[str, str]],
        norms: Mapping[str, tuple[str, float]],
    ) -> None:
        # Loaded by the trainings that take such steps alone: it takes 0.2 s.
        from scipy.linalg.blas import get_blas_funcs

        self._params = params
        self._layers = [(params[weight], params[bias]) for weight, bias in names]
        # Else BLAS would add to a copy.
        assert all(weight.flags.c_contiguous for weight, _ in self._layers)
        self._stages = [stage_of(weight) for weight, _ in names]
        self._norms = [
            _LayerNorm(params[f"{at}.weight"], params[f"{at}.bias"], eps) if at else None
            for at, eps in (norms.get(stage, ("", 0.0)) for stage in self._stages)
        ]
        self._add_outer = get_blas_funcs("ger", [self._layers[0][0]])
        """Add alpha x y^T to a matrix, in place where its columns are contiguous."""

    def run(
        self,
        images: Array,
        labels: Sequence[int],
        logits: Array,
        *,
        rate: float,
        decay: float,
        terms: Callable[[Arrays], Written] | None,
        after: Callable[[int, Arrays, Arrays], None] | None,
    ) -> dict[str, list[float]]:
        """Take a step for each image (n, pixels).

        Writes the logits (n, K) before each step and returns terms, by name and step.
        """
        keep = 1.0 - rate * decay
        layers, norms, add_outer = self._layers, self._norms, self._add_outer
        units = [np.empty_like(bias) for _, bias in layers]  # where each layer's output is written
        deltas = [np.empty_like(bias) for _, bias in layers]
        off = [np.empty(len(bias), bool) for _, bias in layers]
        (head, head_bias), scores, error = layers[-1], units[-1], deltas[-1]
        upwards = list(zip(layers[:-1], units, norms, strict=False))
        downwards = [
            (layers[depth + 1][0].T, deltas[depth + 1], units[depth], deltas[depth], off[depth],
             norms[depth])
            for depth in reversed(range(len(layers) - 1))
        ]  # fmt: skip
        updates = [
            self._update(weight, delta, keep=keep, rate=rate)
            for (weight, _), delta in zip(layers, deltas, strict=True)
        ]
        normed = [norm for norm in norms if norm is not None]
        vectors = [(bias, delta) for (_, bias), delta in zip(layers, deltas, strict=True)]
        vectors += [pair for norm in normed for pair in norm.learned]
        outputs = dict(zip(self._stages, units, strict=True))
        noted: dict[str, list[float]] = {}
        pulls: list[dict[str, Gradient]] = []
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            below = image
            for (weight, bias), unit, norm in upwards:
                weight.dot(below, out=unit)
                unit += bias
                if norm is not None:
                    norm.forward(unit)
                np.maximum(unit, 0, out=unit)
                below = unit
            head.dot(below, out=scores)
            scores += head_bias
            logits[place] = scores
            # softmax(z) - onehot(y)
            np.subtract(scores, scores.max(), out=error)
            np.exp(error, out=error)
            error /= error.sum()
            error[label] -= 1
            # Every delta and every term by the old weights, before any of them is changed.
            for upper, delta, unit, own, dead, norm in downwards:
                upper.dot(delta, out=own)
                np.less_equal(unit, 0, out=dead)
                np.copyto(own, 0, where=dead)
                if norm is not None:
                    norm.backward(own)
            if terms is not None:
                values, pulls = terms(self._params)
                for name, value in values.items():
                    noted.setdefault(name, []).append(value)
            below = image
            for update, unit in zip(updates, units, strict=True):
                update(below)
                below = unit
            for vector, slope in vectors:
                if decay:
                    vector *= keep
                vector -= rate * slope
            for pull in pulls:
                for name, gradient in pull.items():
                    if isinstance(gradient, tuple):
                        column, row = gradient
                        add_outer(-rate, row, column, a=self._params[name].T, overwrite_a=True)
                    else:
                        self._params[name][...] -= rate * gradient
            if after is not None:
                after(place, self._params, outputs)
        return noted

    def _update(
        self, weight: Array, delta: Array, *, keep: float, rate: float
    ) -> Callable[[Array], object]:
        """Return a function: weight <- keep weight - rate delta below^T, in place."""
        turned, add_outer = weight.T, self._add_outer
        if keep == 1:
            return lambda below: add_outer(-rate, below, delta, a=turned, overwrite_a=True)
        if weight.size >= LARGE:  # BLAS has no such product in one pass over the weights
            tensor, column = torch.from_numpy(weight), torch.from_numpy(delta)
            return lambda below: tensor.addr_(
                column, torch.from_numpy(below), beta=keep, alpha=-rate
            )

        def in_two_passes(below: Array) -> None:
            np.multiply(weight, keep, out=weight)
            add_outer(-rate, below, delta, a=turned, overwrite_a=True)

        return in_two_passes


class _LayerNorm:
    """Layer normalisation of one vector z of n sums: scale * (z - mean) / spread + shift.

    With g the gradient by what comes out times scale and z^ = (z - mean) / spread, that by z is
    (g - mean g - z^ mean(g z^)) / spread (the chain rule).
    """

    def __init__(self, scale: Array, shift: Array, eps: float) -> None:
        self._scale, self._shift, self._eps = scale, shift, eps
        self._mean = np.full_like(shift, 1 / len(shift))  # its product with a vector
        self._normed, self._scratch = np.empty_like(shift), np.empty_like(shift)
        self._of_scale, self._of_shift = np.empty_like(shift), np.empty_like(shift)
        self.learned = [(scale, self._of_scale), (shift, self._of_shift)]
        """The parameters with their gradients."""

    def forward(self, sums: Array) -> None:
        """Turn z (n,) into what comes out, in place."""
        normed = np.subtract(sums, self._mean.dot(sums), out=self._normed)
        self._spread = math.sqrt(normed.dot(normed) / len(normed) + self._eps)
        normed /= self._spread
        np.multiply(normed, self._scale, out=sums)
        sums += self._shift

    def backward(self, delta: Array) -> None:
        """Turn the gradient (n,) by what comes out into that by z, in place; note the others."""
        normed, mean = self._normed, self._mean
        np.copyto(self._of_shift, delta)
        np.multiply(delta, normed, out=self._of_scale)
        delta *= self._scale
        both = np.multiply(normed, delta.dot(normed) / len(normed), out=self._scratch)
        both += mean.dot(delta)
        delta -= both
        delta /= self._spread


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
