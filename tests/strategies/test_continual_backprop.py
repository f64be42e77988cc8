"""Continual backpropagation and its kin, unit by unit, against plain loops over numbers."""

import itertools
import math

import pytest
import torch

import toy
from forgetting.ensemble import Ensemble
from forgetting.hidden_units import hidden_layers
from forgetting.randomness import torch_generator
from forgetting.strategies import _unit_replacement as unit_replacement
from forgetting.strategies import continual_backprop, redo, replace_most_useful

from test_hidden_units import convolutional  # isort: skip

WIDTHS = (4, 5, 3, 2)  # inputs, two hidden layers, outputs
STAGES = ("hidden1", "hidden2")
WEIGHTS = ("stages.hidden1.linear", "stages.hidden2.linear", "stages.head")


def perceptron(seed=0):
    from forgetting.architectures import mlp

    settings = mlp.Settings(hidden=WIDTHS[1:3])
    return mlp.build((1, 2, 2), 2, settings, torch_generator("perceptron", seed)).double()


def plain(ensemble):
    """Weights and biases as nested lists."""
    return (
        [ensemble.params[f"{name}.weight"].tolist() for name in WEIGHTS],
        [ensemble.params[f"{name}.bias"].tolist() for name in WEIGHTS],
    )


def slots_like(ensemble, names):
    return {
        name: {slot: torch.ones_like(p, requires_grad=False) for slot in names}
        for name, p in ensemble.params.items()
    }


class Loops:
    """The published algorithm for a perceptron, one number at a time."""

    def __init__(self, weights, biases, **settings):
        self.weights, self.biases = weights, biases
        self.set = settings
        self.state = [
            [{"age": 0, "mean": 0.0, "utility": 0.0} for _ in range(n)] for n in WIDTHS[1:3]
        ]
        self.due = [0.0, 0.0]
        self.replaced = []  # (layer, unit) of the last step
        self.total = 0

    def step(self, activations, drawn, chance):
        s, chosen = self.set, []
        for layer, units in enumerate(self.state):
            into, out = self.weights[layer], self.weights[layer + 1]
            scores = {}
            for j, unit in enumerate(units):
                h = [float(row[j]) for row in activations[layer]]
                unit["age"] += 1
                unbias = 1 - s["decay"] ** unit["age"]
                mean = sum(h) / len(h)
                unit["mean"] = s["decay"] * unit["mean"] + (1 - s["decay"]) * mean
                w_out = sum(abs(row[j]) for row in out) / len(out)
                if s["utility"] == "contribution":
                    y = w_out * sum(abs(x) for x in h) / len(h)
                else:
                    centre = unit["mean"] / unbias
                    apart = sum(abs(x - centre) for x in h) / len(h)
                    y = w_out * apart / (sum(abs(w) for w in into[j]) / len(into[j]))
                unit["utility"] = s["decay"] * unit["utility"] + (1 - s["decay"]) * y
                if unit["age"] > s["maturity"]:
                    scores[j] = unit["utility"] / unbias
            fraction = s["rate"] * len(scores)
            if s["accumulate"]:
                self.due[layer] += fraction
                count = int(self.due[layer])
                self.due[layer] -= count
            else:
                count = int(fraction) + (1 if chance[layer] + fraction % 1 >= 1 else 0)
            chosen.append(sorted(scores, key=scores.get)[:count])
        self.replaced = [(layer, j) for layer, of in enumerate(chosen) for j in of]
        self.total += len(self.replaced)
        for layer, of in enumerate(chosen):
            for row, j in enumerate(of):
                unit = self.state[layer][j]
                self.weights[layer][j] = drawn[layer][row].tolist()
                self.biases[layer][j] = 0.0
                for k, weights in enumerate(self.weights[layer + 1]):
                    if s["transfer_bias"]:
                        mean = unit["mean"] / (1 - s["decay"] ** unit["age"])
                        self.biases[layer + 1][k] += weights[j] * mean
                    weights[j] = 0.0
            for j in of:
                self.state[layer][j] = {"age": 0, "mean": 0.0, "utility": 0.0}


def draws(settings, network, generator, step):
    drawn = continual_backprop.draw(settings, network=network, generator=generator, step=step)
    of_layers = [drawn.get(stage, {}) for stage in STAGES]
    return drawn, [own.get("incoming") for own in of_layers], [
        float(own.get("chance", 0.0)) for own in of_layers
    ]  # fmt: skip


