"""The table of costs, from records as Snakemake and the trainings write them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from forgetting import costs
from forgetting.commands import cost
from forgetting.errors import UserError

RUN = "split-digits/mlp/ewc~0.1/seeds0-2"


def job(path: Path, seconds: float, cpu: Any = 1.0, memory: Any = 100.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {"s": seconds, "cpu_time": cpu, "max_rss": memory, "h:m:s": "0:00:01"}
    path.write_text(json.dumps(said) + "\n")


def trained(home: Path, path: str, **said: Any) -> None:
    folder = home / "runs" / path
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "task-0.safetensors").write_bytes(bytes(1000))
    (folder / "run.json").write_text(json.dumps(said))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    home = tmp_path / "small" / "collapse"
    job(tmp_path / "logs/prepare/digits.jsonl", 5.0)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits.safetensors").write_bytes(bytes(70))
    # Trained in one go: the record of the job has its start-up too.
    trained(home, RUN, wall_seconds=90.0, cpu_seconds=80.0, peak_memory_mb=700, gpu=None)
    job(home / f"logs/train/{RUN}.jsonl", 100.0, 95.0, 650.0)
    # Killed and gone on with: only run.json knows of the time before.
    gpu = {"name": "G", "peak_memory_mb": 4000, "utilisation": 50.0}
    other = RUN.replace("ewc~0.1", "sgd")
    trained(home, other, wall_seconds=1900.0, cpu_seconds=1800.0, peak_memory_mb=500, gpu=gpu)
    job(home / f"logs/train/{other}.jsonl", 3.0, "NA", "NA")
    trained(home / "tune", other, wall_seconds=7.0)
    job(home / f"logs/measure/erank/{RUN}.jsonl", 2.0, "NA", "NA")
    job(home / f"logs/measure/erank/{other}.jsonl", 8.0)
    job(home / f"logs/measure/cka/{RUN}.jsonl", 4.0)
    parquet = home / f"measures/erank/{RUN}.parquet"
    parquet.parent.mkdir(parents=True)
    parquet.write_bytes(bytes(30))
    job(home / "logs/collect/erank.jsonl", 1.0)
    job(home / "partial/only/logs/collect/erank.jsonl", 2.0)
    job(home / "logs/draw/figure~0.1.jsonl", 1.0)
    job(home / "logs/judge.jsonl", 1.5)
    job(home / "logs/tune.jsonl", 2.5)
    job(tmp_path / "small/logs/scorecard.jsonl", 0.5)
    (tmp_path / "small/scorecard.html").write_bytes(bytes(11))
    (tmp_path / "small/scorecard.md").write_bytes(bytes(4))
    return tmp_path


def test_a_row_for_every_study_rule_and_measure(results: Path) -> None:
    rows = {(r.study, r.rule, r.measure): r for r in costs.table(results, "small")}
    assert {key: (row.jobs, row.wall_seconds) for key, row in rows.items()} == {
        ("", "prepare", ""): (1, 5.0),
        ("", "score", ""): (1, 0.5),
        ("collapse", "collect", ""): (2, 3.0),
        ("collapse", "draw", ""): (1, 1.0),
        ("collapse", "judge", ""): (1, 1.5),
        ("collapse", "measure", "cka"): (1, 4.0),
        ("collapse", "measure", "erank"): (2, 10.0),
        ("collapse", "propose", ""): (1, 2.5),
        ("collapse", "train", ""): (2, 2000.0),
        ("collapse", "tune", ""): (1, 7.0),
    }
    train = rows["collapse", "train", ""]
    assert (train.cpu_seconds, train.longest_seconds) == (1895.0, 1900.0)
    assert (train.peak_memory_mb, train.gpu_peak_memory_mb) == (700, 4000)
    assert train.bytes == sum(
        p.stat().st_size for p in (results / "small/collapse/runs").rglob("*") if p.is_file()
    )
    assert train.bytes > 2000
    sizes = {key[1:]: row.bytes for key, row in rows.items()}
    assert (sizes["prepare", ""], sizes["score", ""], sizes["measure", "erank"]) == (70, 15, 30)


def test_runtimes_leave_room_and_are_never_too_short(results: Path) -> None:
    rows = costs.table(results, "small")
    # three times 1900 s are 95 minutes; three times 8 s are less than the least
    assert costs.runtimes(rows) == {"collapse": {"measure": 10, "train": 100}}


def test_the_command_writes_and_prints(results: Path, capsys: pytest.CaptureFixture) -> None:
    parser = cost.argparse.ArgumentParser()
    cost.add_arguments(parser)
    cost.run(parser.parse_args(["--preset", "small", "--results", str(results)]))
    shown = capsys.readouterr().out
    assert "collapse: resources: {measure: {runtime: 10}, train: {runtime: 100}}" in shown
    rows = list(csv.DictReader((results / "small" / "cost.csv").open()))
    assert [row["rule"] for row in rows if row["study"] == ""] == ["prepare", "score"]
    assert set(rows[0]) == set(costs.Cost.__dataclass_fields__)
    cost.run(parser.parse_args(["--preset", "small", "--results", str(results)]))  # once more
    with pytest.raises(UserError, match="no finished jobs"):
        cost.run(parser.parse_args(["--preset", "quick", "--results", str(results)]))


def test_records_that_are_being_written_are_passed_over(results: Path) -> None:
    (results / "small/collapse/logs/judge.jsonl").write_text('{"s": 1')
    (results / f"small/collapse/runs/{RUN}/run.json").write_text("{")
    rows = {(r.rule, r.measure): r for r in costs.table(results, "small")}
    assert rows["judge", ""].wall_seconds == 0
    assert rows["train", ""].wall_seconds == 2000.0
