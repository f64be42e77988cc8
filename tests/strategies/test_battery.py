"""What every strategy found in the folder has to satisfy, whatever it does."""

import inspect

import pytest
import torch

import toy
from forgetting import components
from forgetting.strategy import Context
from forgetting.tasks import Batch

NAMES = components.names("strategies")
# Settings under which a strategy acts in the small trainings here (default: its defaults), and
# under which it must be exactly plain training (default: strength 0). One without strengths, whose
# working is its schedule, has none.
ACTIVE = {
    "experience_replay": {"buffer": 20},
    "lwf": {"alpha": 3.0},
    "ewc": {"strength": 10.0, "batch": 20},
    "si": {"strength": 1.0, "damping": 0.01},
    "single_task": {"task": 3},
    "l2": {"strength": 0.01},
    "effective_rank": {"rate": 1e-3, "every": 2},
    "continual_backprop": {"rate": 0.05, "maturity": 3},
    "continual_backprop_path": {"rate": 0.05, "maturity": 3},
    "replace_most_useful": {"rate": 0.05, "maturity": 3},
    "redo": {"threshold": 0.5, "every": 3},
    "shrink_perturb": {"noise": 0.01},
}
# Architectures in which a strategy finds nothing to work on.
WITHOUT = dict.fromkeys(
    ("continual_backprop", "replace_most_useful", "redo"), ("convgru", "resnet18")
) | {"continual_backprop_path": ("convgru",)}
# Settings under which the gradient of a penalty is that of its value to all digits.
CONVERGED = {"spectral_norm": {"strength": 0.1, "iterations": 400}}
# Strategies that reward something: their term is negative.
REWARDS = ("nc1",)
# Every strategy once, and once more where settings change what it keeps in memory.
CASES = [pytest.param(name, ACTIVE.get(name, {}), id=name) for name in NAMES] + [
    pytest.param(
        "ewc",
        {"strength": 10.0, "fisher": "exact", "images": 30, "accumulate": "online", "gamma": 0.5},
        id="ewc-exact-online",
    ),
    pytest.param("ewc", {"strength": 10.0, "fisher": "empirical"}, id="ewc-empirical"),
    pytest.param("si", {"gradient": "total", "nonnegative": False}, id="si-total"),
    pytest.param("freeze", {"stages": 1, "statistics": False}, id="freeze-statistics"),
    pytest.param(
        "experience_replay",
        {"buffer": 20, "fraction": 0.3, "replay_from": "earlier_tasks"},
        id="experience_replay-earlier_tasks",
    ),
    pytest.param(
        "effective_rank",
        {"rate": 1e-4, "every": 3, "when": "after", "layers": 1},
        id="effective_rank-after",
    ),
    pytest.param(
        "continual_backprop",
        {
            "rate": 0.05,
            "maturity": 3,
            "utility": "adaptable_contribution",
            "accumulate": False,
            "transfer_bias": True,
            "clear_slots": "all",
        },
        id="continual_backprop-paper",
    ),
    pytest.param("redo", {"threshold": 0.5, "every": 3, "clear_slots": "all"}, id="redo-slots"),
    pytest.param(
        "shrink_perturb", {"when": "task_start", "shrink": 0.5, "noise": 0.1}, id="shrink-start"
    ),
    pytest.param(
        "shrink_perturb",
        {"when": "task_start", "perturbation": "gaussian", "noise": 0.1},
        id="shrink-start-gaussian",
    ),
    pytest.param("reset", {"weights": "same"}, id="reset-same"),
    pytest.param("nc1", {"strength": 0.5, "cap": 1.0, "tasks": [2, 3]}, id="nc1-tasks"),
]
NEUTRAL = {
    "sgd": [{}],
    "lwf": [{"alpha": 0.0}],
    "experience_replay": [{"buffer": 0}, {"replay": 0}, {"fraction": 0.0}],
    "freeze": [{"stages": 0}],
    "effective_rank": [{"rate": 0}],
    "continual_backprop": [{"rate": 0}],
    "continual_backprop_path": [{"rate": 0}],
    "replace_most_useful": [{"rate": 0}],
    "redo": [{"threshold": None}],
    "shrink_perturb": [{"noise": 0}, {"noise": 0, "when": "task_start"}],
}
for _name in set(NAMES) - set(NEUTRAL):
    if "strength" in components.settings_class("strategies", _name).model_fields:
        NEUTRAL[_name] = [{"strength": 0}]