@pytest.mark.parametrize("accumulate", [True, False])
@pytest.mark.parametrize("transfer", [True, False])
@pytest.mark.parametrize("utility", ["contribution", "adaptable_contribution"])
def test_replacements_are_those_of_the_published_loops(utility, transfer, accumulate):
    """Weights move by themselves between steps, as if trained; compare everything each time."""
    chosen = {"rate": 0.3, "maturity": 2, "decay": 0.8, "utility": utility}
    chosen |= {"transfer_bias": transfer, "accumulate": accumulate}
    settings = continual_backprop.Settings(**chosen)
    ensemble = Ensemble([perceptron()])
    loops = Loops(*plain(ensemble), **chosen)
    net = ensemble.net(ensemble.params, ensemble.buffers)
    memory = continual_backprop.start(net, settings)
    generator = torch.Generator().manual_seed(3)
    together = 0
    with torch.no_grad():
        for step in range(1, 13):
            slots = slots_like(ensemble, ("exp_avg", "momentum_buffer"))
            hidden = [
                torch.randn(6, n, dtype=torch.float64, generator=generator).relu()
                for n in WIDTHS[1:3]
            ]
            drawn, rows, chance = draws(settings, net.training, generator, step)
            activations = dict(zip((*STAGES, "head"), (*hidden, None), strict=True))
            memory = continual_backprop.after_step(
                net,
                memory,
                settings,
                activations=activations,
                slots=slots,
                drawn=drawn,
                step=step,
            )
            loops.step(hidden, rows, chance)
            together += {layer for layer, _ in loops.replaced} == {0, 1}
            for index, name in enumerate(WEIGHTS):
                for part, expected in (
                    ("weight", loops.weights[index]),
                    ("bias", loops.biases[index]),
                ):
                    torch.testing.assert_close(
                        net.params[f"{name}.{part}"].detach(),
                        torch.tensor(expected, dtype=torch.float64),
                        rtol=1e-12,
                        atol=1e-12,
                    )
            for layer, stage in enumerate(STAGES):
                for j, unit in enumerate(loops.state[layer]):
                    own = {fact: float(values[j]) for fact, values in memory[stage].items()}
                    assert step - own["born"] == unit["age"]
                    assert own["utility"] == pytest.approx(unit["utility"], rel=1e-12)
                    if transfer or utility == "adaptable_contribution":
                        assert own["mean"] == pytest.approx(unit["mean"], rel=1e-12)
            # What the optimiser keeps: 0 for weights into, out of, and biases of units replaced.
            for layer in range(3):
                shape = net.params[f"{WEIGHTS[layer]}.weight"].shape
                for j in range(shape[0]):
                    own = (layer, j) in loops.replaced
                    bias = slots[f"{WEIGHTS[layer]}.bias"]
                    assert float(bias["exp_avg"][j]) == (0 if own else 1)
                    for i in range(shape[1]):
                        lost = own or (layer - 1, i) in loops.replaced
                        kept = slots[f"{WEIGHTS[layer]}.weight"]
                        assert float(kept["exp_avg"][j, i]) == (0 if lost else 1)
                        assert float(kept["momentum_buffer"][j, i]) == 1
            for index, name in enumerate(WEIGHTS):
                for part, of in (("weight", loops.weights), ("bias", loops.biases)):
                    parameter = net.params[f"{name}.{part}"]
                    parameter.add_(
                        torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
                    )
                    of[index] = parameter.tolist()
    assert loops.total >= 6
    assert together >= 1  # units of both layers replaced in one step


@pytest.mark.parametrize(
    ("clear", "expected"), [("none", (1, 1)), ("adam", (0, 1)), ("all", (0, 0))]
)
def test_what_is_cleared_of_the_optimiser(clear, expected):
    settings = continual_backprop.Settings(rate=1.0, maturity=0, clear_slots=clear)
    ensemble = Ensemble([perceptron()])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    slots = slots_like(ensemble, ("exp_avg_sq", "momentum_buffer"))
    hidden = {s: torch.ones(2, n).double() for s, n in zip(STAGES, WIDTHS[1:], strict=False)}
    drawn, _, _ = draws(settings, net.training, torch.Generator().manual_seed(0), 1)
    with torch.no_grad():
        continual_backprop.after_step(
            net,
            continual_backprop.start(net, settings),
            settings,
            activations=hidden,
            slots=slots,
            drawn=drawn,
            step=1,
        )
    for name in ("stages.hidden1.linear.weight", "stages.head.weight"):
        assert (slots[name]["exp_avg_sq"] == expected[0]).all()
        assert (slots[name]["momentum_buffer"] == expected[1]).all()
    assert (slots["stages.head.bias"]["exp_avg_sq"] == 1).all()  # the outputs are no hidden units
    assert (net.params["stages.head.weight"] == 0).all()
    assert (net.params["stages.hidden2.linear.weight"] != 0).all()  # drawn after it was zeroed


