"""Grids are written out as runs of their own, and the best point is proposed with its evidence."""

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from forgetting import configuration, proposal, study
from forgetting.commands import tune
from forgetting.documents import merge
from forgetting.errors import UserError
from forgetting.tuning import Point, Search, Tuning, expand
from studies import REPOSITORY, pipeline_of, plan_of, tiny
from test_study import present

FILE = "workflow/studies/collapse.yaml"
TUNED = [
    (name, preset)
    for name in configuration.studies(REPOSITORY)
    for preset in study.load(REPOSITORY, name).raw["presets"]
]


def searching(**tune: Any) -> dict[str, Any]:
    """Return the tiny study with a grid."""
    grids = {"lwf": {"training.learning_rate": [0.1, 0.01], "alpha": [1.0, 2.0, 4.0]}}
    return {**tiny(), "tune": {"seeds": ["100-101", 105], "grids": grids, **tune}}


def tuning_of(root: Path, raw: dict[str, Any], **config: Any) -> Tuning:
    return pipeline_of(root, raw, **config).tuning("collapse")


@pytest.mark.parametrize(("name", "preset"), TUNED)
def test_the_grids_of_every_study_are_valid(name: str, preset: str) -> None:
    read, document = study.read(study.load(REPOSITORY, name), preset)
    if read.tune is not None:
        tuning = expand(read, document, configuration.Config(preset=preset), present)
        assert len(tuning.runs) >= sum(len(search.points) for search in tuning.searches) > 0


def test_every_combination_is_an_ordinary_run_with_seeds_of_its_own(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, searching())
    (search,) = tuning.searches
    assert (search.group, search.strategy, len(search.points)) == ("narrow", "lwf", 6)
    assert search.places == (("split-digits", "mlp"),)
    assert set(tuning.paths(search)) == set(tuning.runs)
    assert len(tuning.runs) == 6 * 2
    name = "lwf~alpha-4.0~training.learning_rate-0.01"
    run = tuning.runs[f"split-digits/mlp/{name}/seeds100-101"]
    assert run.seeds == (100, 101)
    plain = json.loads(
        plan_of(tmp_path, tiny()).runs["split-digits/mlp/lwf/seeds0"].parts["training"]
    )
    training = json.loads(run.parts["training"])
    assert training.pop("learning_rate") == 0.01
    assert training.pop("checkpoints") == []
    assert training == {k: v for k, v in plain.items() if k not in ("learning_rate", "checkpoints")}
    strategy = json.loads(run.parts["strategy"])
    assert strategy["name"] == name
    assert strategy["parts"][0]["settings"]["alpha"] == 4.0


def test_what_a_group_has_chosen_stays_unless_the_grid_says_otherwise(tmp_path: Path) -> None:
    raw = searching()
    chosen = {"training": {"batch_size": 8}, "settings": {"temperature": 3.0, "alpha": 9.0}}
    raw["runs"]["narrow"]["choices"] = {"lwf": chosen}
    point = tuning_of(tmp_path, raw).searches[0].points[0]
    assert point.choice == {
        "training": {"batch_size": 8, "learning_rate": 0.1},
        "settings": {"temperature": 3.0, "alpha": 1.0},
    }
    # Said in the study, it gives the run that the point was, but for name, seeds and checkpoints.
    raw["runs"]["narrow"]["choices"] = {"lwf": point.choice}
    tuned = tuning_of(tmp_path, raw).runs[f"split-digits/mlp/{point.name}/seeds105"].parts
    plain = plan_of(tmp_path, raw).runs["split-digits/mlp/lwf/seeds0"].parts
    assert json.loads(tuned["strategy"])["parts"] == json.loads(plain["strategy"])["parts"]
    assert json.loads(tuned["training"]) == {**json.loads(plain["training"]), "checkpoints": []}


def test_the_study_itself_is_as_without_its_grids(tmp_path: Path) -> None:
    with_grids = pipeline_of(tmp_path, searching())
    found = with_grids.plan("collapse").runs, with_grids.everything("collapse")
    without = pipeline_of(tmp_path, tiny())
    assert found == (without.plan("collapse").runs, without.everything("collapse"))