HOOKS = {
    "phases": ["tasks", "settings"],
    "start": ["net", "settings"],
    "frozen": ["settings", "stages", "task"],
    "start_plan": ["settings"],
    "plan": ["memory", "settings", "indices", "task", "first_pass", "generator"],
    "optimizer": ["settings"],
    "own_step": ["settings"],
    "own_loss": ["net", "batch", "memory", "settings", "context"],
    "visits": ["settings"],
    "visit": ["net", "memory", "settings", "batch", "draws", "context"],
    "after_task": ["net", "memory", "settings", "task", "context"],
}
# Hooks that name the facts they want, as keyword parameters, after these.
OF_ONE = ["net", "memory", "settings"]
FACTS = {
    "loss": (
        ["net", "batch", "logits", "memory", "settings"],
        set(),
        {"activations", "context"},
    ),
    "before_task": (OF_ONE, {"task"}, {"context", "fresh", "normal"}),
    "after_step": (
        OF_ONE,
        set(),
        {
            "before",
            "gradients",
            "slots",
            "activations",
            "layer_inputs",
            "batch",
            "context",
            "drawn",
            "step",
        },
    ),
    "draw": (["settings"], set(), {"params", "network", "generator", "step"}),
}


def entry(name, settings=None):
    return [{"component": name, "settings": ACTIVE.get(name, {}) if settings is None else settings}]


def assert_equal(one, other):
    assert one.kept.keys() == other.kept.keys()
    for name, tensors in one.kept.items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, other.kept[name][key]), (name, key)
    assert one.record.accuracy == other.record.accuracy
    assert one.record.history == other.record.history


@pytest.mark.parametrize("name", NAMES)
def test_hooks_have_the_arguments_that_the_loop_gives(name):
    module = components.load("strategies", name)
    assert hasattr(module, "Settings")
    for hook, arguments in HOOKS.items():
        if hasattr(module, hook):
            assert list(inspect.signature(getattr(module, hook)).parameters) == arguments
    for hook, (first, always, facts) in FACTS.items():
        if hasattr(module, hook):
            parameters = inspect.signature(getattr(module, hook)).parameters
            named = set(list(parameters)[len(first) :])
            assert list(parameters)[: len(first)] == first
            assert always <= named <= always | facts
            assert all(parameters[name].kind.name == "KEYWORD_ONLY" for name in named)


@pytest.mark.parametrize(("name", "settings"), [(n, s) for n in NAMES for s in NEUTRAL.get(n, [])])
@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
def test_strength_zero_is_plain_training_bit_for_bit(name, settings, architecture):
    plain = toy.trained(entry("sgd"), architecture=architecture, dtype="float32", epochs=1)
    neutral = toy.trained(
        entry(name, settings), architecture=architecture, dtype="float32", epochs=1
    )
    assert_equal(plain, neutral)


