"""Initial weights of published protocols, where they are not PyTorch's default distribution.

A scheme draws weights with mean 0 and variance gain / fan, where the fan is the number of a unit's
inputs or outputs, and sets biases to zero. Normalisation layers keep their scale 1 and shift 0.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from forgetting.stages import HEAD, Stages, stage_of

# Standard deviation of a standard normal distribution cut off at 2 on either side.
CUT = 0.87962566103423978


class Scheme(NamedTuple):
    """A distribution of initial weights."""

    distribution: str
    """``uniform``, ``normal``, or ``truncated``: normal, cut off at two standard deviations."""
    fan: str = "in"
    """``in`` or ``out``."""
    convolution: float = 2.0
    """Gain of convolutions; 2 keeps the scale of ReLU layers (He et al. 2015)."""
    linear: float | None = 2.0
    """Gain of hidden linear layers; none: they stay as they are."""
    head: float | None = 2.0
    """Gain of the head; none: it stays as it is."""


SCHEMES = {
    # Prakash et al. (2025, arXiv 2509.22335), in their code, for Permuted MNIST.
    "kaiming_uniform": Scheme("uniform"),
    # Dohare et al. (2024, Nature 632), in their code, for Permuted MNIST.
    "kaiming_uniform_linear_head": Scheme("uniform", head=1.0),
    # The default of Flax, so that of Prakash et al. for Continual ImageNet (LeCun et al. 1998).
    "lecun_normal": Scheme("truncated", convolution=1.0, linear=1.0, head=1.0),
    # Dohare et al. for incremental CIFAR-100.
    "kaiming_normal": Scheme("normal", linear=1.0, head=1.0),
    # Prakash et al. for incremental CIFAR-100.
    "kaiming_fan_out": Scheme("truncated", fan="out", linear=1.0, head=1.0),
    # Both papers, in their code, for the actor and the critic of Slippery Ant.
    "lecun_uniform": Scheme("uniform", convolution=1.0, linear=1.0, head=1.0),
    # torchvision's networks (He et al. 2015 for convolutions alone).
    "torchvision": Scheme("normal", fan="out", linear=None, head=None),
}


@torch.no_grad()
def redraw(network: Stages, initialisation: str, generator: torch.Generator) -> Stages:
    """Draw a network's weights anew by a scheme, in the order of its layers; return it.

    ``default`` leaves the network as it is and draws nothing.
    """
    if initialisation == "default":
        return network
    scheme = SCHEMES[initialisation]
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            gain: float | None = scheme.convolution
            if isinstance(module, nn.Linear):
                gain = scheme.head if stage_of(name) == HEAD else scheme.linear
            if gain is None:
                continue
            _draw(module.weight, scheme, gain, generator)
            if module.bias is not None:
                module.bias.zero_()
    return network


def _draw(weight: Tensor, scheme: Scheme, gain: float, generator: torch.Generator) -> None:
    fan = weight[0].numel() if scheme.fan == "in" else weight[:, 0].numel()
    std = math.sqrt(gain / fan)
    if scheme.distribution == "uniform":
        weight.uniform_(-math.sqrt(3) * std, math.sqrt(3) * std, generator=generator)
    elif scheme.distribution == "normal":
        weight.normal_(0, std, generator=generator)
    else:
        full = std / CUT
        nn.init.trunc_normal_(weight, 0, full, -2 * full, 2 * full, generator=generator)
