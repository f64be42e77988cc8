"""The frozen-feature model against runs that were frozen and against the kernel, sum by sum."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import two_task_runs
from forgetting.benchmarks import incremental
from forgetting.errors import UserError
from forgetting.measures import _frozen_features as model
from forgetting.measures import logit_change
from forgetting.randomness import numpy_generator
from forgetting.runs import RunView
from forgetting.training import Settings as TrainingSettings
from two_task_runs import SEEDS, diverged

RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "all": {"momentum": 0.8, "weight_decay": 0.01, "milestones": [1, 2], "epochs": 3, "gamma": 0.3},
}


def frozen(home: Path, *, benchmark: str = "shift", architecture: str = "resnet18", **rule: Any):
    """A run whose hidden stages do not move in task 2."""
    strategy = f"frozen-{architecture}"
    return two_task_runs.trained(
        home, strategy, benchmark=benchmark, architecture=architecture, **rule
    )


def both(run: RunView, index: int) -> tuple[dict[str, Tensor], Tensor]:
    """Predicted and measured changes of the logits of one seed."""
    training = TrainingSettings(**run.spec["training"])
    before, after = (run.network(index, f"task-{task}") for task in (1, 2))
    images = run.probe("test", 2000, task=1, seed_index=index)[0]
    batches = model.task_batches(run, index, before, training)
    predicted = logit_change.predictions(before, images, batches, training)
    return predicted, logit_change.measured_change(before, after, images)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("benchmark", "architecture"), [("shift", "resnet18"), ("shift", "mlp"), ("growing", "mlp")]
)
def test_exact_where_the_features_were_frozen(
    tmp_path: Path, rule: str, benchmark: str, architecture: str
) -> None:
    run = frozen(tmp_path, benchmark=benchmark, architecture=architecture, **RULES[rule])
    for index in range(len(SEEDS)):
        predicted, measured = both(run, index)
        assert measured.abs().max() > 0.01
        torch.testing.assert_close(predicted[""], measured, rtol=0, atol=1e-8)
        assert (predicted["_first_order"] - measured).abs().max() > 1e-3
    frame = logit_change.measure(run, logit_change.Settings())
    values = frame.set_index(["seed", "statistic"]).value
    for seed in SEEDS:
        for statistic in ("cosine", "correlation", "slope"):
            assert values[seed, statistic] == pytest.approx(1, abs=1e-8)
            assert abs(values[seed, f"{statistic}_first_order"] - 1) > 1e-6
        assert values[seed, "predicted_norm"] == pytest.approx(values[seed, "measured_norm"])


def test_first_order_is_exact_to_first_order(tmp_path: Path) -> None:
    """Where hardly anything moves, residuals stay, and both predictions are what happened.

    With a step size e the two differ by terms of order e^2: a tenth of e, a hundredth of that.
    """
    gaps = []
    for rate in (1e-4, 1e-5):
        run = frozen(tmp_path / str(rate), architecture="mlp", learning_rate=0.05, momentum=0.9)
        training = TrainingSettings(**{**run.spec["training"], "learning_rate": rate})
        before = run.network(0, "task-1")
        images = run.probe("test", 2000, task=1)[0]
        batches = model.task_batches(run, 0, before, training)
        found = logit_change.predictions(before, images, batches, training)
        gaps.append(float((found[""] - found["_first_order"]).norm()))
        assert gaps[-1] < 0.01 * float(found[""].norm())
    assert gaps[0] / gaps[1] == pytest.approx(100, rel=0.05)


def test_the_kernel_sum_sample_by_sample() -> None:
    """Delta f(x) = - sum_t eta_t / |B_t| sum_x' Theta(x, x') r_t(x'), all in Python numbers.

    The residuals r_t(x') of the functional form follow from logits that the kernel moves too.
    """
    rng = np.random.default_rng(0)
    g, probes = rng.normal(size=(7, 4)), rng.normal(size=(3, 4))
    g[:, -1] = probes[:, -1] = 1.0
    head = rng.normal(size=(3, 4))
    targets = [0, 2, 1, 1, 0, 2, 2]
    order = [[3, 0, 5], [1, 6, 2], [4], [6, 0, 1], [2, 3, 4], [5]]
    rates = [0.5, 0.5, 0.5, 0.1, 0.1, 0.1]

    def theta(a: np.ndarray, b: np.ndarray) -> float:
        return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))

    def residual(logits: list[float], target: int) -> list[float]:
        top = np.exp(logits)
        return [float(v / top.sum()) - (k == target) for k, v in enumerate(top)]

    def start(points: np.ndarray) -> list[list[float]]:
        return [[theta(weights, x) for weights in head] for x in points]

    own, seen = start(g), start(probes)
    first = [list(row) for row in seen]
    at_start = [residual(own[i], targets[i]) for i in range(7)]
    for step, rate in zip(order, rates, strict=True):
        errors = {i: residual(own[i], targets[i]) for i in step}
        for logits, points in ((own, g), (seen, probes)):
            for row, x in zip(logits, points, strict=True):
                for i in step:
                    for k in range(3):
                        row[k] -= rate / len(step) * theta(x, g[i]) * errors[i][k]
        for row, x in zip(first, probes, strict=True):
            for i in step:
                for k in range(3):
                    row[k] -= rate / len(step) * theta(x, g[i]) * at_start[i][k]

    batches = model.Batches(
        torch.from_numpy(g),
        torch.tensor(targets),
        [torch.tensor(step) for step in order],
        rates,
        None,
    )
    training = TrainingSettings()
    weights = torch.from_numpy(head)
    inputs = torch.from_numpy(probes)
    trained = inputs @ model.trained(weights, batches, training).mT
    torch.testing.assert_close(
        trained, torch.tensor(seen, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )
    moved = inputs @ (weights + model.first_order(weights, batches, training)).mT
    torch.testing.assert_close(
        moved, torch.tensor(first, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


def test_first_order_with_momentum_and_decay_is_the_optimiser_on_constant_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, 4, dtype=torch.float64, generator=generator)
    head = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    mask = torch.tensor([True, True, True])
    order = [torch.tensor(step) for step in ([0, 4, 8, 1], [2, 3, 5], [6, 7], [8, 0, 2, 4])]
    rates = [0.3, 0.3, 0.05, 0.05]
    batches = model.Batches(features, targets, order, rates, mask)
    training = TrainingSettings(momentum=0.7, weight_decay=0.2)
    fixed = head.clone().requires_grad_()
    moving = torch.nn.Parameter(head.clone())
    optimizer = torch.optim.SGD([moving], lr=1.0, momentum=0.7)
    for step, rate in zip(order, rates, strict=True):
        loss = torch.nn.functional.cross_entropy(features[step] @ fixed.mT, targets[step])
        (gradient,) = torch.autograd.grad(loss, fixed)
        moving.grad = gradient + 0.2 * head
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    found = model.first_order(head, batches, training)
    torch.testing.assert_close(found, moving.detach() - head, rtol=1e-12, atol=1e-12)


def test_residuals_are_the_gradient_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    head = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    targets, mask = torch.tensor([0, 3, 3, 1, 0, 1]), torch.tensor([1, 1, 0, 1, 0]).bool()
    logits = (features @ head.mT).requires_grad_()
    competing = logits.masked_fill(~mask, -torch.inf)
    loss = torch.nn.functional.cross_entropy(competing, targets, reduction="sum")
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(model.residuals(head, features, targets, mask), expected)
    assert not model.residuals(head, features, targets, mask)[:, ~mask].any()


def test_batches_are_those_of_the_training(shift: RunView) -> None:
    """The images of each step, through their features."""
    training = TrainingSettings(**shift.spec["training"])
    network = shift.network(1, "task-1")
    batches = model.task_batches(shift, 1, network, training)
    (_, task) = shift.benchmark.sequences[1]
    assert [len(step) for step in batches.order] == ([8] * 9 + [3]) * 2
    assert batches.rates == [0.05] * 20
    permutation = numpy_generator("shift", 7, "data order", 2, 1).permutation(len(task.train))
    chosen = torch.from_numpy(task.train[permutation][8:16])
    features, _ = model.head_inputs(network, shift.benchmark.pool.inputs(chosen))
    torch.testing.assert_close(batches.features[batches.order[11]], features)
    assert torch.equal(batches.targets[batches.order[11]], shift.benchmark.pool.labels[chosen] // 2)
    assert batches.features[:, -1].eq(1).all()


def test_statistics() -> None:
    rng = np.random.default_rng(0)
    p, m = rng.normal(size=(2, 8, 3)) + 0.5
    found = logit_change.compare(torch.from_numpy(p), torch.from_numpy(m))
    assert found["correlation"] == pytest.approx(np.corrcoef(p.ravel(), m.ravel())[0, 1])
    cosine = (p * m).sum() / np.linalg.norm(p) / np.linalg.norm(m)
    assert found["cosine"] == pytest.approx(cosine)
    slope = np.linalg.lstsq(p.reshape(-1, 1), m.ravel(), rcond=None)[0][0]
    assert found["slope"] == pytest.approx(slope)
    assert found["predicted_norm"] == pytest.approx(np.sqrt((p**2).mean()))
    nothing = logit_change.compare(torch.zeros(4, 2), torch.ones(4, 2))
    assert np.isnan([nothing["cosine"], nothing["slope"]]).all()


def test_a_run_whose_features_moved(shift: RunView) -> None:
    frame = logit_change.measure(shift, logit_change.Settings(probe={"images": 12}))
    assert list(frame.columns) == list(logit_change.COLUMNS)
    assert set(frame.samples) == {12}
    assert set(frame.steps) == {20}
    assert set(frame.layer) == {"head"}
    assert len(frame) == 2 * 9
    for index, seed in enumerate(SEEDS):
        values = frame[frame.seed == seed].set_index("statistic").value
        images = shift.probe("test", 12, task=1, seed_index=index)[0]
        before, after = (shift.network(index, f"task-{task}")(images) for task in (1, 2))
        assert values["measured_norm"] == pytest.approx(
            float((after - before).square().mean().sqrt())
        )
        assert abs(values["cosine"]) < 0.999
    (about,) = frame.attrs["probe"]
    assert (about["task"], about["images"]) == (1, 12)


def test_a_diverged_seed_has_no_rows(shift: RunView) -> None:
    frame = logit_change.measure(diverged(shift, 4, 2), logit_change.Settings())
    assert set(frame.seed) == {7}


def test_runs_that_the_model_does_not_describe(shift: RunView, heads: RunView) -> None:
    def refused(run: RunView, message: str, **training: Any) -> None:
        spec = {**run.spec, "training": {**run.spec["training"], **training}}
        with pytest.raises(UserError, match=message):
            logit_change.measure(dataclasses.replace(run, spec=spec), logit_change.Settings())

    refused(heads, "zero by construction")
    refused(shift, "weights of its best epoch", restore_best=True)
    refused(shift, "may end before its last epoch", stop_accuracy=0.9)
    cleared = dataclasses.replace(shift.benchmark, reset_head=True)
    refused(dataclasses.replace(shift, benchmark=cleared), "head is cleared before task 2")
    refused(shift, "trained with adam", optimizer="adam")
    refused(shift, "momentum was carried over", reset_optimizer=False)
    refused(shift.other("task2_only"), "does not go on from task 1")
    parts = [two_task_runs.STRATEGIES["replay"]]
    spec = {**shift.spec, "strategy": {"name": "replay", "parts": parts}}
    refused(dataclasses.replace(shift, spec=spec), "adds to plain training.*plan")


@pytest.mark.parametrize(
    "settings", [{"flip": 0.5}, {"padding": 1}, {"rotation": 15.0}, {}], ids=str
)
def test_images_transformed_at_random_are_refused(
    shift: RunView, settings: dict[str, float]
) -> None:
    of = incremental.build(
        [two_task_runs.dataset()],
        incremental.Settings(tasks=2, classes=3, **settings),
        name="growing",
        seeds=SEEDS,
        device=shift.device,
        dtype=torch.float64,
    )
    refused = pytest.raises(UserError, match="transformed at random")
    with refused if settings else contextlib.nullcontext():
        training = TrainingSettings(**shift.spec["training"])
        logit_change.check(dataclasses.replace(shift, benchmark=of), training)
