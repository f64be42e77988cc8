from collections import OrderedDict

import pytest
import torch
from torch import nn

from forgetting.stages import Stages, construct, initialise, stage_of
from forgetting.weights import weight_matrices


def test_the_head_comes_last() -> None:
    hidden, head = nn.Linear(2, 2), nn.Linear(2, 2)
    assert Stages({"hidden": hidden, "head": head}).stage_names == ["hidden", "head"]
    for wrong in ({"head": head, "hidden": hidden}, {"head": head}, {}):
        with pytest.raises(ValueError, match="head"):
            Stages(wrong)


def test_a_parameter_names_its_stage() -> None:
    assert stage_of("stages.stage1.block1.conv1.weight") == "stage1"
    assert stage_of("stages.head.bias") == "head"
    with pytest.raises(ValueError, match="not the name"):
        stage_of("fc.weight")


def test_a_layer_without_a_rule_is_refused_rather_than_left_empty() -> None:
    """Uninitialised memory would be the alternative."""

    def make() -> Stages:
        stages = OrderedDict(hidden=nn.LayerNorm(2), head=nn.Linear(2, 2))
        return Stages(stages)

    with pytest.raises(TypeError, match=r"stages\.hidden.*LayerNorm"):
        construct(make, torch.Generator())
    with pytest.raises(TypeError, match="Bilinear"):
        weight_matrices(Stages({"hidden": nn.Bilinear(2, 2, 2), "head": nn.Linear(2, 2)}))


def test_initialising_again_repeats_the_draws() -> None:
    """What a strategy needs that resets stages: the same function on part of a network."""
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(4, 4)
    initialise(layer, generator)
    first = layer.weight.clone()
    initialise(layer, generator)
    assert not torch.equal(layer.weight, first)
    initialise(layer, generator.manual_seed(3))
    assert torch.equal(layer.weight, first)
