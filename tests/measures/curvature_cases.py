"""Small networks with samples, and their dense Hessians by other means than the measures'."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian

from forgetting.architectures import mlp
from forgetting.measures._moments import Sample
from forgetting.stages import Stages


def perceptron(
    hidden: tuple[int, ...] = (8, 7), outputs: int = 4, *, inputs: int = 6, seed: int = 0
) -> Stages:
    given = mlp.Settings(hidden=hidden)
    generator = torch.Generator().manual_seed(seed)
    return mlp.build((1, 1, inputs), outputs, given, generator).double().eval()


def sample(
    images: int = 23,
    outputs: int = 4,
    *,
    shape: tuple[int, ...] = (1, 1, 6),
    competing: list[bool] | None = None,
    seed: int = 1,
) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, *shape, generator=generator, dtype=torch.float64)
    classes = sum(competing) if competing else outputs
    targets = torch.randint(classes, (images,), generator=generator)
    return Sample(inputs, targets, torch.tensor(competing) if competing else None)


def parameters_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def loss_of(network: nn.Module, parameters: dict[str, Tensor], given: Sample) -> Tensor:
    """The mean cross-entropy, of all images at once, with outputs left out of the softmax."""
    logits = functional_call(network, parameters, (given.inputs,))
    if given.outputs is not None:
        logits = logits[:, given.outputs.nonzero()[:, 0]]
    chosen = logits.gather(1, given.targets[:, None])[:, 0]
    return (logits.logsumexp(1) - chosen).mean()


def dense(network: nn.Module, given: Sample) -> Tensor:
    """The Hessian (P, P) by torch.func.hessian."""
    parameters = parameters_of(network)
    blocks: Any = hessian(lambda p: loss_of(network, p, given))(parameters)
    rows = []
    for name, parameter in parameters.items():
        parts = [blocks[name][other].reshape(parameter.numel(), -1) for other in parameters]
        rows.append(torch.cat(parts, dim=1))
    return torch.cat(rows)
