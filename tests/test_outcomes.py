"""What the next task costs, by hand from accuracies, and from runs that were really trained."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toy
from forgetting import datasets, outcomes, tables
from forgetting.commands import gather, measure, train
from forgetting.errors import UserError
from forgetting.tables import GROUP, ID

RUN = ["bench", "net", "sgd"]


def accuracies(matrix: list[list[float]], seed: int = 0, run: list[str] = RUN) -> pd.DataFrame:
    """Row t of the matrix: after task t (from 0), accuracy on tasks 1, 2, ...; NaN: not taken."""
    rows = [
        [*run, seed, after, task, value]
        for after, values in enumerate(matrix)
        for task, value in enumerate(values, start=1)
        if not np.isnan(value)
    ]
    return pd.DataFrame(rows, columns=[*ID, "after_task", "task", "value"])


def measured(*tasks: int, seed: int = 0, run: list[str] = RUN) -> pd.DataFrame:
    return pd.DataFrame([[*run, seed, task] for task in tasks], columns=[*ID, "task"])


MATRIX = [[0.1, 0.1, 0.1], [0.9, 0.2, 0.1], [0.6, 0.8, 0.1], [0.5, 0.4, 0.7]]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ((1, 2, 3), {1: 0.9 - 0.6, 2: (0.6 - 0.5 + 0.8 - 0.4) / 2}),
        ((1, 3), {1: 0.9 - 0.5}),  # until it is measured again
        ((0, 2, 3), {2: (0.6 - 0.5 + 0.8 - 0.4) / 2}),  # nothing is old before the first task
        ((2,), {}),
    ],
)
def test_forgetting_is_what_old_tasks_lose_until_the_next_measurement(
    tasks: tuple[int, ...], expected: dict[int, float]
) -> None:
    found = outcomes.forgotten_next(accuracies(MATRIX), measured(*tasks))
    assert dict(zip(found["task"], found["value"], strict=True)) == pytest.approx(expected)


def test_runs_that_are_not_tested_on_old_tasks_have_no_forgetting() -> None:
    nan = float("nan")
    current = accuracies([[0.1, 0.1], [0.9, nan], [nan, 0.8]])
    assert outcomes.forgotten_next(current, measured(1, 2)).empty
    other = measured(1, 2, seed=5)
    assert outcomes.forgotten_next(accuracies(MATRIX), other).empty


def learned(**runs: dict[int, list[float]]) -> pd.DataFrame:
    """Strategy -> seed -> how well tasks 1, 2, ... were learned."""
    rows = [
        ["bench", "net", strategy, seed, task, value]
        for strategy, seeds in runs.items()
        for seed, values in seeds.items()
        for task, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=[*ID, "task", "value"])


def strategies(**fresh: float) -> pd.DataFrame:
    rows = [["bench", "net", strategy, of] for strategy, of in fresh.items()]
    return pd.DataFrame(rows, columns=[*GROUP, "fresh"])


def by_task(found: pd.DataFrame, strategy: str, seed: int) -> dict[int, float]:
    rows = found[(found["strategy"] == strategy) & (found["seed"] == seed)]
    return dict(zip(rows["task"], rows["value"], strict=True))


def test_loss_of_plasticity_is_against_the_same_seed_afresh_else_against_the_mean() -> None:
    rows = learned(
        sgd={0: [0.9, 0.7, 0.5], 9: [0.9, 0.6, 0.6]}, reset={0: [0.9, 0.8, 0.9], 1: [0.9, 0.6, 0.5]}
    )
    found = outcomes.learned_worse_next(rows, strategies(sgd=np.nan, reset=0))
    assert by_task(found, "sgd", 0) == pytest.approx({1: 0.8 - 0.7, 2: 0.9 - 0.5})
    assert by_task(found, "sgd", 9) == pytest.approx({1: 0.7 - 0.6, 2: 0.7 - 0.6})


def test_a_run_of_one_task_alone_is_afresh_for_that_task_only() -> None:
    rows = learned(sgd={0: [0.9, 0.7, 0.5]}, alone={0: [0.2, 0.8, 0.2]})
    found = outcomes.learned_worse_next(rows, strategies(sgd=np.nan, alone=2))
    assert by_task(found, "sgd", 0) == pytest.approx({1: 0.8 - 0.7})
    none = outcomes.learned_worse_next(rows, strategies(sgd=np.nan, alone=np.nan))
    assert none.empty


# ---------------------------------------------------------------- runs that were really trained

STUDY = "toys"
PARTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"component": "sgd", "settings": {}}],
    "reset": [{"component": "reset", "settings": {}}],
    "second-alone": [{"component": "single_task", "settings": {"task": 2}}],
    "joint": [{"component": "joint", "settings": {"when": "once"}}],
}
TRAINING = {"batch_size": 8, "epochs": 2, "learning_rate": 0.05, "dtype": "float32"}
BENCHMARK = {"name": "bench", "component": "split", "settings": {"tasks": 3}}


def call(command: Any, **words: Any) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given: list[str] = []
    for key, value in words.items():
        values = value if isinstance(value, list) else [value]
        given += [f"--{key.replace('_', '-')}", *map(str, values)]
    command.run(parser.parse_args(given))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four runs of two seeds and their instruments."""
    home = tmp_path_factory.mktemp("across") / "quick"
    data = home.parent / "data" / "toy.json"
    data.parent.mkdir()
    datasets.write(toy.dataset(), data.with_suffix(".safetensors"), path_json=data)
    network = {"name": "net", "component": "mlp", "settings": toy.SMALL["mlp"]}
    for name, parts in PARTS.items():
        place = f"bench/net/{name}/seeds4-5"
        run = home / STUDY / "runs" / place
        call(
            train,
            study=STUDY,
            preset="quick",
            benchmark=json.dumps(BENCHMARK),
            architecture=json.dumps(network),
            strategy=json.dumps({"name": name, "parts": parts}),
            training=json.dumps(TRAINING),
            seeds="[4, 5]",
            data=data,
            device="cpu",
            out=run,
        )
        out = home / STUDY / "measures" / "instruments" / f"{place}.parquet"
        call(measure, run=run / "run.json", measure="instruments", data=data, device="cpu", out=out)
    return home