def test_every_strategy_with_a_strength_states_its_neutral_setting():
    scheduled = {n for n in NAMES if hasattr(components.load("strategies", n), "phases")}
    assert set(NAMES) - scheduled <= set(NEUTRAL), "call the setting strength, or add to NEUTRAL"


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_are_equal(name):
    assert_equal(toy.trained(entry(name)), toy.trained(entry(name)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sgd"}))
def test_it_differs_from_plain_training_when_it_acts(name):
    plain, acting = toy.trained(entry("sgd")), toy.trained(entry(name))
    assert any(
        not torch.equal(tensor, acting.kept["task-3"][key])
        for key, tensor in plain.kept["task-3"].items()
    )


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize("architecture", ["mlp", "convgru", "resnet18"])
@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_a_pack_equals_its_seeds_alone(name, chosen, architecture, scenario):
    if architecture in WITHOUT.get(name, ()):
        pytest.skip("finds no units there")
    seeds = (0, 3)
    # Small steps over batches of equal size: batch norm over the two samples of a ragged last
    # batch amplifies rounding without bound.
    settings = {"architecture": architecture, "scenario": scenario, "learning_rate": 0.01}
    settings["batch_size"] = 10
    if architecture == "resnet18":  # rounding grows more than tenfold in a task of two epochs
        settings["epochs"] = 1
    pack = toy.trained(entry(name, chosen), seeds, **settings)
    for position, seed in enumerate(seeds):
        alone = toy.trained(entry(name, chosen), (seed,), **settings)
        assert [row for row in pack.record.accuracy if row[0] == seed] == alone.record.accuracy
        for moment, tensors in alone.kept.items():
            for key, tensor in tensors.items():
                torch.testing.assert_close(
                    pack.kept[moment][key][position], tensor[0], rtol=1e-10, atol=1e-10
                )


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("architecture", "seeds"), [("mlp", (0,)), ("mlp", (0, 1)), ("resnet18", (0,))]
)
@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_memory_survives_save_and_load_in_mid_task(name, chosen, architecture, seeds, tmp_path):
    from forgetting import resume

    if architecture in WITHOUT.get(name, ()):
        pytest.skip("finds no units there")
    settings = {"architecture": architecture, "learning_rate": 0.01}
    whole = toy.trained(entry(name, chosen), seeds, **settings)
    # Stop in the middle of the second phase's second epoch (the first, where there is only one),
    # write, read, go on in a new object.
    stopped = toy.training(entry(name, chosen), seeds, **settings)
    last = min(1, len(stopped.phases) - 1)

    def stop():
        if (stopped.phase, stopped.epoch, stopped.step) == (last, 1, 3):
            raise Killed

    with pytest.raises(Killed):
        stopped.run(stop)
    resume.save(tmp_path / "state.pt", stopped.state())
    taken_up = toy.training(entry(name, chosen), seeds, **settings)
    taken_up.kept.update(stopped.kept)
    taken_up.restore(resume.load(tmp_path / "state.pt"))
    taken_up.run()
    assert_equal(whole, taken_up)


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize(
    "name", [n for n in NAMES if hasattr(components.load("strategies", n), "loss")]
)
def test_a_penalty_is_positive_after_a_move_and_its_gradient_is_right(name, scenario):
    """In the second task; the gradient against central differences in random directions."""
    run = toy.training(entry(name, CONVERGED.get(name)), scenario=scenario)

    def stop():
        if (run.phase, run.step) == (1, 0):
            raise Killed

    with pytest.raises(Killed):
        run.run(stop)
    generator = torch.Generator().manual_seed(0)
    context = Context(run.benchmark.outputs_of(2)[0], run.benchmark.old_groups(2)[0])
    indices = torch.from_numpy(run.benchmark.train_indices([2])[:, :16])
    inputs, targets = run.benchmark.fetch(indices, 2)
    batch = Batch(inputs[0], targets[0], None)
    weights = {n: p.detach().clone() for n, p in run.ensemble.params.items()}
    with torch.no_grad():
        for parameter in run.ensemble.params.values():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            )
    moved = {n: p.detach().clone() for n, p in run.ensemble.params.items()}

    def penalty() -> torch.Tensor:
        net = run.ensemble.net(run.ensemble.params, run.ensemble.buffers)
        known = {"context": context, "activations": net.activations(batch.inputs)}
        logits = known["activations"]["head"]
        return sum(run.strategy.loss(net, batch, logits, run.memory, known).values())

    value = penalty()
    assert value < 0 if name in REWARDS else value > 0
    gradients = torch.autograd.grad(value, list(run.ensemble.params.values()), allow_unused=True)
    assert any((moved[n] != weights[n]).any() for n in moved)
    for _ in range(3):
        direction = {
            n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in moved.items()
        }
        slope = sum(
            (g * direction[n]).sum() for n, g in zip(moved, gradients, strict=True) if g is not None
        )
        shifted = []  # a short step, so that no unit crosses its kink
        for step in (1e-7, -1e-7):
            with torch.no_grad():
                for n, parameter in run.ensemble.params.items():
                    parameter.copy_(moved[n] + step * direction[n])
            shifted.append(penalty().detach())
        numeric = (shifted[0] - shifted[1]) / 2e-7
        torch.testing.assert_close(slope, numeric, rtol=1e-5, atol=1e-7)
