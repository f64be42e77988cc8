"""A network as an ordered list of named stages, from the input to the head.

One notion of depth serves everything that asks "which layer": activation ranks, representation
similarity, freezing from below, resetting from above. A parameter belongs to the stage that its
name starts with; a weight matrix is named after the layer that owns it.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

HEAD = "head"


class Stages(nn.Module):
    """Named stages applied one after the other; the last one is the head and gives the logits.

    A stage's output has the samples on axis 0 and the units or channels on axis 1; what follows
    (rows, columns, time) are positions. No stage may change its input in place.
    """

    def __init__(self, stages: Mapping[str, nn.Module]) -> None:
        super().__init__()
        names = list(stages)
        if len(names) < 2 or names[-1] != HEAD:
            raise ValueError(f"a network needs hidden stages and then {HEAD!r}, got {names}")
        self.stages = nn.ModuleDict(OrderedDict(stages))

    @property
    def stage_names(self) -> list[str]:
        """The names of the stages, input first, the head last."""
        return list(self.stages)

    @property
    def chains(self) -> list[list[tuple[str, str, nn.Module]]]:
        """What feeds what, input first: lists of (stage, name in the state dict, module)."""
        return [[(name, f"stages.{name}", stage) for name, stage in self.stages.items()]]

    def forward(self, images: Tensor, *, every_stage: bool = False) -> Any:
        """Logits (N, outputs) of images (N, C, H, W); with ``every_stage`` as ``activations``."""
        if every_stage:
            return self.activations(images)
        for stage in self.stages.values():
            images = stage(images)
        return images

    def activations(self, images: Tensor) -> dict[str, Tensor]:
        """The output of every stage in order, after its nonlinearity; the head's are the logits."""
        outputs = {}
        for name, stage in self.stages.items():
            images = outputs[name] = stage(images)
        return outputs


class Layer(nn.Module):
    """A layer with parameters of its own that is neither linear, convolution nor batch norm."""

    def initialise(self, generator: torch.Generator) -> None:
        """Fill the parameters this layer owns itself, drawing from ``generator`` only."""
        raise NotImplementedError

    def matrices(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight matrices (..., rows, columns) made of its tensors, given by local name."""
        raise NotImplementedError


def stage_of(name: str) -> str:
    """The stage that a parameter or buffer belongs to, by its name in the state dict."""
    container, stage, *_ = name.split(".")
    if container != "stages":
        raise ValueError(f"{name!r} is not the name of a parameter of a staged network")
    return stage


def construct(make: Callable[[], Stages], generator: torch.Generator) -> Stages:
    """Build a network whose every initial value comes from ``generator``.

    What layers draw by themselves when they are made is drawn anew here, and the global generator
    is put back. (The meta device would draw nothing; to leave it takes torch half a second.)
    """
    with torch.random.fork_rng(devices=[]):
        network = make()
    initialise(network, generator)
    return network


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Fill every parameter and buffer, layer by layer in the order of the modules.

    Linear layers and convolutions: weight and bias uniform in +-1/sqrt(fan_in), the distribution
    PyTorch draws by default. Batch norm: scale 1, shift 0, fresh statistics.
    """
    for name, module in network.named_modules():
        if isinstance(module, Layer):
            module.initialise(generator)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            raise TypeError(f"no initialisation is defined for {name} ({type(module).__name__})")
