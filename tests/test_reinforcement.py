"""Training of agents: what is guaranteed to whoever reads its facts or kills it."""

import numpy as np
import pytest
import torch

from forgetting import reinforcement
from forgetting.architectures import actor_critic
from forgetting.benchmarks import slippery_ant
from forgetting.ensemble import Ensemble
from forgetting.errors import UserError
from forgetting.hidden_units import hidden_layers
from forgetting.measures._curvature import gradient, objective
from forgetting.measures._moments import Sample
from forgetting.randomness import torch_generator
from forgetting.resume import load, save
from forgetting.strategy import Strategy

CPU = torch.device("cpu")
PARTS = {
    "plain": [{"component": "sgd", "settings": {}}],
    "effective_rank": [
        {"component": "l2", "settings": {"strength": 0.001}},
        {"component": "effective_rank", "settings": {"rate": 1e-3, "every": 2}},
    ],
    "continual_backprop": [
        {"component": "continual_backprop", "settings": {"rate": 0.05, "maturity": 3}}
    ],
    "reset": [{"component": "reset", "settings": {}}],
    "shrink_perturb": [{"component": "shrink_perturb", "settings": {"noise": 0.01}}],
}


def benchmark(seeds=(0, 1), **settings):
    chosen = {"tasks": 2, "steps": 50, "episode": 20, "frictions": (0.3, 1.2), **settings}
    return slippery_ant.build(
        [],
        slippery_ant.Settings(**chosen),
        name="ant",
        seeds=list(seeds),
        device=CPU,
        dtype=torch.float32,
    )


def networks(of, **settings):
    chosen = actor_critic.Settings(**{"hidden": (9, 8), **settings})
    return [
        actor_critic.build(of.input_shape, of.outputs, chosen, torch_generator("net", seed))
        for seed in of.members
    ]


def training(of=None, strategy="plain", kept=None, start=None, **settings):
    of = benchmark() if of is None else of
    chosen = {"optimizer": "adam", "learning_rate": 0.01, "rollout": 24, "batch_size": 6}
    return reinforcement.Training(
        of,
        networks(of),
        Strategy.from_entry({"parts": PARTS[strategy]}),
        reinforcement.Settings(**{**chosen, "epochs": 2, **settings}),
        name="ant",
        seeds=of.members,
        keep=lambda name, task, epoch, tensors: (
            None
            if kept is None
            else kept.update({name: {n: t.clone() for n, t in tensors.items()}})
        ),
        start=start,
        fresh=lambda task: Ensemble(networks(of)).state(),
    )


class Stopped(Exception):
    pass


@pytest.mark.parametrize("strategy", PARTS)
@pytest.mark.parametrize("at", [1, 24, 51, 77])
def test_a_training_that_was_killed_ends_as_if_it_had_not_been(strategy, at, tmp_path):
    kept = {}
    undisturbed = training(strategy=strategy, kept=kept)
    undisturbed.run()
    steps, killed = 0, training(strategy=strategy)

    def stop():
        nonlocal steps
        steps += 1
        if steps == at:
            save(tmp_path / "state.pt", killed.state())
            raise Stopped

    with pytest.raises(Stopped):
        killed.run(stop)
    again = {}
    resumed = training(strategy=strategy, kept=again)
    resumed.restore(load(tmp_path / "state.pt"))
    resumed.run()
    assert resumed.record.history == undisturbed.record.history
    assert resumed.record.accuracy == undisturbed.record.accuracy
    assert list(kept)[-1] in again
    for name, tensors in again.items():
        for parameter, values in tensors.items():
            assert torch.equal(values, kept[name][parameter]), (name, parameter)


def test_seeds_of_a_pack_are_what_they_are_alone():
    together = training()
    together.run()
    for place in range(2):
        alone = training(of=benchmark().alone(place))
        alone.run()
        mine = [row[1:] for row in together.record.history if row[0] == place]
        theirs = [row[1:] for row in alone.record.history]
        # Physics is chaotic, so rounding grows: the first rollout's facts are the same.
        first = [row for row in mine if row[2] == 24]
        for found, expected in zip(first, theirs, strict=False):
            assert found[:-1] == expected[:-1]
            assert found[-1] == pytest.approx(expected[-1], rel=1e-3, abs=1e-4)


def test_facts_tell_returns_frictions_and_losses_and_weights_are_kept_at_every_change():
    kept = {}
    done = training(kept=kept)
    done.run()
    assert len(kept) == 3  # before, and after either friction
    rows = done.record.history
    steps = sorted({row[3] for row in rows})
    assert steps == [24, 48, 72, 96]  # of the environment, from the start
    assert [row[1] for row in rows if row[0] == 0 and row[4] == "friction"] == [1, 1, 2, 2]
    assert [row[5] for row in rows if row[0] == 0 and row[4] == "friction"] == [0.3, 0.3, 1.2, 1.2]
    names = {row[4] for row in rows}
    assert {"policy_loss", "value_loss", "clipped", "return", "episode_length"} <= names
    lengths = [row[5] for row in rows if row[4] == "episode_length"]
    assert max(lengths) <= 20
    metrics = {(row[1], row[2], row[3]) for row in done.record.accuracy}
    assert metrics == {(t, t, name) for t in (1, 2) for name in ("return", "forward_return")}


def test_the_score_of_a_task_is_the_mean_return_of_the_episodes_that_end_in_it():
    of = benchmark(seeds=(0,), tasks=1, steps=72)
    done = training(of=of)
    returns, episode = [], 0.0
    step = done.environment.step

    def watched(actions):
        nonlocal episode
        outcome = step(actions)
        episode += outcome.rewards[0]
        if outcome.terminated[0] or outcome.truncated[0]:
            returns.append(episode)
            episode = 0.0
        return outcome

    done.environment.step = watched
    done.run()
    assert len(returns) >= 3
    (score,) = [row[4] for row in done.record.accuracy if row[3] == "return"]
    assert score == pytest.approx(np.mean(returns))


