"""Moments whose weights are kept: their names, and what a finished run says of them."""

from pathlib import Path

import pytest
import torch

from forgetting import checkpoints, publishing
from forgetting.moments import name

NAMES = {
    None: "task-3",
    0: "task-3",
    2.0: "task-3-epoch-2",
    0.05: "task-3-epoch-0.05",
    350.0: "task-3-epoch-350",
    0.00005: "task-3-epoch-5e-05",
    0.3333333333: "task-3-epoch-0.3333333333",
    1 / 3: "task-3-epoch-0.3333333333333333",
    1_000_001: "task-3-epoch-1000001.0",
    1e6: "task-3-epoch-1e+06",
}


@pytest.mark.parametrize("epoch", NAMES)
def test_a_name_says_the_whole_epoch(epoch: float | None) -> None:
    assert name(3, epoch) == NAMES[epoch]


@pytest.mark.parametrize("epoch", [0, 2.0, 0.05, 0.00005, 0.3333333333, 1 / 3, 1e-7 / 3])
def test_a_finished_run_has_the_moments_that_were_asked_for(tmp_path: Path, epoch: float) -> None:
    seeds, moment = [[4], [7]], name(1, epoch)
    homes, kept = [tmp_path / "group-0", tmp_path / "group-1"], []
    for home, group in zip(homes, seeds, strict=True):
        home.mkdir()
        path = home / f"{moment}.safetensors"
        weights = {"w": torch.full((1, 2), float(group[0]))}
        kept.append({moment: checkpoints.write(path, weights, seeds=group, task=1, epoch=epoch)})
    hashes, found = publishing.join_checkpoints(tmp_path, homes, kept, seeds)
    assert hashes.keys() == {moment}
    assert found == {moment: {"task": 1, "epoch": epoch}}
    path = tmp_path / "checkpoints" / f"{moment}.safetensors"
    tensors, about = checkpoints.read(path, expected=hashes[moment])
    assert about == {"seeds": [4, 7], "task": 1, "epoch": epoch}
    assert tensors["w"][:, 0].tolist() == [4.0, 7.0]
