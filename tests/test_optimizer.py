"""The optimiser against torch's optimiser classes, bit for bit."""

import subprocess
import sys

import pytest
import torch

from forgetting.optimizer import Optimizer


def shaped(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"weight": (2, 5, 4), "bias": (2, 5), "still": (3,)}
    return {n: torch.randn(s, generator=draw, requires_grad=True) for n, s in shapes.items()}


def follow(optimizer, params: dict, steps: range) -> None:
    for step in steps:
        gradients = shaped(100 + step)
        for name, parameter in params.items():
            parameter.grad = None if name == "still" else gradients[name].detach()
        optimizer.step()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_torch_also_after_taking_up_the_state(kind, decay, momentum):
    ours, theirs = shaped(0), shaped(0)
    settings = {"rate": 0.1, "momentum": momentum, "betas": (0.8, 0.99), "decay": decay}
    first = Optimizer(ours, kind, **settings)
    if kind == "sgd":
        reference = torch.optim.SGD(theirs.values(), 0.1, momentum, weight_decay=decay, fused=True)
    else:
        reference = torch.optim.Adam(
            theirs.values(), 0.1, (0.8, 0.99), weight_decay=decay, fused=True
        )
    follow(first, ours, range(3))
    follow(reference, theirs, range(3))
    second = Optimizer(ours, kind, **settings)
    second.load(first.state)
    second.rate = reference.param_groups[0]["lr"] = 0.01
    follow(second, ours, range(3, 7))
    follow(reference, theirs, range(3, 7))
    for name, parameter in ours.items():
        assert torch.equal(parameter, theirs[name]), name
        slots = {k: v for k, v in reference.state[theirs[name]].items() if v is not None}
        assert second.state.get(name, {}).keys() == slots.keys()
        for key, slot in slots.items():
            assert torch.equal(second.state[name][key], slot)
    assert torch.equal(ours["still"], shaped(0)["still"])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_fused_steps_are_the_plain_ones_up_to_rounding(kind):
    ours, theirs = shaped(0), shaped(0)
    optimizer = Optimizer(ours, kind, rate=0.1, momentum=0.9, betas=(0.8, 0.99), decay=0.3)
    settings = {"weight_decay": 0.3, "foreach": False, "fused": False}
    if kind == "sgd":
        plain = torch.optim.SGD(theirs.values(), 0.1, 0.9, **settings)
    else:
        plain = torch.optim.Adam(theirs.values(), 0.1, (0.8, 0.99), **settings)
    follow(optimizer, ours, range(7))
    follow(plain, theirs, range(7))
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_parameter_that_starts_to_train_later_has_slots_from_then_on():
    ours, alone = shaped(0), shaped(0)
    both = Optimizer(ours, "sgd", rate=0.1, momentum=0.9)
    single = Optimizer({"still": alone["still"]}, "sgd", rate=0.1, momentum=0.9)
    follow(both, ours, range(2))
    for _ in range(3):
        for optimizer in (both, single):
            optimizer.params["still"].grad = torch.ones(3)
            optimizer.step()
    assert torch.equal(ours["still"], alone["still"])


def test_moments_are_the_slots_of_the_parameters_shape():
    params = shaped(0)
    optimizer = Optimizer(params, "adam", rate=0.1)
    assert optimizer.moments("weight") == {}
    follow(optimizer, params, range(1))
    assert optimizer.moments("weight").keys() == {"exp_avg", "exp_avg_sq"}
    optimizer.moments("weight")["exp_avg"].zero_()
    assert not optimizer.state["weight"]["exp_avg"].any()


def test_a_training_never_imports_the_compiler():
    """It costs about a second of every job (the reason why the optimiser classes are not used)."""
    code = (
        "import sys, toy; toy.trained([{'component': 'sgd', 'settings': {}}], epochs=1);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    paths = [p for p in sys.path if p]
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
