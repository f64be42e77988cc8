"""A step of actor and critic on a minibatch, without building the networks' graph.

The two are perceptrons side by side (``forgetting.perceptron``); what the head puts out are their
outputs with the logarithms of the standard deviations between them, which are parameters and the
same for every observation: their gradient is the sum of the slopes over the batch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forgetting import ppo
from forgetting.architectures.actor_critic import ActorCritic
from forgetting.ensemble import Ensemble
from forgetting.perceptron import Perceptron
from forgetting.stages import HEAD


class PerceptronPair:
    """The networks of an ensemble; gradients are written into its parameters."""

    def __init__(self, pair: list[Perceptron], log_stds: Tensor, stages: list[str]) -> None:
        """Take actor and critic, the leaf ([S,] actions), and the names of all stages."""
        self._pair, self._log_stds, self._stages = pair, log_stds, stages
        self._room = torch.empty_like(log_stds)

    @classmethod
    def of(cls, ensemble: Ensemble) -> "PerceptronPair | None":
        """Return it where the networks are actors and critics without normalisation."""
        network, params = ensemble.network, ensemble.params
        if not isinstance(network, ActorCritic):
            return None
        pair = []
        for chain in network.chains:
            layers = []
            for _, name, stage in chain:
                for key, module in stage.named_modules(prefix=name):
                    if isinstance(module, nn.LayerNorm):
                        return None
                    if isinstance(module, nn.Linear):
                        layers.append((params[f"{key}.weight"], params[f"{key}.bias"]))
            pair.append(Perceptron(layers, [name for name, _, _ in chain]))
        return cls(pair, params[f"stages.{HEAD}.spread.log_std"], network.stage_names)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of every stage for inputs ([S,] B, n), in the network's order."""
        actor, critic = (network.forward(inputs) for network in self._pair)
        means = actor[HEAD]
        spread = self._log_stds.unsqueeze(-2).expand_as(means)
        both = {**actor, **critic, HEAD: torch.cat([means, spread, critic[HEAD]], dim=-1)}
        return {stage: both[stage] for stage in self._stages}

    @torch.no_grad()
    def backward(
        self, inputs: Tensor, outputs: Mapping[str, Tensor], slopes: Mapping[str, Tensor]
    ) -> None:
        """Set ``grad`` of every parameter that trains, and None of the others; see Perceptron."""
        means, log_stds, values = ppo.split(slopes[HEAD])
        for network, slope in zip(self._pair, (means, values[..., None]), strict=True):
            own = {stage: outputs[stage] for stage in network.stages}
            network.backward(inputs, own, {**slopes, HEAD: slope})
        self._log_stds.grad = self._room if self._log_stds.requires_grad else None
        if self._log_stds.grad is not None:
            torch.sum(log_stds, dim=-2, out=self._room)
