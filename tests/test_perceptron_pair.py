"""Minibatches of actor and critic are what the framework makes of them."""

import pytest
import torch

from forgetting import gradients, ppo
from forgetting.architectures import actor_critic
from forgetting.ensemble import Ensemble, Frozen
from forgetting.perceptron_pair import PerceptronPair
from forgetting.ppo import Transitions
from forgetting.randomness import torch_generator
from forgetting.reinforcement import Settings
from forgetting.strategy import Strategy

OBSERVED, ACTIONS, BATCH = 5, 3, 7
STRATEGIES = {
    "sgd": {},
    "spectral_norm": {"strength": 0.1},
    "shrink_perturb": {"noise": 0.01},
    "continual_backprop": {"rate": 0.05, "maturity": 3},
}


def networks(seeds, **settings):
    chosen = actor_critic.Settings(hidden=(9, 8), initialisation="default", **settings)
    drawn = [
        actor_critic.build((OBSERVED,), ACTIONS, chosen, torch_generator("net", seed)).double()
        for seed in range(seeds)
    ]
    generator = torch.Generator().manual_seed(5)
    for network in drawn:
        spread = network.state_dict()["stages.head.spread.log_std"]
        spread.copy_(torch.randn(ACTIONS, generator=generator))
    return Ensemble(drawn)


def transitions(ensemble):
    generator = torch.Generator().manual_seed(1)

    def numbers(*shape):
        drawn = torch.randn(ensemble.size, BATCH, *shape, generator=generator, dtype=torch.float64)
        return ensemble.gather(drawn)

    return Transitions(
        inputs=numbers(OBSERVED),
        actions=numbers(ACTIONS),
        log_probabilities=numbers() - 4,
        values=numbers(),
        advantages=numbers(),
        returns=numbers(),
    )


@pytest.mark.parametrize("held", [(), ("actor1",), ("head",), ("critic1", "actor2")])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_gradients_and_facts_are_those_of_the_framework(name, seeds, held):
    ensemble = networks(seeds)
    entry = {"parts": [{"component": name, "settings": STRATEGIES[name]}]}
    strategy, objective = Strategy.from_entry(entry), ppo.objective(Settings(clip_value=True))
    ensemble.freeze([Frozen(held)])
    batch, memory = transitions(ensemble), strategy.start(ensemble)
    found, grads = [], []
    for make in (
        lambda: gradients.by_framework(ensemble, strategy, objective),
        lambda: gradients.gradients_for(
            ensemble, strategy, objective, written_out=PerceptronPair.of
        ),
    ):
        found.append(make()(batch, BATCH, memory, {}))
        grads.append(
            {n: None if p.grad is None else p.grad.clone() for n, p in ensemble.params.items()}
        )
    (terms, facts, seen), (terms_by_hand, facts_by_hand, seen_by_hand) = found
    torch.testing.assert_close(terms_by_hand, terms)
    torch.testing.assert_close(facts_by_hand, facts)
    for stage, output in seen.items():
        torch.testing.assert_close(seen_by_hand[stage], output)
    for key, gradient in grads[0].items():
        assert (gradient is None) == (key.split(".")[1] in held), key
        torch.testing.assert_close(grads[1][key], gradient, rtol=1e-9, atol=1e-12, msg=key)


def test_which_networks_it_applies_to():
    assert PerceptronPair.of(networks(2)) is not None
    assert PerceptronPair.of(networks(2, layer_norm=True)) is None
