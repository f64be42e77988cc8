"""The measure command on a run that was really trained."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import toy
from forgetting import building, checkpoints, datasets, fingerprint
from forgetting.commands import measure, train
from forgetting.errors import UserError
from forgetting.measures.erank import effective_rank
from forgetting.runs import open_run
from forgetting.weights import weight_matrices

SEEDS = [4, 7]


def call(command: Any, **options: object) -> None:
    """Run a command in this process, its options spelled as on a command line."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    command.run(parser.parse_args(words))


@pytest.fixture(scope="module", params=["mlp", "convgru", "bi_convgru", "resnet18"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run.json of two seeds over three tasks; data/ lies two folders above it."""
    home = tmp_path_factory.mktemp("results")
    (home / "data").mkdir()
    data = home / "data" / "toy.json"
    datasets.write(toy.dataset(), data.with_suffix(".safetensors"), path_json=data)
    name = request.param
    call(
        train,
        study="toy",
        preset="quick",
        benchmark=json.dumps({"name": "toy", "component": "split", "settings": {"tasks": 3}}),
        architecture=json.dumps({"name": name, "component": name, "settings": toy.SMALL[name]}),
        strategy=json.dumps({"name": "sgd", "parts": [{"component": "sgd", "settings": {}}]}),
        training=json.dumps({"batch_size": 16, "epochs": 1, "dtype": "float32"}),
        seeds=json.dumps(SEEDS),
        data=[str(data)],
        device="cpu",
        out=home / "run",
    )
    return home / "run" / "run.json"


def measured(run: Path, out: Path, **options: object) -> pd.DataFrame:
    data = [str(run.parents[1] / "data" / "toy.json")]
    settings = json.dumps({"probe": {"images": 20}})
    options = {"measure": "erank", "settings": settings, "device": "cpu", **options}
    call(measure, run=run, data=data, out=out, **options)
    return pd.read_parquet(out)


def test_ranks_of_a_run_are_those_of_its_checkpoints(trained: Path, tmp_path: Path) -> None:
    frame = measured(trained, tmp_path / "seeds4-7.parquet")
    moments = frame[["seed", "task"]].drop_duplicates().to_numpy().tolist()
    assert moments == [[seed, task] for seed in SEEDS for task in range(4)]
    view = open_run(trained, [trained.parents[1] / "data" / "toy.json"], torch.device("cpu"))
    net = view.network(1, "task-2")
    stacked, _ = checkpoints.read(trained.parent / "checkpoints" / "task-2.safetensors")
    expected = weight_matrices(net, {name: tensor[1] for name, tensor in stacked.items()})
    rows = frame[(frame.seed == 7) & (frame.task == 2)].set_index(["matrix", "layer"])["value"]
    assert rows["weight"].to_dict() == {n: effective_rank(m) for n, m in expected.items()}
    images, *_ = view.probe("test", 20)
    features = net.activations(images)[net.stage_names[-2]]
    assert rows["activation", net.stage_names[-2]] == effective_rank(features)


def test_task_0_is_the_network_before_training(trained: Path, tmp_path: Path) -> None:
    frame = measured(trained, tmp_path / "a.parquet", settings='{"matrices": ["weight"]}')
    view = open_run(trained, [trained.parents[1] / "data" / "toy.json"], torch.device("cpu"))
    (fresh,) = building.networks(view.spec, view.benchmark, seeds=[4])
    rows = frame[(frame.seed == 4) & (frame.task == 0)].set_index("layer")["value"]
    assert rows.to_dict() == {n: effective_rank(m) for n, m in weight_matrices(fresh).items()}


def test_measuring_again_gives_the_same_file(trained: Path, tmp_path: Path) -> None:
    measured(trained, tmp_path / "a.parquet")
    measured(trained, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.parquet", "b.parquet"]


def test_the_file_says_how_it_was_made(trained: Path, tmp_path: Path) -> None:
    measured(trained, tmp_path / "a.parquet")
    metadata = pq.read_schema(tmp_path / "a.parquet").metadata
    about = json.loads(metadata[b"forgetting"])
    assert about["measure"] == "erank"
    assert about["settings"]["probe"] == {"split": "test", "images": 20}
    assert about["settings"]["layout"] == "pooled"
    assert about["device"] == "cpu"
    assert (about["probe"]["images"], len(about["probe"]["indices"])) == (20, 20)
    assert b"indices" not in metadata[b"pandas"]


def test_code_that_changed_meanwhile_is_refused(trained: Path, tmp_path: Path) -> None:
    spec = json.loads(trained.read_text())["spec"]
    code = fingerprint.fingerprint("measure", fingerprint.measure_components(spec, "erank"))
    measured(trained, tmp_path / "a.parquet", code=code)
    with pytest.raises(UserError, match="changed"):
        measured(trained, tmp_path / "b.parquet", code="0" * 16)
    assert not (tmp_path / "b.parquet").exists()


def test_a_gpu_that_is_too_small_is_one_message(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr("forgetting.measures.erank.measure", exhausted)
    with pytest.raises(UserError, match=r"Tried to allocate 2 GiB.*\n.*device=cpu"):
        measured(trained, tmp_path / "a.parquet")
    # Training is no different, and stays to be gone on with.
    monkeypatch.setattr("forgetting.training.Training.run", exhausted)
    again = {"spec": trained, "device": "cpu", "out": tmp_path / "run"}
    with pytest.raises(UserError, match=r"Tried to allocate 2 GiB.*\n.*device=cpu"):
        call(train, **again)
    monkeypatch.undo()
    call(train, **again)
    assert (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "nothing"}, "measures/nothing.py"),
        ({"settings": '{"probe": {"image": 3}}'}, "probe.image.*found 3"),
        ({"settings": '{"layout": "rows"}'}, "layout.*pooled.*found 'rows'"),
        ({"settings": "{"}, "JSON"),
        ({"against": "plain"}, "ROLE=RUN.JSON"),
    ],
)
def test_mistakes_by_hand_get_one_message(
    trained: Path, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        measured(trained, tmp_path / "a.parquet", **options)
