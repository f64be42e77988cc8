"""Every instrument against a computation of its own, on small networks that were really trained."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from forgetting import building
from forgetting.measures import instruments as measure
from forgetting.runs import RunView
from forgetting.tasks import ImageBenchmark
from two_task_runs import SEEDS, diverged

NAMES = {
    "weight_effective_rank",
    "activation_effective_rank",
    "cka_to_past",
    "dead_units",
    "log10_nc1",
    "log10_weight_norm",
}


def by_hand(run: RunView, index: int, task: int) -> dict[str, float]:
    """The instruments by the letter, with singular values, n x n and d x d matrices and loops."""
    benchmark, network = run.benchmark.alone(index), run.network(index, f"task-{task}")
    inputs, labels = shown(run, index, task)
    outputs = network.activations(inputs)
    features = outputs[network.stage_names[-2]].flatten(1).numpy()
    (initial,) = building.networks(run.spec, run.benchmark, seeds=[run.seeds[index]])
    weights = [p.detach().flatten(1) for p in network.parameters() if p.dim() > 1]
    hidden = [
        outputs[name].flatten(2).transpose(1, 2).flatten(0, 1) if outputs[name].dim() > 2
        else outputs[name]
        for name in network.stage_names[:-1]
        if [*network.stages[name].parameters()]
    ]  # fmt: skip
    active = torch.cat([(of != 0).double().mean(0) for of in hidden])
    found = {
        "weight_effective_rank": np.mean([rank(w.numpy()) / min(w.shape) for w in weights]),
        "activation_effective_rank": rank(features) / min(features.shape),
        "dead_units": float((active < 0.01).double().mean()),
        "log10_nc1": math.log10(collapse(features, labels)),
        "log10_weight_norm": math.log10(norm(network) / norm(initial)),
    }
    if task > 1:
        before = run.network(index, f"task-{task - 1}")
        old, _ = shown(run, index, task - 1)
        pair = [n.activations(old)[n.stage_names[-2]].flatten(1).numpy() for n in (before, network)]
        found["cka_to_past"] = debiased_cka(*pair)
    assert benchmark.tasks == 2
    return found


def shown(run: RunView, index: int, task: int) -> tuple[torch.Tensor, np.ndarray]:
    """All training images of a task as it shows them, and their classes from 0."""
    benchmark = run.benchmark.alone(index)
    indices = torch.from_numpy(np.sort(benchmark.sequences[0][task - 1].train))
    inputs, targets = benchmark.fetch(indices[None], task)
    return inputs[0], np.unique(targets[0].numpy(), return_inverse=True)[1]


def rank(matrix: np.ndarray) -> float:
    sigma = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    share = sigma[sigma > 0] / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def collapse(x: np.ndarray, labels: np.ndarray) -> float:
    classes, overall = int(labels.max()) + 1, x.mean(0)
    means = np.stack([x[labels == c].mean(0) for c in range(classes)])
    within = sum(np.outer(h - means[c], h - means[c]) for h, c in zip(x, labels, strict=True))
    between = sum(np.outer(m - overall, m - overall) for m in means) / classes
    return float(np.trace(within / len(x) @ np.linalg.pinv(between, rcond=1e-10)) / classes)


def debiased_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By U-centred Gram matrices (Szekely & Rizzo 2014)."""
    n = len(x)

    def centred(z: np.ndarray) -> np.ndarray:
        gram = z @ z.T
        np.fill_diagonal(gram, 0)
        sums = gram.sum(0)
        gram = gram - (sums[:, None] + sums) / (n - 2) + gram.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(gram, 0)
        return gram

    k, m = centred(x), centred(y)
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def norm(network: torch.nn.Module) -> float:
    return math.sqrt(sum(float((p.detach() ** 2).sum()) for p in network.parameters()))


@pytest.mark.parametrize("name", ["shift", "heads", "growing"])
def test_every_instrument_against_a_computation_by_hand(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    frame = measure.measure(run, measure.Settings())
    assert frame.columns.tolist() == list(measure.COLUMNS)
    for index, seed in enumerate(SEEDS):
        for task in (1, 2):
            rows = frame[(frame["seed"] == seed) & (frame["task"] == task)]
            found = dict(zip(rows["statistic"], rows["value"], strict=True))
            assert found == pytest.approx(by_hand(run, index, task), rel=1e-6, abs=1e-9)
            assert found.keys() == NAMES - ({"cka_to_past"} if task == 1 else set())
            assert set(rows["samples"]) == {len(shown(run, index, task)[0])}


def test_only_the_ends_of_tasks_that_a_seed_reached(shift: RunView) -> None:
    """Neither the untrained network nor the middle of a task; nothing after a divergence."""
    assert {(c.task, bool(c.epoch)) for c in shift.checkpoints} >= {(0, False), (1, True)}
    whole = measure.measure(shift, measure.Settings())
    lost = measure.measure(diverged(shift, SEEDS[1], 2), measure.Settings())
    gone = (whole["seed"] == SEEDS[1]) & (whole["task"] == 2)
    pd.testing.assert_frame_equal(lost, whole[~gone].reset_index(drop=True))
    kept = {name: at for name, at in shift.record["checkpoint_tasks"].items() if at["task"] != 1}
    later = dataclasses.replace(shift, record={**shift.record, "checkpoint_tasks": kept})
    # Without weights of task 1 there is no past to compare with.
    frame = measure.measure(later, measure.Settings())
    assert set(frame["task"]) == {2}
    assert "cka_to_past" not in set(frame["statistic"])


def test_the_number_of_images_is_what_is_asked_for(growing: RunView) -> None:
    few = measure.measure(growing, measure.Settings(images=6))
    every = measure.measure(growing, measure.Settings())
    assert set(few["samples"]) == {6}
    weights = {"weight_effective_rank", "log10_weight_norm"}
    for frame in (few, every):
        assert len(frame.attrs["probe"]) == 2 * len(SEEDS)
    same = few.merge(every, on=["seed", "task", "statistic"])
    alike = same[np.isclose(same["value_x"], same["value_y"], rtol=1e-12)]
    assert weights <= set(alike["statistic"])
    assert "activation_effective_rank" not in set(alike["statistic"])


def test_what_cannot_be_said_has_no_row(growing: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a class has no image NC1 is missing, neither zero nor NaN; the rest is there."""

    def of_one_class(benchmark: ImageBenchmark, task: int, images: int) -> np.ndarray:
        indices = np.sort(benchmark.sequences[0][task - 1].train)
        labels = benchmark.pool.labels[torch.from_numpy(indices)].numpy()
        return indices[labels == labels[0]]

    monkeypatch.setattr(measure, "training_images", of_one_class)
    frame = measure.measure(growing, measure.Settings())
    assert frame["value"].notna().all()
    assert set(frame["statistic"]) == NAMES - {"log10_nc1"}
