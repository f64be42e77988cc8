"""Continual backpropagation along a residual network's main path, against plain loops."""

import math

import pytest
import torch

import toy
from forgetting.architectures import resnet18_mlp
from forgetting.ensemble import Ensemble
from forgetting.errors import UserError
from forgetting.hidden_units import main_path
from forgetting.randomness import torch_generator
from forgetting.strategies import continual_backprop_path


class ChainLoops:
    """The published version for a residual network, over lists of its layers in order."""

    def __init__(self, network, **settings):
        blocks = [block for n in range(1, 5) for block in network.stages[f"stage{n}"]]
        self.convs = [network.stages["stem"].conv]
        self.norms = [network.stages["stem"].norm]
        for block in blocks:
            self.convs += [block.conv1, block.conv2]
            self.norms += [block.norm1, block.norm2]
        self.layers = [*self.convs, network.stages["head"]]
        self.network, self.blocks, self.set = network, blocks, settings
        self.ages = [torch.zeros(len(conv.weight)) for conv in self.convs]
        self.magnitudes = [torch.zeros(len(c.weight), dtype=torch.float64) for c in self.convs]
        self.due = [0.0 for _ in self.convs]
        self.replaced = 0

    def features(self, images):
        """Every activation in order, the last after pooling."""
        maps = self.network.stages["stem"](images)
        found = [maps]
        for block in self.blocks:
            inner = block.norm1(block.conv1(maps)).relu()
            maps = (block.norm2(block.conv2(inner)) + block.shortcut(maps)).relu()
            found += [inner, maps]
        return [*found[:-1], maps.mean((2, 3))]

    def step(self, features, drawn):
        s, chosen = self.set, []
        for at, seen in enumerate(features):
            self.ages[at] += 1
            over = (0, 2, 3) if seen.dim() == 4 else (0,)
            self.magnitudes[at] += (1 - s["decay"]) * seen.abs().mean(over)
            old = (self.ages[at] > s["maturity"]).nonzero()[:, 0].tolist()
            if not old:
                chosen.append([])
                continue
            self.due[at] += s["rate"] * len(self.ages[at])
            count = min(int(self.due[at]), len(old))
            self.due[at] -= count
            after = self.layers[at + 1].weight
            size = after.abs().mean((0, 2, 3) if after.dim() == 4 else (0,))
            useful = size * self.magnitudes[at]
            chosen.append(sorted(old, key=lambda unit: float(useful[unit]))[:count])
        for at, units in enumerate(chosen):
            for row, unit in enumerate(units):
                self.convs[at].weight[unit] = drawn[at][row]
                self.convs[at].bias[unit] = 0
                norm = self.norms[at]
                norm.bias[unit] = norm.running_mean[unit] = 0
                norm.weight[unit] = norm.running_var[unit] = 1
                self.layers[at + 1].weight[:, unit] = 0
                self.ages[at][unit] = 0
        self.replaced += sum(map(len, chosen))


def test_a_residual_network_is_one_chain_as_in_the_published_code():
    def built():
        settings = resnet18_mlp.Settings(width=2, hidden=(), initialisation="kaiming_normal")
        generator = torch_generator("residual")
        return resnet18_mlp.build((3, 8, 8), 5, settings, generator).double().train()

    chosen = {"rate": 0.2, "maturity": 2, "decay": 0.9}
    settings = continual_backprop_path.Settings(**chosen)
    ensemble = Ensemble([built()])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    loops = ChainLoops(built(), **chosen)
    memory = continual_backprop_path.start(net, settings)
    assert len(memory) == 17
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for step in range(1, 8):
            images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=generator)
            with net.noting_inputs() as given:
                net(images)
            features = loops.features(images)
            drawn = continual_backprop_path.draw(
                settings, network=net.training, generator=generator, step=step
            )
            memory = continual_backprop_path.after_step(
                net, memory, settings, layer_inputs=given, slots={}, drawn=drawn, step=step
            )
            loops.step(features, [drawn.get(name) for name in memory])
            move = torch.randn((), dtype=torch.float64, generator=generator) * 0.01
            for parameter in (*net.params.values(), *loops.network.parameters()):
                parameter.add_(move)
            for name, wanted in loops.network.state_dict().items():
                found = {**net.params, **net.buffers}[name]
                torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert loops.replaced > 17


def test_new_weights_of_a_chain_are_normal_with_the_gain_of_relu():
    settings = resnet18_mlp.Settings(width=16, hidden=())
    network = resnet18_mlp.build((3, 8, 8), 5, settings, torch_generator("residual"))
    every = continual_backprop_path.Settings(rate=1.0, maturity=0)
    drawn = continual_backprop_path.draw(
        every, network=network, generator=torch.Generator().manual_seed(0), step=1
    )
    last = drawn["stages.head"]
    assert last.shape == (128, 128, 3, 3)
    assert last.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.01)
    assert last.mean().abs().item() < 3 * last.std().item() / math.sqrt(last.numel())


@pytest.mark.parametrize("architecture", ["convgru", "densenet"])
def test_a_network_that_is_no_chain_is_refused(architecture):
    (network,) = toy.networks(toy.benchmark([0]), [0], architecture)
    with pytest.raises(UserError, match="no main path of units"):
        main_path(network)
