"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347): its losses and advantages.

The policy is a Gaussian with a standard deviation for every action that does not depend on the
observation. With r = pi(a|s) / pi_old(a|s), advantage A and value V of return R = A + V_old:

    policy = -mean min(r A, clip(r, 1 - c, 1 + c) A)
    value  = mean (V - R)^2, or with ``clip_value`` the mean of the larger of it and
             (V_old + clip(V - V_old, -c, c) - R)^2
    entropy = sum over actions of log std + (1 + log 2 pi) / 2

    loss = policy + value_coefficient * value - entropy_coefficient * entropy.

Advantages are those of generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438).
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetting.gradients import Objective, Terms

if TYPE_CHECKING:
    from forgetting.reinforcement import Settings

HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


class Transitions(NamedTuple):
    """Steps of the environment under a policy, as the loss sees them; (B, ...) of one network."""

    inputs: Tensor
    """(B, n): observations."""
    actions: Tensor
    """(B, A)."""
    log_probabilities: Tensor
    """(B,): of the actions under the policy that took them."""
    values: Tensor
    """(B,): of the observations, by the critic of then."""
    advantages: Tensor
    """(B,)."""
    returns: Tensor
    """(B,): what the value is to be, advantages before any normalisation plus ``values``."""


class Outputs(NamedTuple):
    """What an actor-critic network puts out."""

    means: Tensor
    """(..., A)."""
    log_stds: Tensor
    """(..., A)."""
    values: Tensor
    """(...)."""


def split(outputs: Tensor) -> Outputs:
    """Tell apart what a network puts out side by side, (..., 2 A + 1)."""
    actions = outputs.shape[-1] // 2
    means, log_stds, values = outputs.split([actions, actions, 1], dim=-1)
    return Outputs(means, log_stds, values[..., 0])


def log_probability(outputs: Outputs, actions: Tensor) -> Tensor:
    """The logarithm of the density of actions (..., A)."""
    scaled = (actions - outputs.means) * (-outputs.log_stds).exp()
    return -(0.5 * scaled.square() + outputs.log_stds + HALF_LOG_2_PI).sum(-1)


def advantages(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    following: NDArray[np.float64],
    over: NDArray[np.bool_],
    *,
    discount: float,
    smoothing: float,
) -> NDArray[np.float64]:
    """Generalised advantage estimation over a rollout of T steps, for every seed.

    A_t = delta_t + discount * smoothing * A_(t+1), delta_t = r_t + discount V(s_(t+1)) - V(s_t);
    the sum ends with an episode.

    Args:
        rewards: (S, T).
        values: (S, T): V(s_t).
        following: (S, T): V(s_(t+1)), 0 where the episode ended for good.
        over: (S, T): whether the episode ended with the step, for whatever reason.
        discount: gamma.
        smoothing: lambda.
    """
    deltas = rewards + discount * following - values
    found = np.empty_like(deltas)
    later = np.zeros(len(deltas))
    for t in reversed(range(deltas.shape[1])):
        later = deltas[:, t] + discount * smoothing * np.where(over[:, t], 0.0, later)
        found[:, t] = later
    return found


def objective(settings: "Settings") -> Objective:
    """Return the loss of a minibatch of transitions as a function of the network's outputs."""

    def loss(outputs: Tensor, batch: Transitions, new: int) -> tuple[Terms, Terms]:
        found = split(outputs)
        own = batch.advantages
        if settings.normalise_advantages == "minibatch":
            own = normalised(own)
        ratio = (log_probability(found, batch.actions) - batch.log_probabilities).exp()
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        policy = -torch.minimum(ratio * own, clipped * own).mean(-1)
        error = (found.values - batch.returns).square()
        if settings.clip_value:
            change = (found.values - batch.values).clamp(-settings.clip, settings.clip)
            error = torch.maximum(error, (batch.values + change - batch.returns).square())
        entropy = (found.log_stds + HALF_LOG_2_PI + 0.5).sum(-1).mean(-1)
        terms = {
            "policy_loss": policy,
            "value_loss": settings.value_coefficient * error.mean(-1),
            "entropy_loss": -settings.entropy_coefficient * entropy,
        }
        outside = (ratio.detach() - 1).abs() > settings.clip
        return terms, {"clipped": outside.to(ratio.dtype).mean(-1)}

    return loss


def normalised(values: Tensor) -> Tensor:
    """Values (..., B) with mean 0 and standard deviation 1 over the last axis."""
    spread = values.std(-1, correction=0, keepdim=True)
    return (values - values.mean(-1, keepdim=True)) / (spread + 1e-8)
