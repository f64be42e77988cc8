"""Which layers have replaceable units, and where each unit's weights are."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

import toy
from forgetting.architectures._layers import GlobalAverage
from forgetting.errors import UserError
from forgetting.hidden_units import hidden_layers
from forgetting.randomness import torch_generator
from forgetting.stages import Stages, construct


def convolutional(*, norm: bool = False, average: bool = False) -> Stages:
    """Convolution, convolution, linear, head: images (1, 8, 8) to four outputs."""

    def make() -> Stages:
        first: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(1, 3, 3, padding=1))
        if norm:
            first["norm"] = nn.BatchNorm2d(3)
        first |= OrderedDict(relu=nn.ReLU(), pool=nn.MaxPool2d(2))
        second = OrderedDict(conv=nn.Conv2d(3, 5, 3), relu=nn.ReLU())
        third: OrderedDict[str, nn.Module] = OrderedDict(
            flatten=nn.Flatten(), linear=nn.Linear(5 if average else 20, 6), relu=nn.ReLU()
        )
        stages = OrderedDict(conv1=nn.Sequential(first), conv2=nn.Sequential(second))
        if average:
            stages["features"] = GlobalAverage()
        stages["fc"] = nn.Sequential(third)
        stages["head"] = nn.Linear(6, 4)
        return Stages(stages)

    return construct(make, torch_generator("hidden units")).double().eval()


NETWORKS = {
    "mlp": lambda: toy.networks(toy.benchmark([0]), [0])[0].eval(),
    "vgg": lambda: toy.networks(toy.benchmark([0]), [0], "vgg")[0].eval(),
    "convolutional": convolutional,
    "norm": lambda: convolutional(norm=True),
    "average": lambda: convolutional(average=True),
}


def test_layers_of_a_multilayer_perceptron():
    first, second = hidden_layers(NETWORKS["mlp"]())
    assert (first.stage, first.units, first.shape, first.fan_in) == ("hidden1", 12, (64,), 64)
    assert (first.weight, first.zeros, first.ones) == (
        "stages.hidden1.linear.weight",
        ("stages.hidden1.linear.bias",),
        (),
    )
    assert (first.outgoing, first.outgoing_bias) == (
        "stages.hidden2.linear.weight",
        "stages.hidden2.linear.bias",
    )
    assert (second.outgoing, second.outgoing_shape) == ("stages.head.weight", (6, 1))


def test_channels_before_a_linear_layer_have_a_column_for_each_position():
    layers = {layer.stage: layer for layer in hidden_layers(NETWORKS["norm"]())}
    assert list(layers) == ["conv1", "conv2", "fc"]
    assert layers["conv1"].outgoing_shape == (5, 1, 3, 3)
    assert layers["conv2"].outgoing_shape == (6, 4)
    norm = "stages.conv1.norm"
    assert layers["conv1"].zeros == (
        "stages.conv1.conv.bias", f"{norm}.bias", f"{norm}.running_mean",
    )  # fmt: skip
    assert layers["conv1"].ones == (f"{norm}.weight", f"{norm}.running_var")


@pytest.mark.parametrize("name", NETWORKS)
def test_outgoing_columns_are_all_that_a_unit_is_seen_through(name):
    """Change one unit's activation: the logits move, unless its columns are zero."""
    network = NETWORKS[name]()
    images = torch.randn(
        4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    layers = hidden_layers(network)
    if name == "vgg":  # stages 3 to 5 end with their second convolution
        assert [layer.weight.split(".")[-2] for layer in layers] == [
            "conv1", "conv1", "conv2", "conv2", "conv2",
        ]  # fmt: skip
    for layer in layers:
        unit = layer.units - 1

        def change(module, inputs, output, layer=layer, unit=unit):
            by_unit = layer.activity(output).clone()
            by_unit[:, unit] += torch.arange(1, by_unit.shape[2] + 1)
            return by_unit.reshape(output.shape)

        def logits(layer=layer, change=change):
            hook = network.stages[layer.stage].register_forward_hook(change)
            found = network(images)
            hook.remove()
            return found

        with torch.no_grad():
            assert not torch.allclose(logits(), network(images))
            columns = layer.columns(network.get_parameter(layer.outgoing))
            assert columns.shape == (layer.units, *layer.outgoing_shape)
            columns[unit] = 0
            torch.testing.assert_close(logits(), network(images))
            assert (columns[:-1] != 0).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_with_its_row_and_entries_at_rest_is_silent(name):
    """Incoming weights and entries of bias and norm at 0 or 1: the unit's activation is 0."""
    network = NETWORKS[name]()
    images = torch.randn(
        4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    for layer in hidden_layers(network):
        with torch.no_grad():
            for tensor in (layer.weight, *layer.zeros):
                tensors[tensor][0] = 0
            for tensor in layer.ones:
                tensors[tensor][0] = 1
            activity = layer.activity(network.activations(images)[layer.stage])
        assert (activity[:, 0] == 0).all()
        assert (activity[:, 1:] != 0).any()


def built(architecture, **settings):
    from forgetting import components

    module = components.load("architectures", architecture)
    return module.build((3, 16, 16), 4, module.Settings(**settings), torch_generator("built"))


def test_networks_of_the_plasticity_studies():
    convnet = hidden_layers(built("convnet", width=2, hidden=[7, 6], padding="same"))
    assert [layer.stage for layer in convnet] == ["conv1", "conv2", "conv3", "hidden1", "hidden2"]
    assert [layer.outgoing_shape for layer in convnet] == [
        (4, 1, 3, 3), (8, 1, 3, 3), (7, 4), (6, 1), (4, 1),
    ]  # fmt: skip
    residual = hidden_layers(built("resnet18_mlp", width=2, hidden=[7, 6]))
    assert [layer.stage for layer in residual] == ["hidden1", "hidden2"]
    (_, normed) = hidden_layers(built("mlp", hidden=[7, 6], layer_norm=True))
    assert normed.ones == ("stages.hidden2.norm.weight",)
    assert normed.zeros == ("stages.hidden2.linear.bias", "stages.hidden2.norm.bias")


def test_sizes_of_outgoing_weights():
    layers = {layer.stage: layer for layer in hidden_layers(NETWORKS["convolutional"]())}
    conv, linear = torch.randn(5, 3, 3, 3), torch.randn(6, 20)
    found = layers["conv1"].outgoing_magnitude(conv, 9)  # nine positions, not those of the kernel
    assert found.shape == (3, 1)
    for unit in range(3):
        assert float(found[unit, 0]) == pytest.approx(float(conv[:, unit].abs().mean()))
    found = layers["conv2"].outgoing_magnitude(linear, 4)
    for unit in range(5):
        for place in range(4):
            mean = float(linear[:, 4 * unit + place].abs().mean())
            assert float(found[unit, place]) == pytest.approx(mean)
    assert layers["conv2"].outgoing_magnitude(linear, 16).shape == (5, 1)


@pytest.mark.parametrize("architecture", ["resnet18", "convgru"])
def test_units_that_many_others_see_are_left_alone(architecture):
    (network,) = toy.networks(toy.benchmark([0]), [0], architecture)
    with pytest.raises(UserError, match="no hidden layer whose units can be replaced"):
        hidden_layers(network)