def test_sizes_for_tuning_and_a_grid_of_one_group(tmp_path: Path) -> None:
    raw = searching(
        seeds=[7],
        benchmarks={"split-digits": {"settings": {"tasks": 2}}},
        grids={
            "sgd": {"training.learning_rate": [0.1, 0.2]},
            "wide/sgd": {"training.learning_rate": [0.3]},
        },
    )
    raw["benchmarks"]["later"] = {
        "component": "split",
        "dataset": "digits",
        "continues": {"benchmark": "split-digits", "task": 1},
    }
    raw["runs"]["narrow"]["benchmarks"] = ["split-digits", "later"]
    tuning = tuning_of(tmp_path, raw)
    values = {
        s.group: [p.values["training.learning_rate"] for p in s.points] for s in tuning.searches
    }
    assert values == {"narrow": [0.1, 0.2], "wide": [0.3]}
    assert len(tuning.searches[0].places) == 2
    tasks = {
        r.benchmark: json.loads(r.parts["benchmark"])["settings"]["tasks"]
        for r in tuning.runs.values()
    }
    assert tasks == {"split-digits": 2, "later": 5}
    assert {run.start for run in tuning.runs.values()} == {None}


def test_a_composition_is_searched_by_component(tmp_path: Path) -> None:
    raw = searching(grids={"both": {"l2.strength": [0.1, 0.2], "lwf.alpha": [1.0]}})
    raw["strategies"]["both"] = {"parts": [{"component": "lwf"}, {"component": "l2"}]}
    raw["runs"]["narrow"]["strategies"] = ["both"]
    tuning = tuning_of(tmp_path, raw)
    assert [point.choice for point in tuning.searches[0].points] == [
        {"settings": {"l2": {"strength": strength}, "lwf": {"alpha": 1.0}}}
        for strength in (0.1, 0.2)
    ]
    run = tuning.runs["split-digits/mlp/both~l2.strength-0.2~lwf.alpha-1.0/seeds105"]
    assert json.loads(run.parts["strategy"])["parts"][1]["settings"] == {"strength": 0.2}


def with_agents(**grid: list[Any]) -> dict[str, Any]:
    """Return the tiny study with agents beside it, and a grid for them alone."""
    raw = searching(grids={"agents/sgd": grid})
    raw["training"]["checkpoint_epochs"] = [0.5]  # which their loop does not have
    settings = {"tasks": 2, "steps": 64}
    ant = {"component": "slippery_ant", "datasets": [], "metric": "return", "settings": settings}
    raw["benchmarks"]["ant"] = ant
    raw["architectures"]["actor_critic"] = {"settings": {"hidden": [4]}}
    raw["runs"]["agents"] = {
        "benchmarks": ["ant"],
        "architectures": ["actor_critic"],
        "strategies": ["sgd"],
        "training": {"rollout": 64},
    }
    del raw["measures"], raw["tables"], raw["figures"], raw["claims"]
    return raw


def test_agents_are_searched_by_the_settings_of_their_own_loop(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, with_agents(**{"training.clip": [0.1, 0.3]}))
    assert len(tuning.runs) == 2 * 2
    name = "ant/actor_critic/sgd~training.clip-0.3/seeds105"
    training = json.loads(tuning.runs[name].parts["training"])
    plain = plan_of(tmp_path, with_agents(**{"training.clip": [0.1]}))
    there = json.loads(plain.runs["ant/actor_critic/sgd/seeds0"].parts["training"])
    assert training == {**there, "clip": 0.3, "checkpoints": []}


@pytest.mark.parametrize("setting", ["training.stop_accuracy", "training.checkpoint_epochs"])
def test_agents_are_not_searched_by_settings_of_images(tmp_path: Path, setting: str) -> None:
    raw = with_agents(**{setting: [0.5, 0.6]})
    with pytest.raises(UserError, match=re.escape(f"tune.grids.agents/sgd.{setting}: unknown")):
        tuning_of(tmp_path, raw)


