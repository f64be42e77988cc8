"""The ants, against Gymnasium's own environment and against themselves after an interruption."""

import numpy as np
import pytest
import torch
from gymnasium.envs.mujoco.ant_v5 import AntEnv

from forgetting import ants
from forgetting.randomness import numpy_generator
from forgetting.resume import load, save


def pack(seeds=2, *, episode=1000, contact_forces=True):
    generators = [numpy_generator("ants", seed) for seed in range(seeds)]
    return ants.Ants(generators, episode=episode, contact_forces=contact_forces)


def actions(steps, seeds=2, scale=1.0):
    return scale * numpy_generator("actions").standard_normal((steps, seeds, ants.ACTIONS))


@pytest.mark.parametrize("contact_forces", [True, False])
def test_a_step_is_that_of_gymnasium_to_the_bit(contact_forces):
    mine = pack(1, contact_forces=contact_forces)
    theirs = AntEnv(
        include_cfrc_ext_in_observation=contact_forces,
        contact_cost_weight=5e-4 if contact_forces else 0.0,
    )
    theirs.np_random = numpy_generator("ants", 0)
    np.testing.assert_array_equal(mine.observations[0], theirs.reset()[0])
    assert mine.observations.shape == (1, ants.OBSERVATIONS[contact_forces])
    ended = 0
    for action in actions(400, 1)[:, 0]:
        outcome = mine.step(action[None])
        observation, reward, terminated, _, about = theirs.step(action)
        np.testing.assert_array_equal(outcome.last[0], observation)
        assert outcome.rewards[0] == reward
        assert outcome.forward[0] == about["reward_forward"]
        assert outcome.terminated[0] == terminated
        if terminated:
            ended += 1
            np.testing.assert_array_equal(mine.observations[0], theirs.reset()[0])
    assert ended  # it did fall, so that episodes after the first were compared as well


def test_an_episode_is_cut_off_and_another_begins():
    mine = pack(episode=5)
    still = np.zeros((2, ants.ACTIONS))
    for step in range(1, 12):
        outcome = mine.step(still)
        assert not outcome.terminated.any()
        assert outcome.truncated.all() == (step % 5 == 0)
        same = (outcome.last == mine.observations).all()
        assert same == (step % 5 != 0)
    np.testing.assert_array_equal(mine.elapsed, [1, 1])


def test_friction_changes_at_once_or_with_the_next_episode():
    mine = pack(episode=3)
    mine.set_friction([0.1, 0.2], at_once=True)
    np.testing.assert_array_equal(mine.friction, [0.1, 0.2])
    assert (mine.ants[1].model.geom_friction[:, 0] == 0.2).all()
    mine.set_friction([0.5, 0.6], at_once=False)
    still = np.zeros((2, ants.ACTIONS))
    for expected in ([0.1, 0.2], [0.1, 0.2], [0.5, 0.6]):
        mine.step(still)
        np.testing.assert_array_equal(mine.friction, expected)


def test_friction_matters():
    found = []
    for friction in (0.02, 2.0):
        mine = pack()
        mine.set_friction([friction] * 2, at_once=True)
        found.append(sum(mine.step(action).forward for action in actions(100)))
    assert (found[0] != found[1]).all()


def test_what_is_not_a_number_moves_nothing():
    one, other = pack(), pack()
    bad = np.zeros((2, ants.ACTIONS))
    bad[0] = np.nan
    np.testing.assert_array_equal(one.step(bad).last, other.step(np.zeros_like(bad)).last)


@pytest.mark.parametrize("at", [0, 7, 150])
def test_ants_that_were_put_away_go_on_as_if_they_had_not(at, tmp_path):
    taken = actions(at + 200)
    undisturbed = pack(episode=90)
    undisturbed.set_friction([0.3, 1.5], at_once=False)
    for action in taken[:at]:
        undisturbed.step(action)
    save(tmp_path / "state.pt", undisturbed.state())
    resumed = pack(episode=90)
    for action in actions(13):  # whatever state it is in
        resumed.step(action)
    resumed.restore(load(tmp_path / "state.pt"))
    for action in taken[at:]:
        expected, found = undisturbed.step(action), resumed.step(action)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(undisturbed.observations, resumed.observations)
    np.testing.assert_array_equal(undisturbed.friction, resumed.friction)


def test_the_state_is_plain_data():
    state = pack().state()
    assert all(isinstance(value, torch.Tensor | list) for value in state.values())
