"""The statistics against dense matrices, exact collapse and Gaussian features; the measure."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from forgetting import checkpoints
from forgetting.errors import UserError
from forgetting.measures import neural_collapse as measure
from forgetting.measures._head_inputs import Seen, look
from forgetting.measures.neural_collapse import nc1, nc2, nc3, nc4, statistics
from forgetting.moments import name as moment_name
from forgetting.randomness import numpy_generator
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged

OF_MEANS = {"nc1", "nc3", "nc4", "self_duality"} | {
    f"{name}_means" for name in ("equinorm", "equiangle", "max_angle")
}
OF_HEAD = {"nc2"} | {f"{name}_head" for name in ("equinorm", "equiangle", "max_angle")}


def dense(
    features: np.ndarray, labels: np.ndarray, logits: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """All statistics by the letter, with d x d covariances and loops."""
    x, w, classes = features.astype(np.float64), weights.astype(np.float64), len(weights)
    means = np.stack([x[labels == c].mean(0) for c in range(classes)])
    overall = x.mean(0)
    within = np.mean(
        [np.outer(h - means[c], h - means[c]) for h, c in zip(x, labels, strict=True)], axis=0
    )
    between = np.mean([np.outer(m - overall, m - overall) for m in means], axis=0)
    inverse = torch.linalg.pinv(torch.from_numpy(between)).numpy()
    simplex = (np.eye(classes) - 1 / classes) / math.sqrt(classes - 1)
    products = {"nc2": w @ w.T, "nc3": w @ (means - overall).T}
    nearest = [np.argmin([np.linalg.norm(h - m) for m in means]) for h in x]
    found = {
        "nc1": np.trace(within @ inverse) / classes,
        "nc4": np.mean(nearest == logits.argmax(1)),
        **{name: np.linalg.norm(p / np.linalg.norm(p) - simplex) for name, p in products.items()},
    }
    centred = means - means.mean(0)
    dual = w / np.linalg.norm(w) - centred / np.linalg.norm(centred)
    found["self_duality"] = (dual**2).sum()
    for of, vectors in (("means", centred), ("head", w)):
        lengths = [np.linalg.norm(v) for v in vectors]
        cosines = [
            vectors[a] @ vectors[b] / lengths[a] / lengths[b]
            for a in range(classes)
            for b in range(classes)
            if a != b
        ]
        found[f"equinorm_{of}"] = np.std(lengths, ddof=1) / np.mean(lengths)
        found[f"equiangle_{of}"] = np.std(cosines)
        found[f"max_angle_{of}"] = np.mean([abs(c + 1 / (classes - 1)) for c in cosines])
    return {name: float(value) for name, value in found.items()}


def drawn(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Features, unbalanced labels, logits, weights."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes) // 2 * 2 % classes]
    features = rng.normal(size=(n, d)) * rng.uniform(0.1, 2, d) + 3
    features += rng.normal(size=(classes, d))[labels]
    return features, labels, rng.normal(size=(n, classes)), rng.normal(size=(classes, d))


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 7, 4), (80, 3, 6), (30, 40, 5), (50, 4, 5)])
@pytest.mark.parametrize("kind", ["numpy", "torch", "float32"])
def test_against_dense_matrices(n: int, d: int, classes: int, kind: str) -> None:
    arrays = drawn(n, d, classes)
    if kind == "float32":
        arrays = tuple(a if a.dtype == np.int64 else a.astype(np.float32) for a in arrays)
    expected = dense(*arrays)
    features, labels, logits, weights = (torch.from_numpy(a) for a in arrays)
    seen = Seen(features, labels, logits.argmax(1))
    assert statistics(seen, weights) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    given = arrays if kind == "numpy" else (features, labels, logits, weights)
    alone = {
        "nc1": nc1(given[0], given[1]),
        "nc2": nc2(given[3]),
        "nc3": nc3(given[0], given[1], weights=given[3]),
        "nc4": nc4(given[0], given[1], logits=given[2]),
    }
    assert alone == pytest.approx({name: expected[name] for name in alone}, rel=1e-9)
    assert nc1(given[0], 10 * given[1] - 3) == alone["nc1"]  # labels are only names


def test_parts_add_up_and_offsets_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, logits, weights = (torch.from_numpy(a) for a in drawn(90, 6, 4))
    expected = dense(features.numpy(), labels.numpy(), logits.numpy(), weights.numpy())
    monkeypatch.setattr("forgetting.measures._collapse.CHUNK", 7)
    seen = Seen(features + 1e6, labels, logits.argmax(1))
    assert statistics(seen, weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_exact_collapse(classes: int) -> None:
    """Every feature is its class's corner of a simplex, and so is every row of the head."""
    rng = np.random.default_rng(0)
    frame, _ = np.linalg.qr(rng.normal(size=(20, classes)))
    corners = (np.eye(classes) - 1 / classes) @ frame.T
    labels = np.repeat(np.arange(classes), 5)
    features, weights = 4 * corners[labels] + rng.normal(size=20), 0.3 * corners
    logits = (features - features.mean(0)) @ weights.T
    values = dense(features, labels, logits, weights)
    found = statistics(
        Seen(*map(torch.from_numpy, (features, labels, logits.argmax(1)))),
        torch.from_numpy(weights),
    )
    assert found.keys() == values.keys() == OF_MEANS | OF_HEAD
    assert found.pop("nc4") == 1
    assert found.pop("nc1") < 1e-25
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-7)


