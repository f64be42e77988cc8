"""What every architecture promises."""

import importlib
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from forgetting.stages import Stages, stage_of
from forgetting.weights import weight_matrices

CASES = {
    "mlp": ("mlp", {"hidden": [12, 9]}, ["hidden1", "hidden2", "head"]),
    "mlp-tanh": ("mlp", {"hidden": [7], "activation": "tanh"}, ["hidden1", "head"]),
    "mlp-norm": (
        "mlp",
        {"hidden": [12, 9], "layer_norm": True, "initialisation": "kaiming_uniform"},
        ["hidden1", "hidden2", "head"],
    ),
    "convnet": (
        "convnet",
        {"width": 3, "hidden": [8, 7], "padding": "same"},
        ["conv1", "conv2", "conv3", "hidden1", "hidden2", "head"],
    ),
    "convnet-norm": (
        "convnet",
        {
            "width": 3,
            "hidden": [8],
            "padding": "same",
            "layer_norm": True,
            "initialisation": "lecun_normal",
        },
        ["conv1", "conv2", "conv3", "hidden1", "head"],
    ),
    "mnist_cnn": (
        "mnist_cnn",
        {"width": 3, "hidden": 9},
        ["conv1", "conv2", "hidden1", "head"],
    ),
    "convgru": ("convgru", {"channels": 4, "steps": 2}, ["gru1", "features", "head"]),
    "convgru-deep": (
        "convgru",
        {"channels": 3, "steps": 2, "layers": 2, "readout": "flatten"},
        ["gru1", "gru2", "features", "head"],
    ),
    "convgru-repeat": (
        "convgru",
        {"channels": 3, "steps": 3, "sequence": "repeat", "layers": 2},
        ["gru1", "gru2", "features", "head"],
    ),
    "bi_convgru": ("bi_convgru", {"channels": 4, "steps": 2}, ["gru1", "features", "head"]),
    "bi_convgru-deep": (
        "bi_convgru",
        {"channels": 3, "steps": 4, "layers": 2, "readout": "flatten"},
        ["gru1", "gru2", "features", "head"],
    ),
    "resnet18": (
        "resnet18",
        {"width": 3},
        ["stem", "stage1", "stage2", "stage3", "stage4", "features", "head"],
    ),
    "resnet18_mlp": (  # a bias before batch norm has no gradient
        "resnet18_mlp",
        {
            "width": 3,
            "hidden": [9, 8],
            "biases": False,
            "layer_norm": True,
            "initialisation": "kaiming_fan_out",
        },
        ["stem", "stage1", "stage2", "stage3", "stage4", "features", "hidden1", "hidden2", "head"],
    ),
    "vgg": (
        "vgg",
        {"layers": 11, "width": 2},
        ["stage1", "stage2", "stage3", "stage4", "stage5", "features", "head"],
    ),
    "vgg-plain": (
        "vgg",
        {"layers": 11, "width": 4, "batch_norm": False},
        ["stage1", "stage2", "stage3", "stage4", "stage5", "features", "head"],
    ),
    "densenet": (
        "densenet",
        {"blocks": (2, 1, 1, 2), "growth": 3},
        ["stem", "block1", "block2", "block3", "block4", "features", "head"],
    ),
}
SHAPE = (2, 8, 8)


def network(case: str, seed: int = 0) -> Stages:
    name, settings, _ = CASES[case]
    module = importlib.import_module(f"forgetting.architectures.{name}")
    generator = torch.Generator().manual_seed(seed)
    return module.build(SHAPE, 5, module.Settings(**settings), generator)


