"""The loop against a plain PyTorch loop, and the facts that it stores."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

import toy
from forgetting.randomness import numpy_generator
from forgetting.statistics import average_accuracy, forgetting
from forgetting.training import Settings

SGD = [{"component": "sgd", "settings": {}}]
JOINT = [{"component": "joint", "settings": {}}]


def plain(of, network, *, epochs, batch, make_optimizer, milestones=(), gamma=0.1, seen=True):
    """Sequential training as anyone would write it; the same order of the same images."""
    (tasks,) = of.sequences
    weights, losses = [copy.deepcopy(network.state_dict())], []
    network.train()
    for number, task in enumerate(tasks, start=1):
        optimizer = make_optimizer(network.parameters())
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(milestones), gamma)
        allowed = np.any([t.outputs for t in tasks[:number]], axis=0) if seen else task.outputs
        for epoch in range(epochs):
            order = numpy_generator("toy", 0, "data order", number, epoch).permutation(
                len(task.train)
            )
            for chosen in np.split(task.train[order], range(batch, len(order), batch)):
                x = (of.pool.images[chosen].double() / 255 - of.pool.mean) / of.pool.std
                logits = network(x)[:, np.flatnonzero(allowed)]
                position = np.cumsum(allowed) - 1
                y = torch.from_numpy(position[of.pool.labels[chosen].numpy()])
                loss = functional.cross_entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            scheduler.step()
        weights.append(copy.deepcopy(network.state_dict()))
    return weights, losses


@pytest.mark.parametrize("architecture", ["mlp", "resnet18"])
@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_is_the_plain_loop(architecture, scenario, optimizer):
    settings = {"learning_rate": 0.01, "momentum": 0.5, "weight_decay": 1e-3, "batch_size": 10}
    run = toy.training(
        SGD,
        architecture=architecture,
        scenario=scenario,
        optimizer=optimizer,
        milestones=(1,),
        gamma=0.3,
        epochs=2,
        **settings,
    )
    (network,) = toy.networks(run.benchmark, [0], architecture)
    make = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.5, weight_decay=1e-3),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-3),
    }[optimizer]
    weights, losses = plain(
        run.benchmark,
        network,
        epochs=2,
        batch=10,
        make_optimizer=make,
        milestones=(1,),
        gamma=0.3,
        seen=scenario == "class_incremental",
    )
    run.run()
    for task, state in enumerate(weights):
        for name, tensor in state.items():
            torch.testing.assert_close(
                run.kept[f"task-{task}"][name][0], tensor, rtol=1e-9, atol=1e-9
            )
    recorded = [row[5] for row in run.record.history if row[4] == "loss"]
    assert np.mean(recorded) == pytest.approx(np.mean(losses), rel=1e-9)  # five steps, five chunks


def test_accuracies_are_those_of_the_checkpoints():
    run = toy.trained(SGD, scenario="class_incremental")
    data, (tasks,) = toy.dataset(), run.benchmark.sequences
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert len(run.record.accuracy) == 4 * 3 * 2
    for _, after, number, metric, value in run.record.accuracy:
        (network,) = toy.networks(run.benchmark, [0])
        network.load_state_dict({n: t[0] for n, t in run.kept[f"task-{after}"].items()})
        task = tasks[number - 1]
        among = task.outputs
        if metric == "class_incremental":
            among = np.any([t.outputs for t in tasks[: max(after, number)]], axis=0)
        logits = (
            network.eval()(run.benchmark.pool.inputs(torch.from_numpy(task.test))).detach().numpy()
        )
        predicted = np.where(among, logits, -np.inf).argmax(axis=1)
        assert value == pytest.approx((predicted == labels[task.test]).mean())


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [
        ("all", {0: [1, 2, 3], 1: [1, 2, 3], 2: [1, 2, 3], 3: [1, 2, 3]}),
        ("seen", {0: [1, 2, 3], 1: [1], 2: [1, 2], 3: [1, 2, 3]}),
        ("current", {0: [1], 1: [1], 2: [2], 3: [3]}),
    ],
)
def test_evaluation_can_be_bounded(evaluate, expected):
    run = toy.trained(SGD, evaluate=evaluate, epochs=1)
    found = {}
    for _, after, task, metric, _ in run.record.accuracy:
        if metric == "task_masked":
            found.setdefault(after, []).append(task)
    assert found == expected


def test_evaluating_changes_nothing():
    for architecture in ("mlp", "resnet18"):
        little = toy.trained(SGD, architecture=architecture, evaluate="current", checkpoints=(3,))
        much = toy.trained(SGD, architecture=architecture, evaluate="all")
        assert set(little.kept) == {"task-3"}
        for name, tensor in little.kept["task-3"].items():
            assert torch.equal(tensor, much.kept["task-3"][name])


def test_checkpoints_after_every_so_many_tasks():
    run = toy.trained(SGD, checkpoints={"every": 2})
    assert set(run.kept) == {"task-0", "task-2"}


def test_checkpoints_within_a_task():
    run = toy.trained(SGD, epochs=3, checkpoint_epochs=(1, 3))
    inner = {f"task-{t}-epoch-{e}" for t in (1, 2, 3) for e in (1, 3)}
    assert set(run.kept) == inner | {f"task-{t}" for t in range(4)}
    for name, tensor in run.kept["task-2"].items():
        assert torch.equal(tensor, run.kept["task-2-epoch-3"][name])


def test_moments_before_the_end_of_an_epoch():
    run = toy.trained(SGD, epochs=2, batch_size=4, checkpoint_epochs=(0.01, 0.5, 1.5))
    assert {name for name in run.kept if name.startswith("task-2")} == {
        "task-2-epoch-0.01",
        "task-2-epoch-0.5",
        "task-2-epoch-1.5",
        "task-2",
    }
    # 13 steps an epoch: half way is after 6 steps, and the earliest moment is after one.
    steps = []
    other = toy.training(SGD, epochs=2, batch_size=4)
    other.run(lambda: steps.append({n: t.clone() for n, t in other.ensemble.state().items()}))
    for name, step in (("0.01", 1), ("0.5", 6), ("1.5", 20)):
        for key, tensor in run.kept[f"task-2-epoch-{name}"].items():
            assert torch.equal(tensor, steps[26 + step][key])


def test_a_task_is_left_once_its_batches_are_predicted_well_enough():
    whole = toy.trained(SGD, epochs=6, learning_rate=0.005)
    by_epoch = {}
    for _, task, epoch, step, name, value in whole.record.history:
        if name == "accuracy":
            by_epoch.setdefault((task, epoch), []).append((step, value))
    means = {}
    for moment, rows in by_epoch.items():
        steps, values = zip(*rows, strict=True)
        means[moment] = np.average(values, weights=np.diff([0, *steps]))
    of_first = [means[1, epoch] for epoch in range(1, 7)]
    enough = of_first[2] - 1e-9
    assert max(of_first[:2]) < enough  # else the test shows nothing
    stopped = toy.trained(SGD, epochs=6, learning_rate=0.005, stop_accuracy=enough)
    trained = {epoch for _, task, epoch, *_ in stopped.record.history if task == 1}
    assert trained == {1, 2, 3}
    shorter = toy.trained(SGD, epochs=3, learning_rate=0.005)
    for name, tensor in shorter.kept["task-1"].items():
        assert torch.equal(tensor, stopped.kept["task-1"][name])
    assert {task for _, task, *_ in stopped.record.history} == {1, 2, 3}


def test_history_covers_the_run():
    run = toy.trained(SGD, epochs=3, batch_size=4)  # 13 steps an epoch: chunks of two
    steps = [row[3] for row in run.record.history if (row[1], row[2], row[4]) == (2, 3, "loss")]
    assert steps == [2, 4, 6, 8, 10, 12, 13]
    assert {row[4] for row in run.record.history} == {"loss", "accuracy"}
    assert all(0 <= row[5] <= 1 for row in run.record.history if row[4] == "accuracy")


def test_strategies_share_initialisation_and_data_order():
    sgd = toy.trained(SGD, epochs=1)
    lwf = toy.trained([{"component": "lwf", "settings": {}}], epochs=1)
    for moment in ("task-0", "task-1"):  # LwF has nothing to distil in the first task
        for name, tensor in sgd.kept[moment].items():
            assert torch.equal(tensor, lwf.kept[moment][name])


def test_joint_trains_from_the_initial_weights_on_all_tasks_so_far():
    run = toy.trained(JOINT, epochs=2)
    assert [(p.task, p.data, p.fresh) for p in run.phases] == [
        (1, (1,), True), (2, (1, 2), True), (3, (1, 2, 3), True),
    ]  # fmt: skip
    once = toy.trained([{"component": "joint", "settings": {"when": "once"}}], epochs=2)
    assert {row[1] for row in once.record.accuracy} == {0, 3}
    for name, tensor in once.kept["task-3"].items():
        assert torch.equal(tensor, run.kept["task-3"][name])


def test_parts_compose():
    """Two strategies at once: both act, and both neutral is plain training."""
    lwf = {"component": "lwf", "settings": {"alpha": 3.0}}
    replay = {"component": "experience_replay", "settings": {"buffer": 20}}
    both = toy.trained([lwf, replay])
    for alone in ([lwf], [replay]):
        other = toy.trained(alone)
        assert not torch.equal(
            both.kept["task-3"]["stages.head.weight"], other.kept["task-3"]["stages.head.weight"]
        )
    neutral = toy.trained(
        [{"component": "lwf", "settings": {"alpha": 0.0}},
         {"component": "experience_replay", "settings": {"buffer": 0}}]
    )  # fmt: skip
    assert neutral.record.accuracy == toy.trained(SGD).record.accuracy


ONLINE = {"batch_size": 1, "epochs": 1, "momentum": 0.0, "learning_rate": 0.05}


def online(parts, *, written_out, seeds=(0,), **settings):
    run = toy.training(parts, seeds, **{**ONLINE, **settings})
    run.benchmark = dataclasses.replace(run.benchmark, mask="none")
    assert run.steps.online is not None
    if not written_out:
        run.steps.online = None
    run.run()
    return run


@pytest.mark.parametrize(
    "parts",
    [
        SGD,
        [{"component": "l2", "settings": {"strength": 0.01}}],
        [
            {"component": "l2", "settings": {"strength": 0.01}},
            {
                "component": "effective_rank",
                "settings": {"rate": 0.01, "every": 7, "when": "after"},
            },
        ],
        [{"component": "effective_rank", "settings": {"rate": 0.01, "every": 7}}],
    ],
    ids=["sgd", "l2", "l2-er", "er-before"],
)
@pytest.mark.parametrize("seeds", [(0,), (0, 3)])
def test_steps_of_one_sample_written_out_are_the_steps(parts, seeds):
    out, loop = (
        online(parts, written_out=written, seeds=seeds, checkpoint_epochs=(0.3,))
        for written in (True, False)
    )
    assert out.kept.keys() == loop.kept.keys()
    for name, tensors in out.kept.items():
        for key, tensor in tensors.items():
            torch.testing.assert_close(tensor, loop.kept[name][key], rtol=1e-9, atol=1e-11)
    assert [row[:5] for row in out.record.history] == [row[:5] for row in loop.record.history]
    values = [[row[5] for row in run.record.history] for run in (out, loop)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_steps_of_one_sample_resume_anywhere():
    whole = online(SGD, written_out=True)
    for stop in (3, 17):
        cut = toy.training(SGD, **ONLINE)
        cut.benchmark = dataclasses.replace(cut.benchmark, mask="none")
        calls = []

        def at_step(calls=calls, stop=stop):
            calls.append(None)
            if len(calls) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cut.run(at_step)
        again = toy.training(SGD, **ONLINE)
        again.benchmark = cut.benchmark
        again.restore(copy.deepcopy(cut.state()))
        again.run()
        for key, tensor in whole.kept["task-3"].items():
            assert torch.equal(tensor, again.kept["task-3"][key])
        assert whole.record.history == again.record.history


# 1e100: weights whose norms' fourth powers leave the range of numbers, and they themselves do not.
@pytest.mark.parametrize(("strategy", "rate"), [("sgd", 1e200), ("spectral_norm", 1e100)])
def test_steps_of_one_sample_diverge_where_the_loop_does(strategy, rate):
    parts = [{"component": strategy, "settings": {}}]
    runs = [online(parts, written_out=w, learning_rate=rate) for w in (True, False)]
    assert runs[0].record.diverged == runs[1].record.diverged != {}


@pytest.mark.parametrize(
    "changed",
    [{"momentum": 0.9}, {"optimizer": "adam"}, {"batch_size": 2}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_steps_are_not_written_out(changed):
    assert toy.training(SGD, **{**ONLINE, **changed}).steps.online is None
    lwf = [{"component": "lwf", "settings": {}}]
    assert toy.training(lwf, **ONLINE).steps.online is None


def test_training_batches_are_augmented_and_nothing_else_is():
    seen = []

    class Brighter(type(toy.benchmark([0]))):
        def augment(self, inputs, generators):
            seen.append([generator.random() for generator in generators])
            return inputs + 1

    def brighter():
        run = toy.training(SGD, (0, 3), epochs=2, batch_size=10)
        of = run.benchmark
        given = {f.name: getattr(of, f.name) for f in dataclasses.fields(of) if f.init}
        again = toy.Training(
            Brighter(**given),
            toy.networks(of, (0, 3)),
            run.strategy,
            run.settings,
            name="toy",
            seeds=[0, 3],
            keep=lambda *_: None,
        )
        again.run()
        return again

    one = brighter()
    first, seen[:] = list(seen), []
    two = brighter()
    assert first == seen
    assert len(first) == len({tuple(draws) for draws in first}) == 3 * 2 * 5
    assert one.record.history == two.record.history
    plain = toy.trained(SGD, (0, 3), epochs=2, batch_size=10)
    assert one.record.accuracy[:6] == plain.record.accuracy[:6]  # before training
    assert one.record.history != plain.record.history


@pytest.mark.parametrize(("architecture", "seeds"), [("resnet18", (0,)), ("mlp", (0, 1))])
def test_in_bfloat16_products_alone_lose_precision(architecture, seeds):
    parts = [{"component": "lwf", "settings": {}}]
    settings = {"architecture": architecture, "dtype": "float32", "learning_rate": 0.01}
    settings |= {"epochs": 1, "batch_size": 10}
    whole = toy.trained(parts, seeds, **settings)
    half = toy.trained(parts, seeds, bfloat16=True, **settings)
    for key, tensor in half.kept["task-3"].items():
        assert tensor.dtype == whole.kept["task-3"][key].dtype
    losses = [
        np.array([row[5] for row in run.record.history if row[1] == 1 and row[4] == "loss"])
        for run in (whole, half)
    ]
    assert not np.array_equal(*losses)
    # Of the first step; what follows from rounding grows.
    assert losses[0][0] == pytest.approx(losses[1][0], rel=2**-7)


def test_in_bfloat16_figures_stay_where_they_are():
    """Average accuracy and forgetting, seed by seed: the differences' interval holds zero."""
    seeds = range(10)

    def figures(**settings):
        run = toy.trained(SGD, seeds, dtype="float32", learning_rate=0.02, **settings)
        rows = [row for row in run.record.accuracy if row[3] == "task_masked"]
        values = [row[4] for row in sorted(rows, key=lambda row: row[:3])]
        matrices = np.array(values).reshape(len(seeds), 4, 3)
        return np.array([[average_accuracy(m), forgetting(m)] for m in matrices])

    moved = figures(bfloat16=True) - figures()
    assert moved.any()
    error = moved.std(axis=0, ddof=1) / len(seeds) ** 0.5
    assert (np.abs(moved.mean(axis=0)) <= 3.25 * error).all()  # t, 9 degrees of freedom, 99 %


def test_bfloat16_of_double_precision_is_refused():
    with pytest.raises(ValueError, match="take one of the two back"):
        Settings(bfloat16=True, dtype="float64")