def gathered(home: Path, out: Path, *names: str, spectra: list[Path] | None = None) -> Any:
    names = names or tuple(PARTS)
    folder = home / STUDY
    call(
        gather,
        runs=[folder / f"runs/bench/net/{name}/seeds4-5/run.json" for name in names],
        instruments=[
            folder / f"measures/instruments/bench/net/{name}/seeds4-5.parquet" for name in names
        ],
        spectra=spectra or [],
        about=json.dumps({STUDY: {"bench": {"metric": "task_masked", "evidence": "reduced"}}}),
        out=out / "instruments.csv",
        out_runs=out / "runs.csv",
    )
    return tables.read(out / "instruments.csv"), tables.read(out / "runs.csv")


def test_instruments_and_outcomes_of_a_run_are_in_one_row(trained: Path, tmp_path: Path) -> None:
    table, runs = gathered(trained, tmp_path)
    assert list(table)[:7] == ["study", "family", *ID, "task"]
    assert set(table["family"]) == {"split toy"}
    assert set(table["study"]) == set(runs["study"]) == {STUDY}
    assert set(runs["strategy"]) == set(PARTS)
    sgd = table[table["strategy"] == "sgd"]
    assert sorted(zip(sgd["seed"], sgd["task"], strict=True)) == [
        (seed, task) for seed in (4, 5) for task in (1, 2, 3)
    ]
    assert sgd["cka_to_past"].isna().tolist() == (sgd["task"] == 1).tolist()
    assert sgd[["weight_effective_rank", "log10_nc1", "log10_weight_norm"]].notna().all(axis=None)
    assert table["epsilon_rank"].isna().all()


