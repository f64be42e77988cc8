"""Learning curves against the evaluation of the training and against counting by hand."""

import pandas as pd
import pytest
import torch

from forgetting.ensemble import Ensemble
from forgetting.evaluation import accuracies
from forgetting.measures import learning_curve
from forgetting.runs import RunView
from two_task_runs import SEEDS, dataset, diverged

NAMES = ["ship", "truck", "cat", "horse", "deer", "dog"]


def measured(run: RunView) -> pd.DataFrame:
    return learning_curve.measure(run, learning_curve.Settings())


@pytest.mark.parametrize("name", ["shift", "heads", "growing"])
def test_tasks_as_the_evaluation_has_them(name: str, request: pytest.FixtureRequest) -> None:
    """At every checkpoint, and at the ends of tasks also as the training wrote them down."""
    run: RunView = request.getfixturevalue(name)
    frame = measured(run)
    assert list(frame.columns) == list(learning_curve.COLUMNS)
    keys = ["task", "epoch", "of_task", "statistic", "seed"]
    whole = frame[frame.output == ""].set_index(keys).value.to_dict()
    expected = {}
    for checkpoint in run.checkpoints:
        for index, seed in enumerate(SEEDS):
            network = Ensemble([run.network(index, checkpoint.name)])
            found = accuracies(network, run.benchmark.alone(index), checkpoint.task, (1, 2))
            for task, metric, (value,) in found:
                expected[checkpoint.task, checkpoint.epoch, task, metric, seed] = value
    assert whole == expected
    table = pd.read_parquet(run.folder / "accuracy.parquet")
    recorded = table.set_index(["after_task", "task", "metric", "seed"]).value.to_dict()
    at_ends = {(t, of, m, s): v for (t, epoch, of, m, s), v in whole.items() if not epoch}
    assert at_ends == recorded
    assert len(set(whole.values())) > 3


@pytest.mark.parametrize(
    ("name", "metric"), [("shift", "task_masked"), ("growing", "class_incremental")]
)
def test_classes_by_hand(name: str, metric: str, request: pytest.FixtureRequest) -> None:
    run: RunView = request.getfixturevalue(name)
    frame = measured(run)
    data = dataset()
    cut = len(data.train_labels)
    for index, seed in enumerate(SEEDS):
        (tasks,) = run.benchmark.alone(index).sequences
        network = run.network(index, "task-2")
        for number, task in enumerate(tasks, start=1):
            rows = frame[(frame.seed == seed) & (frame.task == 2) & (frame.epoch == 0)]
            rows = rows[(rows.of_task == number) & (rows.statistic == metric)]
            rows = rows.set_index("output")
            logits = network(run.benchmark.pool.inputs(torch.from_numpy(task.test)))
            # After task 2 all outputs of either benchmark compete.
            predicted = logits.argmax(1).numpy()
            fine = data.test_labels[task.test - cut]
            if name == "shift":
                names, own = ["vehicles", "pets", "game"], [0, 1, 2]
                labels = data.test_coarse_labels[task.test - cut]  # type: ignore[index]
                # Superclasses come back with other subclasses.
                assert set(fine) == set(range(number - 1, 6, 2))
            else:
                names, own, labels = NAMES, sorted(set(fine)), fine
            assert list(rows.index) == ["", *(names[output] for output in own)]
            for output in own:
                of_class = labels == output
                row = rows.loc[names[output]]
                assert row.images == of_class.sum() > 0
                assert row.value == pytest.approx((predicted == output)[of_class].mean())
            assert rows.images[""] == len(task.test)
            weighed = (rows.value * rows.images)[1:].sum() / rows.images[""]
            assert weighed == pytest.approx(rows.value[""])


def test_moments_on_one_axis(shift: RunView) -> None:
    """Two epochs a task, weights kept before training, after half and one epoch, at the end."""
    frame = measured(shift)
    one = frame[frame.seed == 7][["task", "epoch", "epochs_done"]].drop_duplicates()
    of_task_1 = [(1, 0.5, 0.5), (1, 1, 1), (1, 0, 2)]
    expected = [(0, 0, 0), *of_task_1, (2, 0.5, 2.5), (2, 1, 3), (2, 0, 4)]
    assert list(one.itertuples(index=False, name=None)) == expected
    assert set(frame.layer) == {""}
    assert frame.seed.is_monotonic_increasing


def test_one_task_alone_stands_where_its_task_stands(shift: RunView) -> None:
    frame = measured(shift.other("task2_only"))
    moments = frame[["task", "epochs_done"]].drop_duplicates()
    assert list(moments.itertuples(index=False, name=None)) == [(0, 0), (2, 4)]


def test_a_seed_has_rows_until_it_diverged(shift: RunView) -> None:
    frame = measured(diverged(shift, 4, 2))
    assert set(frame.task[frame.seed == 4]) == {0, 1}
    assert set(frame.task[frame.seed == 7]) == {0, 1, 2}


def test_outputs_without_names_are_numbers(heads: RunView) -> None:
    benchmark = heads.benchmark.alone(0)
    object.__setattr__(benchmark, "output_names", ())
    rows = list(learning_curve.class_accuracies(heads.network(0, "task-1"), benchmark, after=1))
    of_task_2 = [r["output"] for r in rows if r["of_task"] == 2 and r["statistic"] == "task_masked"]
    assert of_task_2 == ["", "3", "4", "5"]
