"""The train command as a process: killed, signalled, locked, repeated.

What is signalled or killed is started as anyone would start it; the others are forks of a server,
because a start takes longer than these trainings.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

import toy
from forgetting import checkpoints, datasets
from forgetting.commands.status import line
from forgetting.progress import of_run
from forks import Ended, Server, message
from trainings import ENVIRONMENT, STRATEGIES, command, facts, prepare

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return prepare(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def run(server: Server) -> Run:
    """Return a function: a training to its end, of the arguments of ``command``."""
    return lambda *arguments, **keywords: server.run(command(*arguments, **keywords))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves(tmp_path, data, run, number):
    keywords = {"epochs": 60, "strategy": "experience_replay"}
    process = subprocess.Popen(command(data, tmp_path / "run", **keywords), env=ENVIRONMENT)
    while not list((tmp_path / "run").glob(".resume/*/group-cpu-0-*/task-0.safetensors")):
        time.sleep(0.01)
    process.send_signal(number)
    if number == signal.SIGTERM:
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        assert list((tmp_path / "run").glob(".resume/*/group-cpu-0-*/rolling.pt"))
        assert run(data, tmp_path / "run", **keywords).shown.startswith("resumed at task")
    else:
        assert process.wait(timeout=60) == 0
    assert run(data, tmp_path / "whole", **keywords).code == 0
    assert facts(tmp_path / "run") == facts(tmp_path / "whole")


def test_two_processes_never_train_one_run(tmp_path, data, run):
    keywords = {"epochs": 500}
    first = subprocess.Popen(command(data, tmp_path / "run", **keywords), env=ENVIRONMENT)
    while not list((tmp_path / "run").glob(".resume/*/group-cpu-0-*/task-0.safetensors")):
        time.sleep(0.01)
    second = run(data, tmp_path / "run", **keywords)
    assert first.wait(timeout=5) == 0
    assert "another process trains this run" in second.shown
    assert "published again" in second.shown


def test_a_finished_run_is_published_again_without_training(tmp_path, data, run):
    assert run(data, tmp_path / "run").code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    (tmp_path / "run" / "run.json").unlink()  # as the workflow does before a job starts
    again = run(data, tmp_path / "run")
    assert "published again" in again.shown
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    # A lost checkpoint is trained again.
    (tmp_path / "run" / "checkpoints" / "task-3.safetensors").unlink()
    assert "published again" not in run(data, tmp_path / "run").shown
    assert (tmp_path / "run" / "checkpoints" / "task-3.safetensors").exists()


def test_a_changed_run_never_takes_up_an_old_state(tmp_path, data, run):
    assert run(data, tmp_path / "run", learning_rate=0.1).code == 0
    assert run(data, tmp_path / "run", learning_rate=0.2).code == 0
    assert run(data, tmp_path / "fresh", learning_rate=0.2).code == 0
    assert facts(tmp_path / "run") == facts(tmp_path / "fresh")


def test_divergence_is_data(tmp_path, data, run):
    done = run(data, tmp_path / "run", learning_rate=1e6, seeds=(0, 1))
    assert done.code == 0, done.shown
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "diverged"
    assert all(
        about["status"] == "diverged" and about["task"] == 1 for about in record["seeds"].values()
    )
    accuracy = pd.read_parquet(tmp_path / "run" / "accuracy.parquet")
    assert set(accuracy.after_task) == {0}


def test_one_diverged_seed_leaves_the_others_alone(tmp_path, data):
    """A seed with weights that are not a number beside a healthy one, which trains as if alone."""
    pack = toy.training(STRATEGIES["sgd"], (0, 1))
    pack.ensemble.params["stages.head.weight"].data[0, 0, 0] = torch.nan
    pack.run()
    assert list(pack.record.diverged) == [0]
    alone = toy.trained(STRATEGIES["sgd"], (1,))
    assert [row for row in pack.record.accuracy if row[0] == 1] == alone.record.accuracy


def test_repeating_a_run_by_hand(tmp_path, data, run, server):
    results = data.parent.parent
    out = results / "quick" / "toy" / "runs" / "toy" / "mlp" / "lwf" / "seeds0"
    assert run(data, out, strategy="lwf").code == 0
    by_hand = ["--spec", str(out / "run.json"), "--out", str(tmp_path / "again")]
    done = server.run(["forgetting", "train", *by_hand])
    assert done.code == 0, done.shown
    assert facts(out) == facts(tmp_path / "again")


def test_a_run_can_start_from_another(tmp_path, data, run):
    parent = tmp_path / "sgd"
    assert run(data, parent, seeds=(0, 1)).code == 0
    started = {
        "name": "sgd-again",
        "parts": STRATEGIES["sgd"],
        "starts_from": {"strategy": "sgd", "task": 1},
    }
    child = tmp_path / "child"
    done = run(data, child, strategy=started, seeds=(0, 1), start=[parent / "run.json"])
    assert done.code == 0, done.shown
    # Plain training continued by plain training is plain training.
    assert facts(child)[1:] == facts(parent)[1:]
    mine, theirs = (
        json.loads((f / "run.json").read_text())["checkpoints"] for f in (child, parent)
    )
    assert {n: h for n, h in theirs.items() if n != "task-0"} == mine


def test_a_run_can_start_from_within_a_task_of_another(tmp_path, data, run):
    parent = tmp_path / "sgd"
    moments = {"epochs": 3, "checkpoint_epochs": [1, 2]}
    assert run(data, parent, seeds=(0, 1), **moments).code == 0
    start = {"strategy": "sgd", "task": 1, "epoch": 2}
    child = tmp_path / "child"
    done = run(
        data,
        child,
        strategy={"name": "later", "parts": STRATEGIES["sgd"], "starts_from": start},
        seeds=(0, 1),
        start=[parent / "run.json"],
    )
    assert done.code == 0, done.shown
    whole = tmp_path / "whole"
    assert run(data, whole, seeds=(0, 1), epochs=2, more=["--device", "cpu"]).code == 0
    # What the parent was after two epochs is what two epochs make.
    mine, theirs = (
        pd.read_parquet(folder / "accuracy.parquet").query("after_task < 2").to_dict("records")
        for folder in (child, whole)
    )
    assert mine == theirs
    seen = pd.read_parquet(child / "history.parquet")
    assert set(seen.loc[seen["task"] == 1, "epoch"]) == {1, 2}
    start = {"strategy": "sgd", "task": 1, "epoch": 0.5}
    done = run(
        data,
        tmp_path / "no",
        strategy={"name": "later", "parts": STRATEGIES["sgd"], "starts_from": start},
        seeds=(0, 1),
        start=[parent / "run.json"],
    )
    assert done.code == 1
    assert "kept no checkpoint task-1-epoch-0.5 to start from; there are task-0" in done.shown


@pytest.mark.parametrize("epoch", [1, None])
def test_seeds_that_had_diverged_where_a_run_starts_are_diverged_in_it(tmp_path, data, run, epoch):
    parent, child = tmp_path / "sgd", tmp_path / "child"
    broken = {"learning_rate": 1e30, "checkpoint_epochs": [1]}
    assert run(data, parent, seeds=(0, 1), **broken).code == 0
    start = {"strategy": "sgd", "task": 1, **({"epoch": epoch} if epoch else {})}
    done = run(
        data,
        child,
        strategy={"name": "later", "parts": STRATEGIES["sgd"], "starts_from": start},
        seeds=(0, 1),
        start=[parent / "run.json"],
    )
    assert done.code == 0, done.shown
    record = json.loads((child / "run.json").read_text())
    assert {about["status"] for about in record["seeds"].values()} == {"diverged"}
    assert {about["task"] for about in record["seeds"].values()} == {1}
    assert set(pd.read_parquet(child / "accuracy.parquet")["after_task"]) == {0}


def named(name, **settings):
    about = {"component": "classes", "settings": {"head": "own", **settings}}
    return ["--benchmark", json.dumps({"name": name, **about})]


def test_a_benchmark_may_continue_another_with_the_same_first_task(tmp_path, data, run):
    first, parent = ["0", "1"], tmp_path / "parent"
    one = named("one", tasks=[first, ["2", "3"]])
    assert run(data, parent, more=one).code == 0
    start = {"strategy": "sgd", "task": 1, "benchmark": "one"}
    strategy = {"name": "sgd", "parts": STRATEGIES["sgd"], "starts_from": start}

    def child(name, tasks):
        more = named(name, tasks=tasks)
        return run(data, tmp_path / name, strategy=strategy, start=[parent / "run.json"], more=more)

    done = child("other-second", [first, ["4", "5"]])
    assert done.code == 0, done.shown
    mine, theirs = (
        pd.read_parquet(folder / "accuracy.parquet").query("task == 1 and after_task < 2")
        for folder in (tmp_path / "other-second", parent)
    )
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), theirs.reset_index(drop=True))
    whole = pd.read_parquet(tmp_path / "other-second" / "accuracy.parquet")
    # Before training, task 2 was another one in the parent.
    assert sorted(set(zip(whole["after_task"], whole["task"], strict=True))) == [
        (0, 1),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    for name, tasks in (
        ("other-first", [["0", "2"], ["4", "5"]]),
        ("more-outputs", [first, ["3", "4", "5"]]),
    ):
        done = child(name, tasks)
        assert done.code == 1
        assert f"{name} cannot continue one" in done.shown
        assert "Traceback" not in done.shown


@pytest.mark.parametrize("other", ["architecture", "seeds", "images"])
def test_a_parent_of_another_network_other_seeds_or_images_is_refused(tmp_path, data, run, other):
    parent = tmp_path / "sgd"
    assert run(data, parent, seeds=(0, 1)).code == 0
    seeds, more, mine, said = (0, 1), [], data, f"its {other} is not that of the run"
    if other == "seeds":
        seeds = (1, 0)
    elif other == "architecture":
        named = {"name": "mlp", "component": "mlp", "settings": {"hidden": [12, 11]}}
        more = ["--architecture", json.dumps(named)]
    else:
        mine, said = tmp_path / "toy.json", "was trained on other images than"
        images = toy.dataset(per_class=36)
        datasets.write(images, mine.with_suffix(".safetensors"), path_json=mine)
    start = {"strategy": "sgd", "task": 1}
    done = run(
        mine,
        tmp_path / "child",
        strategy={"name": "later", "parts": STRATEGIES["sgd"], "starts_from": start},
        seeds=seeds,
        start=[parent / "run.json"],
        more=more,
    )
    assert message(done).startswith(f"{parent / 'run.json'}: {said}")


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_parent_is_refused_by_name(tmp_path, data, run, damage):
    parent = tmp_path / "sgd"
    assert run(data, parent).code == 0
    path = parent / "checkpoints" / "task-1.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(content[:-10])
    elif damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    strategy = {
        "name": "x",
        "parts": STRATEGIES["sgd"],
        "starts_from": {"strategy": "sgd", "task": 1},
    }
    done = run(data, tmp_path / "child", strategy=strategy, start=[parent / "run.json"])
    assert done.code == 1
    assert str(path) in done.shown
    assert "Traceback" not in done.shown


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    path = tmp_path / "task-1.safetensors"
    checkpoints.write(path, {"w": torch.ones(2, 3)}, seeds=[0, 1], task=1, epoch=0)
    tensors, about = checkpoints.read(path)
    assert about == {"seeds": [0, 1], "task": 1, "epoch": 0}
    assert torch.equal(tensors["w"], torch.ones(2, 3))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Exception, match=r"task-1\.safetensors: not a checkpoint that can be read"):
        checkpoints.read(path)


def test_missing_arguments_are_named(tmp_path, server):
    done = server.run(["forgetting", "train", "--out", str(tmp_path)])
    assert done.code == 1
    assert "--benchmark" in done.shown
    assert "Traceback" not in done.shown


def test_what_a_run_has_used_is_added_up_over_its_processes(tmp_path, data, run):
    keywords = {"epochs": 60}
    process = subprocess.Popen(command(data, tmp_path / "run", **keywords), env=ENVIRONMENT)
    while not list((tmp_path / "run").glob(".resume/*/group-cpu-0-*/task-0.safetensors")):
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    (saved,) = (tmp_path / "run").glob(".resume/*/group-cpu-0-*/rolling.pt")
    before = torch.load(saved, weights_only=True)["usage"]
    assert before["wall_seconds"] >= 0.3
    assert run(data, tmp_path / "run", **keywords).code == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["wall_seconds"] > before["wall_seconds"]
    assert record["cpu_seconds"] > before["cpu_seconds"] > 0
    assert 50 < record["peak_memory_mb"] < 10_000
    assert record["gpu"] is None


def test_status_while_it_runs_after_a_crash_and_after_the_end(tmp_path, data, run):
    out, keywords = tmp_path / "run", {"epochs": 200}

    def shown() -> list[str]:
        return line(of_run(out)).split()

    assert shown() == ["waiting"]
    process = subprocess.Popen(command(data, out, **keywords), env=ENVIRONMENT)
    while of_run(out).task is None:
        time.sleep(0.01)
    assert [*shown()[:3], shown()[-1]] == ["running", "task", "1/3", "cpu"]
    process.kill()
    process.wait()
    assert shown()[:3] == ["stopped", "task", "1/3"]
    images = data.with_suffix(".safetensors")
    images.rename(images.with_suffix(".hidden"))
    try:
        assert run(data, out, **keywords).code == 1
    finally:
        images.with_suffix(".hidden").rename(images)
    assert shown()[0] == "failed"
    assert "toy.safetensors" in line(of_run(out))
    assert run(data, out, epochs=1).code == 0
    assert (shown()[0], shown()[-1]) == ("finished", "cpu")
    assert not (out / ".resume" / "failure.json").exists()


def test_a_run_without_the_checkpoints_that_were_let_go_counts_as_finished(tmp_path, data, run):
    assert run(data, tmp_path / "run").code == 0
    gone = tmp_path / "run" / "checkpoints" / "task-2.safetensors"
    gone.unlink()
    (state,) = (path.parent for path in (tmp_path / "run").glob(".resume/*/run.json"))
    (state / "let-go.json").write_text('["task-2"]')
    assert "published again" in run(data, tmp_path / "run").shown
    assert not gone.exists()
    # Another that is missing is not: then all are made again, and none has been let go.
    gone.with_name("task-1.safetensors").unlink()
    assert "published again" not in run(data, tmp_path / "run").shown
    assert gone.exists()
    assert not (state / "let-go.json").exists()
