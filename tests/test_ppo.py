"""The losses and advantages of proximal policy optimisation, computed in other ways."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from forgetting import ppo
from forgetting.reinforcement import Settings

ACTIONS, BATCH = 3, 7


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def outputs(seed=0):
    return torch.randn(BATCH, 2 * ACTIONS + 1, generator=draws(seed), dtype=torch.float64)


def transitions(seed=1):
    generator = draws(seed)

    def numbers(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return ppo.Transitions(
        inputs=numbers(BATCH, 5),
        actions=numbers(BATCH, ACTIONS),
        log_probabilities=numbers(BATCH) - 4,
        values=numbers(BATCH),
        advantages=numbers(BATCH),
        returns=numbers(BATCH),
    )


def test_the_density_is_that_of_independent_gaussians():
    found = ppo.split(outputs())
    actions = transitions().actions
    expected = Normal(found.means, found.log_stds.exp()).log_prob(actions).sum(-1)
    torch.testing.assert_close(ppo.log_probability(found, actions), expected)


def test_advantages_are_sums_of_discounted_errors_up_to_the_end_of_an_episode():
    random = np.random.default_rng(0)
    rewards, values, following = random.normal(size=(3, 2, 9))
    over = random.random((2, 9)) < 0.3
    assert over.any()
    discount, smoothing = 0.9, 0.8
    found = ppo.advantages(rewards, values, following, over, discount=discount, smoothing=smoothing)
    for seed in range(2):
        for start in range(9):
            total = 0.0
            for step in range(start, 9):
                error = rewards[seed, step] + discount * following[seed, step] - values[seed, step]
                total += (discount * smoothing) ** (step - start) * error
                if over[seed, step]:
                    break
            assert found[seed, start] == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("clip_value", [False, True])
@pytest.mark.parametrize("normalise", ["minibatch", "none"])
def test_the_loss_sample_by_sample(clip_value, normalise):
    settings = Settings(
        clip=0.2,
        clip_value=clip_value,
        value_coefficient=0.7,
        entropy_coefficient=0.3,
        normalise_advantages=normalise,
    )
    raw, batch = outputs(), transitions()
    near = ppo.log_probability(ppo.split(raw), batch.actions) + 0.3 * batch.log_probabilities + 1.2
    batch = batch._replace(log_probabilities=near)
    terms, facts = ppo.objective(settings)(raw, batch, BATCH)
    found = ppo.split(raw)
    policy = Normal(found.means, found.log_stds.exp())
    gains = batch.advantages
    if normalise == "minibatch":
        gains = (gains - gains.mean()) / (gains.var(unbiased=False).sqrt() + 1e-8)
    losses, errors, outside = [], [], []
    for i in range(BATCH):
        ratio = float((policy.log_prob(batch.actions)[i].sum() - batch.log_probabilities[i]).exp())
        gain = float(gains[i])
        losses.append(-min(ratio * gain, min(max(ratio, 0.8), 1.2) * gain))
        outside.append(abs(ratio - 1) > 0.2)
        value, old, wanted = (float(x[i]) for x in (found.values, batch.values, batch.returns))
        error = (value - wanted) ** 2
        if clip_value:
            held = old + min(max(value - old, -0.2), 0.2)
            error = max(error, (held - wanted) ** 2)
        errors.append(error)
    assert float(terms["policy_loss"]) == pytest.approx(np.mean(losses), rel=1e-6)
    assert float(terms["value_loss"]) == pytest.approx(0.7 * np.mean(errors), rel=1e-6)
    entropy = float(policy.entropy().sum(-1).mean())
    assert float(terms["entropy_loss"]) == pytest.approx(-0.3 * entropy, rel=1e-6)
    assert float(facts["clipped"]) == pytest.approx(np.mean(outside))
    assert 0 < np.mean(outside) < 1


def test_at_the_policy_that_took_the_steps_the_gradient_is_that_of_the_plain_policy_gradient():
    raw, batch = outputs().requires_grad_(), transitions()
    own = ppo.log_probability(ppo.split(raw), batch.actions)
    batch = batch._replace(log_probabilities=own.detach())
    settings = Settings(normalise_advantages="none", value_coefficient=0)
    terms, _ = ppo.objective(settings)(raw, batch, BATCH)
    (found,) = torch.autograd.grad(terms["policy_loss"], raw)
    again = ppo.log_probability(ppo.split(raw), batch.actions)
    (expected,) = torch.autograd.grad(-(batch.advantages * again).mean(), raw)
    torch.testing.assert_close(found, expected)


def test_normalised_values_have_no_mean_and_unit_spread():
    values = transitions().advantages
    found = ppo.normalised(torch.stack([values, 3 * values + 1]))
    torch.testing.assert_close(found.mean(-1), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found.var(-1, unbiased=False), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(ppo.normalised(torch.ones(4)), torch.zeros(4))