def test_gaussian_features() -> None:
    """Labels that mean nothing, n images of each of C classes, N = n C.

    The scatter within is Wishart with N - C degrees of freedom and independent of the means,
    whose Gram matrix is (1/n) times a Wishart's of dimension p = C - 1 with d degrees, so with
    m = d - p (moments of the inverse: Haff 1979, J. Multivar. Anal. 9, 531)

        E nc1 = (N - C) (C - 1) / (C (d - C)),

    which tends to (C - 1) N / (C (d - C)); its variance is written out below.
    """
    classes, each, d, draws = 10, 60, 100, 40
    n, p, rng = classes * each, classes - 1, np.random.default_rng(1)
    m = d - p
    # Means and variance of Tr S^-1, and the mean of Tr S^-2, for Wishart S.
    trace = p / (m - 1)
    spread = (2 * p + 2 * p * (p - 1) / m) / ((m - 1) ** 2 * (m - 3))
    squares = p * (d - 1) / (m * (m - 1) * (m - 3))
    scale = each * (n - classes) / n
    expected = scale * trace
    variance = scale**2 * (spread + 2 / (n - classes) * squares)
    assert expected == pytest.approx((n - classes) * p / (classes * (d - classes)))
    labels = np.repeat(np.arange(classes), each)
    ours = [nc1(rng.normal(size=(n, d)), labels) for _ in range(draws)]
    assert abs(np.mean(ours) - expected) < 4 * math.sqrt(variance / draws)
    # Of chi-squared, nearly.
    assert abs(np.var(ours, ddof=1) / variance - 1) < 4 * math.sqrt(2 / (draws - 1))


def test_gaussian_head() -> None:
    """nc2 tends to sqrt(2 - 2 sqrt((C-1)/C)), nc3 squared is 2 on average.

    With W W^T = d (1 + Z), entries of Z of variance 1/d off the diagonal, the cosine with the
    simplex has in first order the standard deviation sqrt(2/d)/C, and in second order the mean
    sqrt((C-1)/C) (1 - (C+1)/(2 d)). nc3 squared is 2 - 2 cosine, where the cosine is odd in W and
    has variance 1/(C (C-1)) for directions of W M that are alike.
    """
    classes, d, draws = 10, 20_000, 30
    rng = np.random.default_rng(2)
    heads = rng.normal(size=(draws, classes, d)).astype(np.float32)
    limit = math.sqrt((classes - 1) / classes)
    tolerance = 4 * math.sqrt(2 / d / draws) / classes + (classes + 1) / (2 * d)
    squares = [nc2(w) ** 2 for w in heads]
    assert abs(np.mean(squares) - (2 - 2 * limit)) < 2 * tolerance
    labels = np.arange(3 * classes) % classes
    aligned = []
    for w in heads[:, :, :500]:
        features = rng.normal(size=(3 * classes, 500))
        aligned.append(nc3(features, labels, weights=w) ** 2)
        assert aligned[-1] + nc3(features, labels, weights=-w) ** 2 == pytest.approx(4)
    deviation = 2 / math.sqrt(classes * (classes - 1) * draws)
    assert abs(np.mean(aligned) - 2) < 4 * deviation


def test_a_class_without_images_leaves_the_means_undefined() -> None:
    features, labels, logits, weights = drawn(40, 6, 4)
    keep = labels != 2
    seen = Seen(*(torch.from_numpy(a[keep]) for a in (features, labels, logits.argmax(1))))
    found = statistics(seen, torch.from_numpy(weights))
    assert all(math.isnan(found[name]) for name in OF_MEANS)
    assert all(math.isfinite(found[name]) for name in OF_HEAD)
    assert math.isnan(nc1(features[keep], labels[keep], classes=4))
    assert math.isfinite(nc1(features[keep], labels[keep]))