def test_images_are_not_searched_by_settings_of_agents(tmp_path: Path) -> None:
    raw = with_agents(**{"training.clip": [0.1]})
    raw["tune"]["grids"] = {"narrow/sgd": {"training.clip": [0.1]}}
    with pytest.raises(UserError, match=re.escape("tune.grids.narrow/sgd.training.clip: unknown")):
        tuning_of(tmp_path, raw)


def test_presets_merge_and_null_removes(tmp_path: Path) -> None:
    raw = searching()
    raw["tune"]["grids"]["sgd"] = {"training.learning_rate": [0.1]}
    raw["presets"]["small"] = {"tune": {"seeds": [50], "grids": {"lwf": None}}}
    tuning = tuning_of(tmp_path, raw, preset="small")
    assert [(s.group, s.strategy) for s in tuning.searches] == [("narrow", "sgd"), ("wide", "sgd")]
    assert tuning.packs == ("50",)
    raw["presets"]["small"] = {"tune": None}
    with pytest.raises(UserError, match=re.escape("presets.small.tune: is missing")):
        tuning_of(tmp_path, raw, preset="small")


def test_only_selects_the_searches_of_the_runs_that_it_matches(tmp_path: Path) -> None:
    raw = searching(grids={n: {"training.learning_rate": [0.1]} for n in ("sgd", "lwf")})
    pipeline = pipeline_of(tmp_path, raw, only="*/mlp/sgd/*")
    assert [(s.group, s.strategy) for s in pipeline.searches("collapse")] == [("narrow", "sgd")]
    assert pipeline.tuned_files("collapse")[0] == "quick/collapse/partial/only/tune/proposal.yaml"
    assert pipeline.tuning_runs("collapse") == [
        f"quick/collapse/tune/runs/split-digits/mlp/sgd~training.learning_rate-0.1/{seeds}/run.json"
        for seeds in ("seeds100-101", "seeds105")
    ]


