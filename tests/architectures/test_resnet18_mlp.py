import torch

from forgetting.architectures import resnet18, resnet18_mlp
from forgetting.stages import Stages


def build(width: int = 4, outputs: int = 100, **settings) -> Stages:
    chosen = resnet18_mlp.Settings(width=width, **settings)
    return resnet18_mlp.build((3, 16, 16), outputs, chosen, torch.Generator().manual_seed(0))


def parameters(net: Stages) -> int:
    return sum(p.numel() for p in net.parameters())


def test_parameters_are_those_of_the_parts() -> None:
    plain = resnet18.build((3, 32, 32), 100, resnet18.Settings(), torch.Generator().manual_seed(0))
    assert parameters(plain) == 11_220_132
    # Twenty convolutions: the stem, two in each of eight blocks, three shortcuts.
    biases = 64 + 4 * (64 + 128 + 256 + 512) + 128 + 256 + 512
    hidden = 2 * (512 * 512 + 512)
    assert parameters(build(64)) == 11_220_132 + biases + hidden == 11_750_244
    assert parameters(build(64, hidden=[], biases=False)) == 11_220_132
    assert parameters(build(64, layer_norm=True)) == parameters(build(64)) + 4 * 512


def test_without_extras_it_is_resnet18() -> None:
    ours = build(hidden=[], biases=False).state_dict()
    theirs = resnet18.build(
        (3, 16, 16), 100, resnet18.Settings(width=4), torch.Generator().manual_seed(0)
    ).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_hidden_layers_follow_the_average() -> None:
    net = build(hidden=[9, 7], layer_norm=True, outputs=5)
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    outputs = net.activations(x)
    units = [outputs[name].shape[1] for name in ("features", "hidden1", "hidden2", "head")]
    assert units == [32, 9, 7, 5]
    assert all(outputs[name].min() == 0 for name in ("hidden1", "hidden2"))


def test_biases_do_what_batch_norm_lets_them() -> None:
    """They move the running mean, and nothing else while training."""
    net, x = build(), torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    net.double().train()
    before = net(x.double())
    mean = net.stages["stem"].norm.running_mean.clone()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("conv.bias", "conv1.bias", "conv2.bias")):
                parameter.add_(1.0)
    torch.testing.assert_close(net(x.double()), before)
    norm = net.stages["stem"].norm
    norm.running_mean.copy_(0.9 * mean + 0.1 * norm.running_mean)
    changed = [n for n, p in net.named_parameters() if n.endswith("conv.bias")]
    assert len(changed) == 4  # stem and shortcuts
    assert (
        sum(
            n.endswith(("conv.bias", "conv1.bias", "conv2.bias")) for n, _ in net.named_parameters()
        )
        == 20
    )