def images(seed: int = 0, n: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("case", CASES)
def test_stages_in_order_and_their_shapes(case: str) -> None:
    net = network(case).double().eval()
    outputs = net.activations(images())
    assert net.stage_names == list(outputs) == CASES[case][2]
    assert outputs["head"].shape == (6, 5)
    assert torch.equal(outputs["head"], net(images()))
    assert all(output.shape[0] == 6 for output in outputs.values())
    hidden = list(outputs)[-2]
    assert outputs[hidden].dim() == 2


@pytest.mark.parametrize("case", CASES)
def test_no_stage_changes_an_earlier_output(case: str) -> None:
    net = network(case).double()
    by_hand, x = {}, images()
    for name, stage in net.stages.items():
        x = stage(x)
        by_hand[name] = x.clone()
    outputs = network(case).double().activations(images())
    for name, output in outputs.items():
        assert torch.equal(output, by_hand[name]), name


@pytest.mark.parametrize("case", CASES)
def test_initial_values_come_from_the_given_generator_alone(case: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = network(case).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = network(case).state_dict()
    other = network(case, seed=1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].dim() > 1]
    assert drawn
    assert all(not torch.equal(first[name], other[name]) for name in drawn)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_is_finite_and_learns(case: str) -> None:
    net = network(case).double()
    functional.cross_entropy(net(images()), torch.arange(6) % 5).backward()
    for name, parameter in net.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert stage_of(name) in net.stage_names


@pytest.mark.parametrize("case", CASES)
def test_packed_training_step_equals_separate_ones(case: str) -> None:
    """Three networks stacked under vmap: outputs, gradients and batch statistics."""
    nets = [network(case, seed).double() for seed in range(3)]
    x = torch.stack([images(seed) for seed in range(3)])
    y = torch.stack([(torch.arange(6) + seed) % 5 for seed in range(3)])
    parameters, buffers = stack_module_state([network(case, s).double() for s in range(3)])  # type: ignore[arg-type]

    def loss(parameters: dict, buffers: dict, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional_call(template, (parameters, buffers), (x,))
        return functional.cross_entropy(logits, y), logits

    template = network(case).double().train()
    losses, logits = torch.vmap(loss, randomness="error")(parameters, buffers, x, y)
    losses.sum().backward()
    for index, net in enumerate(nets):
        expected = net.train()(x[index])
        functional.cross_entropy(expected, y[index]).backward()
        torch.testing.assert_close(logits[index], expected, rtol=1e-12, atol=1e-12)
        for name, parameter in net.named_parameters():
            gradient = parameters[name].grad[index]
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-12, atol=1e-12)
        for name, buffer in net.named_buffers():
            torch.testing.assert_close(buffers[name][index], buffer, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_functional_call_on_views_of_stacked_tensors_equals_the_module(case: str) -> None:
    """The loop over the seeds of a pack, bit for bit."""
    nets = [network(case, seed).train() for seed in range(2)]
    parameters, buffers = stack_module_state([network(case, s) for s in range(2)])  # type: ignore[arg-type]
    template = network(case).train()
    for index, net in enumerate(nets):
        own = {name: tensor[index] for name, tensor in {**parameters, **buffers}.items()}
        x = images(index).float()
        assert torch.equal(functional_call(template, own, (x,)), net(x))
        for name, buffer in net.named_buffers():
            assert torch.equal(buffers[name][index], buffer)


@pytest.mark.parametrize("case", CASES)
def test_weight_matrices_hold_every_weight_once(case: str) -> None:
    net = network(case)
    matrices = weight_matrices(net)
    weights = [p for p in net.parameters() if p.dim() > 1]
    assert sum(m.numel() for m in matrices.values()) == sum(p.numel() for p in weights)
    entries = torch.cat([m.flatten() for m in matrices.values()]).sort().values
    assert torch.equal(entries, torch.cat([p.flatten() for p in weights]).sort().values)
    assert all(matrix.dim() == 2 for matrix in matrices.values())
    order = [net.stage_names.index(name.split(".")[0]) for name in matrices]
    assert order == sorted(order)
    assert list(matrices)[-1] == "head"


@pytest.mark.parametrize("case", CASES)
def test_weight_matrices_of_a_slice_and_of_a_stack_of_seeds(case: str) -> None:
    nets = [network(case, seed) for seed in range(2)]
    stacked = {
        name: torch.stack([net.state_dict()[name] for net in nets]) for name in nets[0].state_dict()
    }
    sliced = {name: tensor[1] for name, tensor in stacked.items()}
    for name, matrix in weight_matrices(nets[0], stacked).items():
        assert torch.equal(matrix[0], weight_matrices(nets[0])[name])
        assert torch.equal(matrix[1], weight_matrices(nets[1])[name])
        assert torch.equal(matrix[1], weight_matrices(nets[0], sliced)[name])


@pytest.mark.parametrize(
    "name", ["mlp", "mnist_cnn", "resnet18", "resnet18_mlp", "vgg", "densenet"]
)
def test_initial_distribution_is_pytorchs(name: str) -> None:
    """Bounds are 1 / sqrt(fan_in), and the spread that of a uniform distribution."""
    module = importlib.import_module(f"forgetting.architectures.{name}")
    net = module.build((3, 16, 16), 10, module.Settings(), torch.Generator().manual_seed(0))
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            if layer.weight.numel() > 5000:
                assert 0.99 * bound < layer.weight.abs().max() <= bound
                assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert layer.bias is None or layer.bias.abs().max() <= bound
        if isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert not layer.bias.any()
            assert not layer.running_mean.any()
            assert torch.equal(layer.running_var, torch.ones_like(layer.running_var))
            assert layer.num_batches_tracked == 0