LONG = {
    "training.learning_rate": [0.1 / n for n in range(1, 14)],
    "alpha": [1.0, 2.0, 3.0, 4.0, 5.0],
}


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"seeds": ["0-2"]}, "tune.seeds: found 0, with which results are reported"),
        ({"seeds": [9, 9]}, "tune.seeds: found [9, 9]"),
        ({"seeds": []}, "tune.seeds"),
        ({"grids": {"lwf": LONG}}, "tune.grids.lwf: found 65 combinations"),
        ({"grids": {"lwf": {"alpha": []}}}, "tune.grids.lwf.alpha: found []"),
        ({"grids": {"lwf": {"alpha": [1, 1]}}}, "tune.grids.lwf.alpha: found [1, 1]"),
        ({"grids": {"lwf": {"alpha": ["1e-3"]}}}, 'tune.grids.lwf.alpha: found "1e-3", which YAML'),
        ({"grids": {"lwf": {"alpha": ["x"]}}}, "tune.grids.lwf.alpha: found 'x'"),
        ({"grids": {"lwf": {"alfa": [1]}}}, "tune.grids.lwf.alfa: unknown key"),
        ({"grids": {"lwf": {"training.epoch": [1]}}}, "tune.grids.lwf.training.epoch: unknown"),
        ({"grids": {"lfw": {"alpha": [1]}}}, 'tune.grids.lfw: found "lfw"'),
        ({"grids": {"slim/lwf": {"alpha": [1]}}}, 'tune.grids.slim/lwf: found "slim"'),
        ({"grids": {"experience_replay": {"buffer": [9]}}}, "tune.grids: found grids of exp"),
        ({"grids": {}}, "tune.grids: found grids of nothing"),
        ({"runs": ["narow"]}, 'tune.runs.0: found "narow"'),
        ({"score": "accuracy"}, "tune.score: found 'accuracy'"),
        ({"benchmarks": {"digits": {}}}, 'tune.benchmarks.digits: found "digits"'),
        (
            {"benchmarks": {"split-digits": {"settings": {"tasks": "two"}}}},
            "tune.benchmarks.split-digits.settings.tasks: found 'two'",
        ),
        ({"benchmarks": {"split-digits": {"dataset": None}}}, "tune.benchmarks.split-digits: give"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, tune: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        tuning_of(tmp_path, searching(**tune))
    assert str(caught.value).startswith(f"{FILE}: {message}")


def test_more_seeds_may_not_reach_those_tuned_on(tmp_path: Path) -> None:
    raw = searching(seeds=[3])
    assert tuning_of(tmp_path, raw, seeds=3).packs == ("3",)
    with pytest.raises(UserError, match="found 3, with which results are reported"):
        tuning_of(tmp_path, raw, seeds=4)


def test_a_strategy_that_continues_another_run_is_refused(tmp_path: Path) -> None:
    raw = searching()
    raw["strategies"]["lwf"]["starts_from"] = {"strategy": "sgd", "task": 1}
    with pytest.raises(UserError, match=r"tune\.grids\.lwf: continues another run"):
        tuning_of(tmp_path, raw)


# ---------------------------------------------------------------- what is proposed

VALUES = [0.001, 0.01, 0.1]
PLACE = ("b", "a")


def search(*, places: tuple[tuple[str, str], ...] = (PLACE,)) -> Search:
    """Return a search over three strengths."""
    points = tuple(
        Point(f"l2~strength-{value}", {"strength": value}, {"settings": {"strength": value}})
        for value in VALUES
    )
    return Search("narrow", "l2", {"strength": VALUES}, points, places)


def scored(values: dict[float, list[float]], place: tuple[str, str] = PLACE) -> pd.DataFrame:
    """Return scores by strength and seed 100, 101, ..."""
    rows = [
        (*place, f"l2~strength-{value}", 100 + position, score)
        for value, scores in values.items()
        for position, score in enumerate(scores)
    ]
    return pd.DataFrame(rows, columns=["benchmark", "architecture", "strategy", "seed", "score"])


def strengths(outcomes: list[proposal.Outcome]) -> list[Any]:
    return [outcome.point.values["strength"] for outcome in outcomes]


def test_the_highest_mean_wins_unless_a_seed_diverged() -> None:
    table = scored({0.001: [0.5, 0.6, 0.7], 0.01: [0.6, 0.7, 0.8], 0.1: [0.99, 0.99, math.nan]})
    outcomes = proposal.ranked(search(), table)
    assert strengths(outcomes) == [0.01, 0.001, 0.1]
    assert [outcome.diverged for outcome in outcomes] == [0, 0, 1]
    expected = stats.ttest_1samp([0.6, 0.7, 0.8], 0).confidence_interval()
    np.testing.assert_allclose(outcomes[0].limits, [0.7, expected.low, expected.high])
    assert outcomes[2].limits.mean == 0.99


def test_equals_keep_the_order_of_the_grid_and_failures_come_last() -> None:
    nothing = [math.nan, math.nan]
    outcomes = proposal.ranked(
        search(), scored({0.001: nothing, 0.01: [0.5, 0.5], 0.1: [0.5, 0.5]})
    )
    assert strengths(outcomes) == [0.01, 0.1, 0.001]


def test_a_choice_for_several_networks_is_judged_by_their_mean() -> None:
    other = ("b", "wide")
    table = pd.concat(
        [
            scored({0.001: [0.9, 0.9], 0.01: [0.6, 0.6], 0.1: [1.0, 1.0]}),
            scored({0.001: [0.1, 0.1], 0.01: [0.6, 0.6], 0.1: [1.0, math.nan]}, other),
            scored({0.001: [1.0, 1.0], 0.01: [0.0, 0.0], 0.1: [0.0, 0.0]}, ("b", "elsewhere")),
        ]
    )
    outcomes = proposal.ranked(search(places=(PLACE, other)), table)
    assert strengths(outcomes) == [0.01, 0.001, 0.1]
    assert [outcome.limits.mean for outcome in outcomes[:2]] == [0.6, 0.5]
    assert outcomes[2].diverged == 1


@pytest.mark.parametrize(
    ("value", "grid", "expected"),
    [
        (0.001, VALUES, ["strength is the lowest"]),
        (0.1, [0.1, 0.001], ["strength is the highest"]),
        (0.01, VALUES, []),
        (0.01, [0.01], []),
        (True, [True, False], []),
        ("all", ["all", "none"], []),
    ],
)
def test_edges(value: Any, grid: list[Any], expected: list[str]) -> None:
    assert proposal.edges(Point("x", {"strength": value}, {}), {"strength": grid}) == expected


def proposed(values: dict[float, list[float]]) -> str:
    one = search()
    results = [(one, proposal.ranked(one, scored(values)))]
    return proposal.text(results, study="collapse", preset="quick", score="performance")


def test_the_proposal_is_yaml_of_a_study_with_the_evidence() -> None:
    noise = {0.001: [0.80, 0.90, 1.0], 0.01: [0.79, 0.89, 1.0], 0.1: [0.1, 0.1, math.nan]}
    shown = proposed(noise)
    choice = {"settings": {"strength": 0.001}}
    assert yaml.safe_load(shown) == {"runs": {"narrow": {"choices": {"l2": choice}}}}
    assert "# strength 0.001: 0.9000 (0.6516 to 1.1484), 3 seeds, 0 diverged; best of 3" in shown
    assert "AT THE EDGE of the grid: strength is the lowest" in shown
    assert "1 of the others have a seed that diverged" in shown
    assert "runner-up: strength 0.01: 0.8933" in shown
    assert "intervals overlap, so the choice is noise; difference by seed 0.0067" in shown


def test_seeds_that_agree_tell_points_apart_whose_intervals_overlap() -> None:
    shown = proposed({0.001: [0.5, 0.6, 0.7], 0.01: [0.51, 0.61, 0.71], 0.1: [0.0, 0.0, 0.0]})
    assert "intervals overlap, but seed by seed it is better by 0.0100 (0.0100 to 0.0100)" in shown


def test_a_clear_best_is_said_to_be_one() -> None:
    shown = proposed({0.001: [0.1, 0.11, 0.12], 0.01: [0.8, 0.81, 0.82], 0.1: [0.2, 0.21, 0.22]})
    assert "intervals do not overlap; difference by seed 0.6000 (0.6000 to 0.6000)" in shown
    assert "EDGE" not in shown
    alone = proposed({0.001: [0.1], 0.01: [0.8], 0.1: [0.2]})
    assert "one seed has no interval" in alone


def test_nothing_is_proposed_where_everything_diverged() -> None:
    shown = proposed({value: [math.nan, math.nan] for value in VALUES})
    assert "# l2: every seed of every point diverged" in shown
    assert yaml.safe_load(shown) == {"runs": {"narrow": {"choices": {}}}}


def test_small_numbers_survive_the_proposal(tmp_path: Path) -> None:
    raw = searching(grids={"lwf": {"alpha": [0.00001, 0.000001]}})
    point = tuning_of(tmp_path, raw).searches[0].points[1]
    one = Search("narrow", "lwf", {"alpha": [0.000001]}, (point,), ())
    outcome = proposal.Outcome(point, {7: 0.5}, proposal.interval([0.5]))
    shown = proposal.text([(one, [outcome])], study="collapse", preset="quick", score="performance")
    merged = merge(raw, yaml.safe_load(shown))
    run = plan_of(tmp_path, merged).runs["split-digits/mlp/lwf/seeds0"]
    assert json.loads(run.parts["strategy"])["parts"][0]["settings"]["alpha"] == 0.000001


def test_the_table_of_scores_has_a_row_for_every_point() -> None:
    one = search()
    values = {0.001: [0.5, 0.7], 0.01: [0.6, math.nan], 0.1: [0.1, 0.2]}
    table = proposal.table([(one, proposal.ranked(one, scored(values)))])
    assert table["values"].tolist() == ["strength 0.001", "strength 0.1", "strength 0.01"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["n_seeds"].tolist() == [2, 2, 1]
    assert table["n_diverged"].tolist() == [0, 0, 1]
    assert table["seed_100"].tolist() == [0.5, 0.1, 0.6]
    assert math.isnan(table["seed_101"].iloc[2])


# ---------------------------------------------------------------- the command, on made-up runs


def made_up(root: Path, raw: dict[str, Any], accuracy: dict[str, float]) -> Path:
    """Write runs of the study's grids; their accuracies by point, NaN for one that diverges."""
    pipeline = pipeline_of(root, raw)
    runs = pipeline.tuning("collapse").runs
    for path, run in runs.items():
        folder = pipeline.results / "quick/collapse/tune/runs" / path
        folder.mkdir(parents=True)
        value = accuracy[run.strategy]
        last = 1 if math.isnan(value) else 2
        rows = [
            (seed, after, task, "task_masked", (0.5 if after < task else value) + seed / 10_000)
            for seed in run.seeds
            for after in range(last + 1)
            for task in (1, 2)
        ]
        columns = ["seed", "after_task", "task", "metric", "value"]
        pd.DataFrame(rows, columns=columns).to_parquet(folder / "accuracy.parquet")
        ended = (
            {"status": "finished"} if last == 2 else {"status": "diverged", "task": 2, "step": 3}
        )
        record = {
            "spec": {
                part: {"name": getattr(run, part)}
                for part in ("benchmark", "architecture", "strategy")
            },
            "datasets": [{"name": "digits", "stand_in": True, "train_images": 9}],
            "tasks": [{"outputs": [[0]]}, {"outputs": [[1]]}],
            "device": "cpu",
            "wall_seconds": 1.0,
            "fingerprint": "f",
            "commit": None,
            "seeds": {str(seed): ended for seed in run.seeds},
        }
        (folder / "run.json").write_text(json.dumps(record))
    return pipeline.results


@pytest.mark.parametrize("score", ["performance", "average_accuracy"])
def test_the_command_writes_the_proposal_and_all_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], score: str
) -> None:
    grids = {"lwf": {"alpha": [1.0, 2.0, 4.0]}}
    raw = searching(grids=grids, score=score)
    raw["benchmarks"]["split-digits"]["settings"]["tasks"] = 2
    values = {"lwf~alpha-1.0": 0.6, "lwf~alpha-2.0": 0.8, "lwf~alpha-4.0": math.nan}
    results = made_up(tmp_path, raw, values)
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    given = ["collapse", "--root", str(tmp_path), "--preset", "quick", "--results", str(results)]
    tune.run(parser.parse_args(given))
    written = results / "quick/collapse/tune"
    text = (written / "proposal.yaml").read_text()
    assert text in capsys.readouterr().out
    choices = {"lwf": {"settings": {"alpha": 2.0}}}
    assert yaml.safe_load(text) == {"runs": {"narrow": {"choices": choices}}}
    assert "3 seeds, 0 diverged; best of 3" in text
    table = pd.read_csv(written / "scores.csv")
    assert table["values"].tolist() == ["alpha 2.0", "alpha 1.0", "alpha 4.0"]
    assert table["n_diverged"].tolist() == [0, 0, 3]
    np.testing.assert_allclose(table["seed_105"][:2], [0.8105, 0.6105])
    next(results.glob("quick/collapse/tune/runs/*/*/*/*/run.json")).unlink()
    with pytest.raises(UserError, match="1 of 6 runs of the grids are not finished"):
        tune.run(parser.parse_args(given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["colapse", "--preset", "quick"], 'studies: found "colapse", which is not a study; '),
        (["collapse", "--preset", "quik"], 'preset: found "quik", which is not a preset; '),
    ],
)
def test_a_name_that_the_command_does_not_know_is_a_message(
    tmp_path: Path, given: list[str], message: str
) -> None:
    pipeline_of(tmp_path, searching())
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    with pytest.raises(UserError) as caught:
        tune.run(parser.parse_args([*given, "--root", str(tmp_path)]))
    assert str(caught.value).startswith(f"command line: --config {message}")