def counts(rate, steps, **more):
    """Replacements in every step in each hidden layer, when all activations are alike."""
    settings = continual_backprop.Settings(rate=rate, **more)
    ensemble = Ensemble([perceptron()])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    memory, found = continual_backprop.start(net, settings), []
    generator = torch.Generator().manual_seed(0)
    hidden = {s: torch.ones(1, n).double() for s, n in zip(STAGES, WIDTHS[1:], strict=False)}
    with torch.no_grad():
        for step in range(1, steps + 1):
            drawn, _, _ = draws(settings, net.training, generator, step)
            memory = continual_backprop.after_step(
                net, memory, settings, activations=hidden, slots={}, drawn=drawn, step=step
            )
            found.append([int((memory[s]["born"] == step).sum()) for s in STAGES])
    return found


def test_fractions_of_a_replacement_add_up():
    # 5 and 3 units of age 1 and more: 0.5 and 0.3 a step.
    found = counts(0.1, 10, maturity=0)
    assert [row[0] for row in found] == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert sum(row[1] for row in found[:9]) == 2
    # A rate at which whole units are due: 1.5 and 0.9 a step, on average and at most one apart.
    found = counts(0.3, 10, maturity=0)
    assert [row[0] for row in found] == [1, 2] * 5


def test_without_accumulation_the_fraction_is_a_chance():
    found = counts(0.1, 150, maturity=0, accumulate=False)
    for layer, chance in enumerate((0.5, 0.3)):
        share = sum(row[layer] for row in found) / 150
        assert {row[layer] for row in found} == {0, 1}
        assert abs(share - chance) < 3 * math.sqrt(chance * (1 - chance) / 150)


def test_only_mature_units_are_replaced():
    found = counts(1.0, 10, maturity=3)
    assert found == [[0, 0]] * 3 + [[5, 3]] + [[0, 0]] * 3 + [[5, 3]] + [[0, 0]] * 2


def test_how_many_are_due_can_be_asked_at_any_step():
    """As after a resume: from the middle, twice, and backwards."""
    chosen = {"rate": 0.013, "maturity": 7}
    whole = [unit_replacement.due(step, 31, **chosen) for step in range(1, 200)]
    unit_replacement._schedule.cache_clear()
    for step in (150, 150, 151, 20, 199):
        assert unit_replacement.due(step, 31, **chosen) == whole[step - 1]
    ages, left = [0] * 31, 0.0  # units by themselves, the oldest replaced
    for count in whole:
        ages = sorted((age + 1 for age in ages), reverse=True)
        left += 0.013 * sum(age > 7 for age in ages)
        assert count == int(left)
        left -= count
        ages[:count] = [0] * count
    assert sum(whole) > 60


def test_incoming_weights_are_drawn_within_their_bound():
    network = perceptron()
    for initialisation, square in (("kaiming", 6), ("lecun", 3), ("pytorch", 1)):
        settings = continual_backprop.Settings(rate=0.8, maturity=0, initialisation=initialisation)
        _, rows, _ = draws(settings, network, torch.Generator().manual_seed(1), 1)
        assert [tuple(r.shape) for r in rows] == [(4, 4), (2, 5)]  # the whole of 4.0 and 2.4
        for row, fan_in in zip(rows, (4, 5), strict=True):
            bound = math.sqrt(square / fan_in)
            assert 0.6 * bound < row.abs().max() <= bound
            assert row.dtype == torch.float64


