"""Actor and critic: two perceptrons side by side that see the same observation.

Stages: ``actor1``, ``critic1``, ``actor2``, ``critic2``, ..., ``head``. The head puts out the means
of the actions, the logarithms of their standard deviations, which do not depend on the observation
and start at 0, and the value, side by side: (N, 2 * actions + 1).

Prakash et al. (2025, arXiv 2509.22335) have one hidden layer of 256 in each, Dohare et al. (2024,
Nature 632) two, both with ReLU, LeCun's uniform weights and zero biases.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from forgetting.architectures._initial import redraw
from forgetting.architectures._layer_norm import LayerNorm
from forgetting.settings import Settings as BaseSettings
from forgetting.stages import HEAD, Layer, Stages, construct

VECTORISE = True
ACTOR, CRITIC = "actor", "critic"
Function = Callable[[NDArray[Any]], NDArray[Any]]


class Settings(BaseSettings):
    """Widths of the hidden stages of either, and their normalisation."""

    hidden: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (256,)
    """Width of every hidden layer, input side first."""
    layer_norm: bool = False
    """Whether every hidden layer is normalised before its nonlinearity."""
    initialisation: Literal["default", "lecun_uniform"] = "lecun_uniform"
    """PyTorch's default distribution, or LeCun's uniform one with zero biases (both papers)."""


class LogStd(Layer):
    """The logarithm of every action's standard deviation: parameters of their own."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.empty(actions))

    def initialise(self, generator: torch.Generator) -> None:
        """Zero: a standard deviation of 1."""
        self.log_std.zero_()

    def matrices(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """No weight matrix."""
        return {}

    def forward(self, means: Tensor) -> Tensor:
        """The same for every mean (N, actions)."""
        return self.log_std.expand_as(means)


class Head(nn.Module):
    """What actor and critic put out, side by side."""

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.actor = nn.Linear(width, actions)
        self.spread = LogStd(actions)
        self.critic = nn.Linear(width, 1)

    def forward(self, actor: Tensor, critic: Tensor) -> Tensor:
        """Features (N, width) of both to (N, 2 * actions + 1)."""
        means = self.actor(actor)
        return torch.cat([means, self.spread(means), self.critic(critic)], dim=-1)


class ActorCritic(Stages):
    """Two chains of hidden stages that meet in the head."""

    def forward(self, images: Tensor, *, every_stage: bool = False) -> Any:
        """The head's output for observations (N, n); with ``every_stage`` as ``activations``."""
        outputs = self.activations(images)
        return outputs if every_stage else outputs[HEAD]

    def activations(self, images: Tensor) -> dict[str, Tensor]:
        """The output of every stage for observations (N, n), after its nonlinearity."""
        outputs: dict[str, Tensor] = {}
        features = {ACTOR: images, CRITIC: images}
        for name, stage in self.stages.items():
            if name == HEAD:
                outputs[name] = stage(features[ACTOR], features[CRITIC])
            else:
                which = _of(name)
                features[which] = outputs[name] = stage(features[which])
        return outputs

    @property
    def chains(self) -> list[list[tuple[str, str, nn.Module]]]:
        """Actor and critic, each with its part of the head."""
        head = self.stages[HEAD]
        assert isinstance(head, Head)
        return [
            [
                *((n, f"stages.{n}", s) for n, s in self.stages.items() if _of(n) == which),
                (HEAD, f"stages.{HEAD}.{which}", getattr(head, which)),
            ]
            for which in (ACTOR, CRITIC)
        ]


def build(
    input_shape: tuple[int, ...],
    outputs: int,
    settings: Settings,
    generator: torch.Generator,
) -> Stages:
    """The networks for observations (n,) and ``outputs`` actions, from ``generator``."""

    def make() -> Stages:
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        width = math.prod(input_shape)
        for depth, units in enumerate(settings.hidden, start=1):
            for which in (ACTOR, CRITIC):
                layers: OrderedDict[str, nn.Module] = OrderedDict(linear=nn.Linear(width, units))
                if settings.layer_norm:
                    layers["norm"] = LayerNorm(units)
                layers["activation"] = nn.ReLU()
                stages[f"{which}{depth}"] = nn.Sequential(layers)
            width = units
        stages[HEAD] = Head(width, outputs)
        return ActorCritic(stages)

    return redraw(construct(make, generator), settings.initialisation, generator)


def acting(
    network: Stages, tensors: Mapping[str, Tensor]
) -> Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Return the policy as a function of observations (S, n): means and deviations, (S, actions).

    For one observation a seed, where calls of torch would take longer than the arithmetic. It is
    float32 arithmetic on the CPU like the network's, in the same order but for sums.

    Args:
        network: The structure.
        tensors: Its parameters by name, (S, ...); copied.
    """
    arrays = {name: t.detach().cpu().numpy().astype(np.float32) for name, t in tensors.items()}
    functions: list[Function] = []
    chain, _ = network.chains
    for _, name, stage in chain:
        for key, module in stage.named_modules():
            place = f"{name}.{key}" if key else name
            if isinstance(module, nn.Linear):
                weight = np.ascontiguousarray(arrays[f"{place}.weight"].swapaxes(1, 2))
                bias = arrays[f"{place}.bias"][:, None]
                functions.append(_affine(weight, bias))
            elif isinstance(module, nn.LayerNorm):
                scale, shift = (arrays[f"{place}.{n}"][:, None] for n in ("weight", "bias"))
                functions.append(_normalised(scale, shift, module.eps))
            elif isinstance(module, nn.ReLU):
                functions.append(_relu)

    deviations = np.exp(arrays[f"stages.{HEAD}.spread.log_std"])

    def policy(observations: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        x = observations.astype(np.float32)[:, None]
        for function in functions:
            x = function(x)
        return x[:, 0], deviations

    return policy


def _affine(weight: NDArray[Any], bias: NDArray[Any]) -> Function:
    return lambda x: x @ weight + bias


def _relu(x: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(x, 0)


def _normalised(scale: NDArray[Any], shift: NDArray[Any], eps: float) -> Function:
    def function(x: NDArray[Any]) -> NDArray[Any]:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * scale + shift

    return function


def _of(stage: str) -> str:
    """The network that a hidden stage belongs to: its name without the number."""
    return stage.rstrip("0123456789")