def test_no_difference_between_classes_is_no_collapse() -> None:
    labels = np.arange(30) % 3
    assert math.isnan(nc1(np.full((30, 5), 0.1), labels))
    assert math.isnan(nc1(np.zeros((30, 5)), labels))
    broken = np.random.default_rng(0).normal(size=(30, 5))
    broken[3, 2] = np.inf
    assert math.isnan(nc1(broken, labels))
    assert math.isnan(nc2(np.zeros((3, 5))))
    assert math.isnan(nc2(np.ones((1, 5))))


def test_directions_without_variance_count_as_none() -> None:
    """Below d * eps of the largest variance of the means, as in the pseudoinverse."""
    rng = np.random.default_rng(0)
    labels, noise = np.repeat([0, 1, 2], 20), rng.normal(size=(60, 4))
    noise -= np.stack([noise[labels == c].mean(0) for c in range(3)])[labels]
    means = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0]])
    for size, counts in ((1e-5, True), (1e-9, False)):
        means[:, 1] = np.array([1, 1, -2]) * size
        within = (noise[:, :2] ** 2).mean(0)
        expected = within[0] / 2 + counts * within[1] / (6 * size**2)
        assert nc1(means[labels] + noise, labels) == pytest.approx(expected, rel=1e-4)


def test_what_does_not_belong_together() -> None:
    features, labels, logits, weights = drawn(40, 6, 4)
    with pytest.raises(ValueError, match="40 labels"):
        nc1(features, labels[:-1])
    with pytest.raises(ValueError, match="integers"):
        nc3(features, labels / 2, weights=weights)
    with pytest.raises(ValueError, match="from 0 to 2"):
        nc3(features, labels, weights=weights[:3])
    with pytest.raises(ValueError, match="samples x features"):
        nc4(features[0], labels, logits=logits)


# ---------------------------------------------------------------- the measure


def by_hand(
    run: RunView, index: int, name: str, task: int, batches: list[np.ndarray] | None = None
) -> dict[str, float]:
    """All statistics of one network over all training images of a task."""
    network = copy.deepcopy(run.network(index, name))
    benchmark = run.benchmark.alone(index)
    (outputs,) = benchmark.outputs_of(task)
    own = outputs.nonzero()[:, 0].tolist()
    images = np.sort(benchmark.train_indices([task])[0])
    network.train(batches is not None)
    parts: list[tuple[Tensor, ...]] = []
    for batch in [images] if batches is None else [images[places] for places in batches]:
        inputs, targets = benchmark.fetch(torch.from_numpy(batch)[None], task)
        *_, features, logits = network.activations(inputs[0]).values()
        labels = torch.tensor([own.index(target) for target in targets[0].tolist()])
        parts.append((features, labels, logits[:, outputs]))
    features, labels, logits = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    weights = network.get_parameter("stages.head.weight").numpy()[outputs.numpy()]
    assert features.shape == (len(images), weights.shape[1])
    return dense(features, labels, logits, weights)


def values(frame: pd.DataFrame, **where: object) -> dict[str, float]:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert frame.statistic.is_unique
    return dict(zip(frame.statistic, frame.value, strict=True))


def moments(frame: pd.DataFrame) -> set[tuple[int, float]]:
    return set(zip(frame.task, frame.epoch, strict=True))


def hashes(run: RunView) -> dict[str, str]:
    folder = run.folder / "checkpoints"
    return {path.name: checkpoints.checksum(path) for path in folder.iterdir()}


def test_every_moment_in_both_modes(shift: RunView) -> None:
    before = hashes(shift)
    frame = measure.measure(shift, measure.Settings(batch_size=16))
    assert list(frame.columns) == list(measure.COLUMNS)
    assert set(frame.layer) == {"features"}
    assert hashes(shift) == before
    order = frame[frame.seed == 7][["task", "epoch"]].drop_duplicates()
    expected = [(1, 0.5), (1, 1), (1, 0), (2, 0.5), (2, 1), (2, 0)]
    assert list(order.itertuples(index=False, name=None)) == expected
    for index, seed in enumerate(SEEDS):
        for task, epoch in expected:
            name = moment_name(task, epoch)
            images = np.sort(shift.benchmark.alone(index).train_indices([task])[0])
            shuffled = numpy_generator("shift", seed, "neural_collapse", task).permutation(
                len(images)
            )
            batches = [shuffled[start : start + 16] for start in range(0, len(images), 16)]
            where = {"seed": seed, "task": task, "epoch": epoch}
            assert set(frame[(frame.task == task)].samples) == {len(images)}
            found = [values(frame, **where, mode=mode) for mode in ("eval", "train")]
            assert found[0] == pytest.approx(by_hand(shift, index, name, task), rel=1e-7)
            trained = by_hand(shift, index, name, task, batches)
            assert found[1] == pytest.approx(trained, rel=1e-7)
            assert found[0]["nc1"] != pytest.approx(found[1]["nc1"], rel=1e-3)
            assert found[0]["nc2"] == found[1]["nc2"]
    (first, second) = frame.attrs["probe"]
    assert (first["task"], first["seeds"], second["task"]) == (1, SEEDS, 2)