def test_outcomes_are_those_of_the_accuracies(trained: Path, tmp_path: Path) -> None:
    table, _ = gathered(trained, tmp_path)
    place = trained / STUDY / "runs/bench/net"
    own, afresh = (
        pd.read_parquet(place / name / "seeds4-5/accuracy.parquet") for name in ("sgd", "reset")
    )

    def tested(rows: pd.DataFrame, seed: int, after: int, task: int) -> float:
        (value,) = rows.loc[
            (rows["seed"] == seed)
            & (rows["after_task"] == after)
            & (rows["task"] == task)
            & (rows["metric"] == "task_masked"),
            "value",
        ]
        return float(value)

    alone = pd.read_parquet(place / "second-alone/seeds4-5/accuracy.parquet")
    for seed in (4, 5):
        rows = table[(table["strategy"] == "sgd") & (table["seed"] == seed)].set_index("task")
        lost = [tested(own, seed, 2, j) - tested(own, seed, 3, j) for j in (1, 2)]
        assert rows.loc[2, "forgetting"] == pytest.approx(np.mean(lost))
        assert rows.loc[2, "loss_of_plasticity"] == pytest.approx(
            tested(afresh, seed, 3, 3) - tested(own, seed, 3, 3)
        )
        # Two runs meet the second task afresh: their mean.
        both = np.mean([tested(each, seed, 2, 2) for each in (afresh, alone)])
        expected = both - tested(own, seed, 2, 2)
        assert rows.loc[1, "loss_of_plasticity"] == pytest.approx(expected)
        assert np.isnan(rows.loc[3, "forgetting"])


def test_those_that_others_are_held_against_are_no_points(trained: Path, tmp_path: Path) -> None:
    table, _ = gathered(trained, tmp_path)
    comparators = table[table["strategy"] != "sgd"]
    assert {"reset", "joint", "second-alone"} == set(comparators["strategy"])
    assert comparators[list(outcomes.OUTCOMES)].isna().all(axis=None)
    alone, _ = gathered(trained, tmp_path, "sgd")
    assert alone["loss_of_plasticity"].isna().all()
    assert alone["forgetting"].notna().sum() == 4


def test_the_epsilon_rank_is_that_of_the_next_tasks_start(trained: Path, tmp_path: Path) -> None:
    place = "bench/net/sgd/seeds4-5"
    out = tmp_path / STUDY / "measures" / "hessian" / f"{place}.parquet"
    settings = {"moments": ["init"], "splits": ["train"], "steps": [5, 10], "probes": 1}
    call(
        measure,
        run=trained / STUDY / "runs" / place / "run.json",
        measure="hessian",
        settings=json.dumps(settings),
        data=trained.parent / "data" / "toy.json",
        device="cpu",
        out=out,
    )
    table, _ = gathered(trained, tmp_path, spectra=[out])
    spectra = pd.read_parquet(out)
    rows = spectra[(spectra["statistic"] == "epsilon_rank") & (spectra["eps"] == outcomes.EPSILON)]
    rows = rows[rows["steps"] == 10].set_index(["seed", "task"])["value"]
    sgd = table[table["strategy"] == "sgd"].set_index(["seed", "task"])["epsilon_rank"]
    assert sgd[4, 1] == pytest.approx(rows[4, 2])
    assert sgd[5, 2] == pytest.approx(rows[5, 3])
    assert np.isnan(sgd[4, 3])  # no task begins after the last


def test_runs_of_no_named_study_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none lies below a folder of a study that --about names"):
        call(
            gather,
            runs=[trained / STUDY / "runs/bench/net/sgd/seeds4-5/run.json"],
            instruments=["x.parquet"],
            about=json.dumps({"others": {}}),
            out=tmp_path / "a.csv",
            out_runs=tmp_path / "b.csv",
        )