def test_what_was_collected_before_a_change_counts_with_the_weights_it_was_collected_with():
    # 50 steps a task, rollouts of 24: the second task begins two steps into a rollout.
    done = training(strategy="shrink_perturb")
    judged = []
    judge = done.rollout.judge

    def watched(outputs, settings):
        judged.append((done.rollout.judged, done.rollout.filled))
        judge(outputs, settings)

    done.rollout.judge = watched
    done.run()
    assert (0, 2) in judged
    assert (2, 24) in judged


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_policy_written_out_is_the_network(layer_norm):
    of = benchmark()
    ensemble = Ensemble(networks(of, layer_norm=layer_norm))
    with torch.no_grad():
        for name, parameter in ensemble.params.items():
            if name.endswith("log_std"):
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    observations = np.random.default_rng(0).normal(size=(2, *of.input_shape))
    means, deviations = actor_critic.acting(ensemble.network, ensemble.state())(observations)
    expected = ensemble.predict(torch.from_numpy(observations).float()[:, None])[:, 0]
    np.testing.assert_allclose(means, expected[:, :8], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(deviations, expected[:, 8:16].exp(), rtol=1e-6)


def test_replaceable_units_are_those_of_the_actor_and_of_the_critic():
    (network, _) = networks(benchmark())
    found = {(layer.stage, layer.outgoing) for layer in hidden_layers(network)}
    assert found == {
        ("actor1", "stages.actor2.linear.weight"),
        ("actor2", "stages.head.actor.weight"),
        ("critic1", "stages.critic2.linear.weight"),
        ("critic2", "stages.head.critic.weight"),
    }


def test_spectral_regularisation_leaves_the_policys_deviations_alone():
    from forgetting.strategies import spectral_norm

    of = benchmark(seeds=(0,))
    ensemble = Ensemble(networks(of))
    settings = spectral_norm.Settings(strength=1.0)

    def value():
        return ensemble.map(
            lambda net: spectral_norm.loss(
                net, None, None, spectral_norm.start(net, settings), settings, context=None
            )["spectral_norm"]
        )

    before = value()
    with torch.no_grad():
        ensemble.params["stages.head.spread.log_std"].fill_(5.0)
    assert torch.equal(before, value())
    with torch.no_grad():
        ensemble.params["stages.head.critic.bias"].fill_(5.0)
    assert not torch.equal(before, value())


@pytest.mark.parametrize("component", ["ewc", "experience_replay", "joint", "lwf", "nc1", "si"])
def test_a_strategy_that_needs_labelled_images_is_refused(component):
    PARTS["other"] = [{"component": component, "settings": {}}]
    try:
        with pytest.raises(UserError, match=f"strategy {component} needs"):
            training(strategy="other")
    finally:
        del PARTS["other"]


def test_a_seed_that_diverges_is_noted_and_the_others_go_on():
    done = training()
    with torch.no_grad():
        done.ensemble.params["stages.head.critic.weight"][0] = torch.nan
    done.run()
    assert set(done.record.diverged) == {0}
    assert done.record.diverged[0] == (1, 24)
    assert {row[3] for row in done.record.history if row[0] == 0} == {24}
    assert {row[3] for row in done.record.history if row[0] == 1} == {24, 48, 72, 96}


def test_too_few_frictions_are_refused():
    with pytest.raises(UserError, match="2 for 3 tasks"):
        benchmark(tasks=3)


def test_drawn_frictions_are_log_uniform_and_of_the_seed():
    of = benchmark(seeds=range(200), tasks=5, frictions="log_uniform")
    logs = np.log(of.frictions)
    assert logs.min() > np.log(0.02)
    assert logs.max() < np.log(2.0)
    assert abs(logs.mean() - (np.log(0.02) + np.log(2.0)) / 2) < 0.15
    again = benchmark(seeds=(3,), tasks=5, frictions="log_uniform")
    np.testing.assert_array_equal(again.frictions[0], of.frictions[3])


def test_measured_steps_are_the_networks_own_and_their_loss_is_that_of_training():
    of = benchmark(seeds=(0,))
    (network,) = networks(of)
    settings = reinforcement.Settings(entropy_coefficient=0.01, clip_value=True)
    met = reinforcement.experience(of, network, 2, 60, "train", settings)
    inputs, targets, loss = met
    assert inputs.shape == (60, 105)
    with torch.no_grad():
        raw = network(inputs)
    # At the weights that took the steps every ratio is 1 and advantages have no mean.
    values, returns = raw[:, 16], targets[:, -1]
    entropy = (raw[0, 8:16] + 0.5 * np.log(2 * np.pi * np.e)).sum()
    expected = float((values - returns).square().mean() - 0.01 * entropy)
    assert float(loss(raw, targets)) / 60 == pytest.approx(expected, rel=1e-4)
    slope = gradient(objective(network, Sample(inputs, targets, None, loss), batch_size=25))
    whole = gradient(objective(network, Sample(inputs, targets, None, loss), batch_size=60))
    torch.testing.assert_close(slope, whole, rtol=1e-4, atol=1e-6)
    assert slope.norm() > 0
    again = reinforcement.experience(of, network, 2, 60, "train", settings)
    assert torch.equal(again[0], inputs)
    other = reinforcement.experience(of, network, 2, 60, "held_out", settings)
    assert not torch.equal(other[0], inputs)