def test_train_mode_leaves_the_network_as_it_is(shift: RunView) -> None:
    network, benchmark = shift.network(0, "task-1"), shift.benchmark.alone(0)
    (images,) = benchmark.train_indices([1])
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    before = look(network, benchmark, images, 1)
    normed = look(network, benchmark, images, 1, batch=len(images) - 1)  # one image left over
    whole = look(network, benchmark, images, 1, batch=len(images))
    assert torch.equal(normed.features, whole.features)
    assert not torch.allclose(normed.features, before.features)
    after = look(network, benchmark, images, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(torch.equal(tensor, state[n]) for n, tensor in network.state_dict().items())
    assert not any(tensor.requires_grad for tensor in normed)


@pytest.mark.parametrize("name", ["heads", "growing"])
def test_only_the_outputs_of_the_task_count(name: str, request: pytest.FixtureRequest) -> None:
    run: RunView = request.getfixturevalue(name)
    frame = measure.measure(run, measure.Settings(modes=("eval",)))
    assert set(frame["mode"]) == {"eval"}
    for task in (1, 2):
        assert run.benchmark.outputs_of(task).sum(1).tolist() == [3, 3]
        found = values(frame, seed=SEEDS[1], task=task)
        assert found == pytest.approx(by_hand(run, 1, f"task-{task}", task), rel=1e-7)


def test_without_batch_norm_there_is_one_mode(growing: RunView) -> None:
    frame = measure.measure(growing, measure.Settings())
    only = measure.measure(growing, measure.Settings(modes=("train",)))
    assert set(frame["mode"]) == {"eval"}
    assert set(frame.layer) == {"hidden2"}
    pd.testing.assert_frame_equal(frame, only)


def test_moments_and_images_that_are_asked_for(shift: RunView) -> None:
    def asked(**settings: object) -> pd.DataFrame:
        return measure.measure(shift, measure.Settings(modes=("eval",), **settings))

    within = asked(tasks=(2,), moments=("within",), seeds=1)
    assert moments(within) == {(2, 0.5), (2, 1.0)}
    assert set(within.seed) == set(SEEDS[:1])
    start = asked(tasks=(0,))
    assert set(start.task) == {0}
    found = values(start, seed=SEEDS[0])
    assert found == pytest.approx(by_hand(shift, 0, "task-0", 1), rel=1e-7)
    few = asked(images=30)
    assert set(few.samples) == {30}
    assert {about["images"] for about in few.attrs["probe"]} == {30}
    one = values(few, seed=SEEDS[0], task=1, epoch=0)
    inputs, targets, _ = shift.probe("train", 30, task=1, seed_index=0)
    *_, features, logits = shift.network(0, "task-1").activations(inputs).values()
    weights = shift.network(0, "task-1").get_parameter("stages.head.weight")
    direct = dense(*(t.numpy() for t in (features, targets, logits, weights)))
    assert one == pytest.approx(direct, rel=1e-7)


def test_moments_that_were_not_kept(shift: RunView) -> None:
    with pytest.raises(UserError, match="no weights of task 3"):
        measure.measure(shift, measure.Settings(tasks=(1, 3)))
    with pytest.raises(UserError, match=r"no weights of task 0 at settings\.moments \(within\)"):
        measure.measure(shift, measure.Settings(tasks=(0,), moments=("within",)))


def test_a_seed_has_rows_until_it_diverged(shift: RunView, monkeypatch: pytest.MonkeyPatch) -> None:
    """In task 2, at a time between its two moments within the task."""
    plain = RunView.tensors

    def tensors(self: RunView, checkpoint: str) -> dict[str, Tensor]:
        found = {name: tensor.clone() for name, tensor in plain(self, checkpoint).items()}
        if checkpoint in ("task-2-epoch-1", "task-2"):
            found["stages.head.bias"][0] = torch.nan
        return found

    monkeypatch.setattr(RunView, "tensors", tensors)
    frame = measure.measure(diverged(shift, SEEDS[0], 2), measure.Settings(modes=("eval",)))
    lost, other = (frame[frame.seed == seed] for seed in SEEDS)
    until = {(1, 0.5), (1, 1.0), (1, 0.0), (2, 0.5)}
    assert moments(lost) == until
    assert moments(other) == until | {(2, 1.0), (2, 0.0)}
    both = diverged(diverged(shift, SEEDS[0], 1), SEEDS[1], 1)
    nothing = measure.measure(both, measure.Settings(tasks=(2, 9), moments=("end",)))
    assert list(nothing.columns) == list(measure.COLUMNS)
    assert len(nothing) == 0
