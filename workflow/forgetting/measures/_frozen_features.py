"""The frozen-feature model of ``logit_change``: a linear head trained on features that stay."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from forgetting.data_order import epoch_order
from forgetting.devices import forward_batch
from forgetting.errors import UserError
from forgetting.stages import HEAD, Stages
from forgetting.training import Settings as TrainingSettings

if TYPE_CHECKING:
    from forgetting.runs import RunView


class Batches(NamedTuple):
    """The training of a linear head: samples in the order in which they are trained on."""

    features: Tensor
    """(n, p) float64, with the constant 1 of the bias among them where there is one."""
    targets: Tensor
    """(n,) int64."""
    order: list[Tensor]
    """The samples of each step."""
    rates: list[float]
    """The learning rate of each step."""
    mask: Tensor | None
    """(K,) bool, the outputs that compete; None: all."""


@torch.no_grad()
def head_inputs(network: Stages, images: Tensor) -> tuple[Tensor, Tensor]:
    """The head's inputs (n, p), with a 1 for the bias, and the logits (n, K), float64 on the CPU.

    The head is applied to the features in float64, so that a difference of logits is not rounded
    to the precision of the run.
    """
    found = []
    below = list(network.stages.values())[:-1]
    for batch in images.split(forward_batch(images.device)):
        for stage in below:
            batch = stage(batch)
        found.append(batch)
    features = torch.cat(found).double().cpu()
    if _head(network).bias is not None:
        features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    return features, features @ augmented(network).mT


def augmented(network: Stages) -> Tensor:
    """The head's weights with its bias as the last column, (K, p), float64 on the CPU."""
    head = _head(network)
    parts = [head.weight] if head.bias is None else [head.weight, head.bias[:, None]]
    return torch.cat(parts, dim=1).detach().double().cpu()


def _head(network: Stages) -> nn.Linear:
    head = network.stages[HEAD]
    if not isinstance(head, nn.Linear):
        raise UserError("measure logit_change needs a network with a linear head")
    return head


def task_batches(
    run: "RunView", index: int, network: Stages, training: TrainingSettings
) -> Batches:
    """Every batch of task 2 of one seed, with the network's features in place of the images."""
    benchmark = run.benchmark.alone(index)
    pool = torch.from_numpy(benchmark.train_indices([2])).to(run.device)
    features, targets = [], []
    for batch in pool.split(forward_batch(run.device), dim=1):
        inputs, (labels,) = benchmark.fetch(batch, 2)
        features.append(head_inputs(network, inputs[0])[0])
        targets.append(labels.cpu())
    # Where an image's features are; should it be in the task twice, they are the same.
    places = torch.zeros(len(benchmark.pool.images), dtype=torch.int64)
    places[pool[0].cpu()] = torch.arange(pool.shape[1])
    order, rates = [], []
    for epoch in range(training.epochs):
        ((chosen,), _) = epoch_order(
            benchmark,
            [2],
            name=run.spec["benchmark"]["name"],
            seeds=[run.seeds[index]],
            task=2,
            epoch=epoch,
        )
        passed = sum(epoch >= milestone for milestone in training.milestones)
        rate = training.learning_rate * training.gamma**passed
        for step in places[torch.from_numpy(chosen)].split(training.batch_size):
            order.append(step)
            rates.append(rate)
    mask = benchmark.training_mask(2, None)
    return Batches(
        torch.cat(features),
        torch.cat(targets),
        order,
        rates,
        None if mask is None else mask[0, 0].cpu(),
    )


def residuals(head: Tensor, features: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    """dL/df of the cross-entropy over the outputs that compete, (n, K): softmax less target."""
    logits = features @ head.mT
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    wanted = nn.functional.one_hot(targets, len(head)).to(logits.dtype)
    return logits.softmax(1) - wanted


def trained(head: Tensor, batches: Batches, training: TrainingSettings) -> Tensor:
    """The head's weights (K, p) after all steps of SGD with momentum and weight decay."""
    velocity = torch.zeros_like(head)
    for step, rate in zip(batches.order, batches.rates, strict=True):
        features = batches.features[step]
        errors = residuals(head, features, batches.targets[step], batches.mask)
        gradient = errors.mT @ features / len(step) + training.weight_decay * head
        velocity = training.momentum * velocity + gradient
        head = head - rate * velocity
    return head


def first_order(head: Tensor, batches: Batches, training: TrainingSettings) -> Tensor:
    """The change of the head's weights (K, p), with all gradients taken where it starts."""
    counts, following = [], 0.0
    for rate in reversed(batches.rates):
        following = rate + training.momentum * following
        counts.append(following)
    counts.reverse()
    weights = torch.zeros(len(batches.features), dtype=head.dtype)
    for step, count in zip(batches.order, counts, strict=True):
        weights.index_add_(0, step, torch.full((len(step),), count / len(step), dtype=head.dtype))
    errors = residuals(head, batches.features, batches.targets, batches.mask)
    gradient = (weights[:, None] * errors).mT @ batches.features
    return -gradient - sum(counts) * training.weight_decay * head
