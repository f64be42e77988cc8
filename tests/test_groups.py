"""The groups of a pack: what one left is taken up by that very group alone."""

import argparse
import signal
from pathlib import Path

import pytest
import torch

from forgetting import building, groups
from forgetting.commands import train
from trainings import command, facts, prepare

SEEDS = [3, 5, 8]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return prepare(tmp_path_factory.mktemp("results"))


def test_a_home_is_of_a_kind_of_device_and_of_the_seeds_trained_together(tmp_path):
    homes = []
    for device in map(torch.device, ("cpu", "cuda")):
        for together in (False, True):
            pack = groups.split(SEEDS, tmp_path, together=together, device=device)
            assert [seed for group in pack for seed in group.seeds] == SEEDS
            homes += [group.home for group in pack]
    assert len(set(homes)) == len(homes) == 2 * (3 + 1)


def test_which_of_several_devices_of_a_kind_does_not_matter(tmp_path):
    first, second = (
        groups.split(SEEDS, tmp_path, together=True, device=torch.device("cuda", number))
        for number in (0, 1)
    )
    assert first == second


@pytest.mark.parametrize(
    ("together", "stopped_in"),
    [(False, 0), (False, 1), (True, 0)],
    ids=["amid the first seed", "after the first seed", "amid the pack"],
)
def test_what_seeds_left_that_trained_otherwise_is_not_taken_up(
    tmp_path, data, monkeypatch, together, stopped_in
):
    """As when a run goes on on a GPU, where its seeds are stacked, or comes back from there."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)

    def run(out, *, together):
        monkeypatch.setattr(building, "vectorises", lambda *_: together)
        words = command(data, out, seeds=(0, 1), strategy="lwf")
        train.run(parser.parse_args(words[words.index("train") + 1 :]))

    plain = groups.train

    def stopped(group, *arguments, **keywords):
        if group.number == stopped_in:
            signal.raise_signal(signal.SIGTERM)
        return plain(group, *arguments, **keywords)

    monkeypatch.setattr(groups, "train", stopped)
    with pytest.raises(SystemExit):
        run(tmp_path / "moved", together=together)
    monkeypatch.setattr(groups, "train", plain)
    assert list(tmp_path.glob("moved/.resume/*/*/rolling.pt"))
    run(tmp_path / "moved", together=not together)
    run(tmp_path / "whole", together=not together)
    assert facts(tmp_path / "moved") == facts(tmp_path / "whole")
    assert not list(tmp_path.glob("moved/.resume/*/group-*"))