@pytest.mark.parametrize("utility", ["contribution", "adaptable_contribution"])
def test_channels_before_a_linear_layer(utility):
    """Utility and mean of a channel by loops over positions; a replaced one loses its columns."""
    network = convolutional().train()
    ensemble = Ensemble([network])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    settings = continual_backprop.Settings(
        rate=0.2, maturity=0, decay=0.5, utility=utility, transfer_bias=True
    )
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=generator)
    layers = {layer.stage: layer for layer in hidden_layers(network)}
    expected, means = {}, {}
    with torch.no_grad():
        activations = net.activations(images)
        for stage, layer in layers.items():
            h, own = activations[stage], net.params[layer.weight].abs()
            out = net.params[layer.outgoing].abs()
            for j in range(layer.units):
                places = list(itertools.product(*map(range, h.shape[2:])))
                # decay 0.5 at age 1: the corrected mean is that of this batch.
                mean = sum(float(h[(i, j, *p)]) for i in range(3) for p in places)
                mean /= 3 * len(places)
                centre = mean if utility == "adaptable_contribution" else 0.0
                value = 0.0
                for number, p in enumerate(places):
                    size = sum(abs(float(h[(i, j, *p)]) - centre) for i in range(3)) / 3
                    columns = out[:, j]
                    if stage == "conv2":
                        columns = out[:, len(places) * j + number]
                    value += float(columns.mean()) * size / len(places)
                if utility == "adaptable_contribution":
                    value /= float(own[j].mean())
                expected[stage, j], means[stage, j] = 0.5 * value, mean
        before = {name: p.detach().clone() for name, p in net.params.items()}
        drawn = continual_backprop.draw(settings, network=network, generator=generator, step=1)
        assert set(drawn) == {"conv2", "fc"}
        memory = continual_backprop.after_step(
            net,
            continual_backprop.start(net, settings),
            settings,
            activations=activations,
            slots={},
            drawn=drawn,
            step=1,
        )
    gone = min(range(5), key=lambda j: expected["conv2", j])
    for (stage, j), value in expected.items():
        age = 1 - int(memory[stage]["born"][j])
        assert age == (0 if (stage, j) == ("conv2", gone) or (age == 0 and stage == "fc") else 1)
        if age:
            assert float(memory[stage]["utility"][j]) == pytest.approx(value, rel=1e-10)
    fc = "stages.fc.linear"
    for column in range(20):
        zero = (net.params[f"{fc}.weight"][:, column] == 0).sum()
        # One of the six units of the linear layer was replaced as well, its row drawn anew.
        assert zero == (5 if column // 4 == gone else 0)
    torch.testing.assert_close(
        net.params["stages.conv2.conv.weight"][gone], drawn["conv2"]["incoming"][0]
    )
    (renewed,) = (memory["fc"]["born"] == 1).nonzero().flatten().tolist()
    moved = before[f"{fc}.weight"][:, 4 * gone : 4 * gone + 4].sum(1) * means["conv2", gone]
    for k in range(6):
        wanted = 0.0 if k == renewed else float(before[f"{fc}.bias"][k] + moved[k])
        assert float(net.params[f"{fc}.bias"][k].detach()) == pytest.approx(wanted, rel=1e-10)


# -------------------------------------------------------- the variant that replaces useful units


def test_the_most_useful_units_are_replaced_with_random_outgoing_weights():
    chosen = {"rate": 0.3, "maturity": 2, "decay": 0.8}
    settings = replace_most_useful.Settings(**chosen)
    ensemble = Ensemble([perceptron()])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    memory = replace_most_useful.start(net, settings)
    generator = torch.Generator().manual_seed(5)
    age, utility, due = [[0] * 5, [0] * 3], [[0.0] * 5, [0.0] * 3], [0.0, 0.0]
    total = 0
    with torch.no_grad():
        for step in range(1, 9):
            weights, biases = plain(ensemble)
            slots = slots_like(ensemble, ("exp_avg", "momentum_buffer"))
            hidden = [
                torch.randn(6, n, dtype=torch.float64, generator=generator) for n in WIDTHS[1:3]
            ]
            drawn = replace_most_useful.draw(
                settings, network=net.training, generator=generator, step=step
            )
            memory = replace_most_useful.after_step(
                net,
                memory,
                settings,
                activations=dict(zip(STAGES, hidden, strict=True)),
                slots=slots,
                drawn=drawn,
                step=step,
            )
            gone = []
            for layer in range(2):
                for j in range(WIDTHS[layer + 1]):
                    mean = sum(float(row[j]) for row in hidden[layer]) / 6
                    out = weights[layer + 1]
                    size = sum(abs(row[j]) for row in out) / len(out)
                    utility[layer][j] = 0.8 * utility[layer][j] + 0.2 * abs(mean) * size
                    age[layer][j] += 1
                mature = [j for j, a in enumerate(age[layer]) if a > 2]
                due[layer] += 0.3 * len(mature)
                count = int(due[layer])
                due[layer] -= count
                ranked = sorted(mature, key=lambda j: -utility[layer][j])
                gone.append(ranked[:count])
            for layer, of in enumerate(gone):
                for row, j in enumerate(of):
                    weights[layer][j] = drawn[STAGES[layer]]["incoming"][row].tolist()
                    biases[layer][j] = 0.0
                    for k, column in enumerate(drawn[STAGES[layer]]["outgoing"][row]):
                        weights[layer + 1][k][j] = float(column[0])
                    utility[layer][j] = age[layer][j] = 0
                    assert (slots[f"{WEIGHTS[layer]}.weight"]["exp_avg"][j] == 0).all()
                    assert (slots[f"{WEIGHTS[layer]}.weight"]["momentum_buffer"][j] == 1).all()
                    total += 1
            for index, name in enumerate(WEIGHTS):
                expected = torch.tensor(weights[index], dtype=torch.float64)
                assert torch.equal(net.params[f"{name}.weight"], expected)
                expected = torch.tensor(biases[index], dtype=torch.float64)
                assert torch.equal(net.params[f"{name}.bias"], expected)
            for layer, stage in enumerate(STAGES):
                assert (step - memory[stage]["born"]).tolist() == age[layer]
                assert memory[stage]["utility"].tolist() == pytest.approx(utility[layer])
    assert total >= 4


def test_bounds_of_new_weights_in_the_variant():
    network = convolutional()
    for kind, widest in (("height", math.sqrt(6 / 3)), ("fan_in", math.sqrt(6 / 9))):
        settings = replace_most_useful.Settings(rate=1.0, maturity=0, kernel_bound=kind)
        drawn = replace_most_useful.draw(
            settings, network=network, generator=torch.Generator().manual_seed(0), step=1
        )
        incoming, outgoing = drawn["conv1"]["incoming"], drawn["conv1"]["outgoing"]
        assert incoming.shape == (3, 1, 3, 3)
        assert outgoing.shape == (3, 5, 1, 3, 3)
        assert 0.8 * widest < incoming.abs().max() <= widest
        narrow = widest if kind == "height" else math.sqrt(6 / 27)
        assert 0.9 * narrow < outgoing.abs().max() <= narrow
        assert drawn["conv2"]["outgoing"].abs().max() <= math.sqrt(6 / 20)


# ---------------------------------------------------------------------------------- ReDo


def test_dormant_units_are_recycled_when_it_is_time():
    settings = redo.Settings(threshold=0.5, every=4, clear_slots="adam")
    ensemble = Ensemble([perceptron()])
    net = ensemble.net(ensemble.params, ensemble.buffers)
    hidden = {
        # Mean sizes 1, 2, 0.5, 0.1, 0.3: layer mean 0.78, so up to 0.39 is dormant.
        "hidden1": torch.tensor([[1.0, -2.0, 0.5, 0.0, 0.6], [-1.0, 2.0, 0.5, -0.2, 0.0]]).double(),
        "hidden2": torch.zeros(2, 3).double(),
    }
    before = {name: p.detach().clone() for name, p in net.params.items()}
    for step in (1, 2, 3, 4):
        drawn = redo.draw(
            settings,
            network=net.training,
            generator=torch.Generator().manual_seed(step),
            step=step,
        )
        slots = slots_like(ensemble, ("exp_avg", "momentum_buffer"))
        with torch.no_grad():
            redo.after_step(
                net, {}, settings, activations=hidden, slots=slots, drawn=drawn, step=step
            )
        if step < 4:
            assert not drawn
            assert all(torch.equal(before[name], p) for name, p in net.params.items())
    first, second, head = (f"{name}.weight" for name in WEIGHTS)
    dormant = [3, 4]
    for j in range(5):
        expected = drawn["hidden1"][j] if j in dormant else before[first][j]
        assert torch.equal(net.params[first][j], expected)
        assert (net.params["stages.hidden1.linear.bias"][j] == 0) == (j in dormant)
        assert (slots[first]["exp_avg"][j] == (0 if j in dormant else 1)).all()
    # Every unit of the silent second layer is dormant; its rows are drawn after the columns.
    assert torch.equal(net.params[second], drawn["hidden2"])
    assert (net.params[head] == 0).all()
    assert torch.equal(net.params["stages.head.bias"], before["stages.head.bias"])
    assert (slots[head]["momentum_buffer"] == 1).all()


def test_recycling_counts_steps_through_all_tasks():
    """Fifteen steps in three tasks of five: with ``every`` 15 weights move apart in the last."""
    parts = [{"component": "redo", "settings": {"threshold": 2.0, "every": 15}}]
    plain_parts = [{"component": "sgd", "settings": {}}]
    run, other = (toy.trained(p, epochs=1, batch_size=10) for p in (parts, plain_parts))
    for moment, same in (("task-2", True), ("task-3", False)):
        name = "stages.hidden1.linear.weight"
        assert torch.equal(run.kept[moment][name], other.kept[moment][name]) == same
