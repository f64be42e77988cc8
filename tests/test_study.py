"""Studies are merged with a preset, checked, and turned into runs."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from forgetting import configuration, seeds, study
from forgetting.documents import merge
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from forgetting.plan import StudyPlan
from forgetting.sources import Reference, Source
from studies import REPOSITORY, pipeline_of, plan_of, tiny

STUDIES = configuration.studies(REPOSITORY)


def present(reference: Reference) -> Source:
    """Take the first name as present, whatever it is."""
    names = [reference.any_of] if isinstance(reference.any_of, str) else reference.any_of
    counts = (reference.images_per_class, reference.test_images_per_class)
    return Source(names[0], "digits", {}, *counts, "0" * 64, 1, False)


@pytest.mark.parametrize(
    ("name", "preset"), [(n, p) for n in STUDIES for p in study.load(REPOSITORY, n).raw["presets"]]
)
def test_every_preset_of_every_study_is_valid(name: str, preset: str) -> None:
    from forgetting.plan import build

    read, document = study.read(study.load(REPOSITORY, name), preset)
    plan = build(read, document, configuration.Config(preset=preset), present)
    assert plan.runs
    assert {"accuracy", "runs", "scores"} <= set(plan.tables)
    captions = REPOSITORY / "workflow" / "report"
    assert [f.caption for f in plan.figures.values() if not (captions / f.caption).exists()] == []


def test_every_study_has_the_three_presets() -> None:
    for name in STUDIES:
        assert {"quick", "small", "paper"} <= set(study.load(REPOSITORY, name).raw["presets"])


def test_parsing_is_fast_and_loads_no_torch() -> None:
    code = (
        "import sys, time, importlib.abc\n"
        "class Blocked(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'pandas', 'matplotlib'):\n"
        "            raise ImportError(name + ' is imported when the workflow is parsed')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "start = time.process_time()\n"
        "from pathlib import Path\n"
        "from forgetting.pipeline import Pipeline\n"
        "p = Pipeline.load(Path.cwd())\n"
        "for s in p.studies:\n"
        "    for run in p.plan(s).runs.values(): p.code('train', run.components)\n"
        "    p.everything(s)\n"
        "print(time.process_time() - start)\n"
    )
    yardstick = (
        "import time\n"
        "start = time.process_time()\n"
        "import snakemake.api, snakemake.cli\n"
        "print(time.process_time() - start)\n"
    )

    def spent(code: str) -> float:
        shown = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env={"PYTHONPATH": "workflow"},
        )
        return float(shown.stdout)

    # About a second where Snakemake itself is imported in one: less than that, on any machine. The
    # least of up to eight each, because other processes slow these down.
    ours, snakemakes = [spent(code)], [spent(yardstick)]
    while len(ours) < 8 and min(ours) >= min(snakemakes):
        ours.append(spent(code))
        snakemakes.append(spent(yardstick))
    assert min(ours) < min(snakemakes)


def test_merging() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merge(base, {"a": {"c": [9]}}) == {"a": {"b": 1, "c": [9]}, "d": 3}
    assert merge(base, {"a": {"b": None}, "d": {"e": 1}}) == {"a": {"c": [1, 2]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_a_run_carries_complete_canonical_settings(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tiny())
    run = plan.runs["split-digits/mlp/lwf/seeds0"]
    strategy = json.loads(run.parts["strategy"])
    assert strategy == {
        "name": "lwf",
        "parts": [
            {"component": "lwf", "settings": {"alpha": 2.0, "temperature": 2.0, "t_squared": False}}
        ],
    }
    training = json.loads(run.parts["training"])
    assert training["batch_size"] == 32
    assert training["optimizer"] == "sgd"
    for text in run.parts.values():
        assert text == json.dumps(json.loads(text), sort_keys=True)
    wide = plan.runs["split-digits/wide/sgd/seeds0"]
    assert json.loads(wide.parts["training"])["batch_size"] == 16
    assert wide.components == (
        ("benchmarks", "split"),
        ("architectures", "mlp"),
        ("strategies", "sgd"),
    )
    assert run.data == ("digits",)
    assert run.evidence == "stand-in"


def training_of(plan: StudyPlan, path: str) -> dict[str, Any]:
    return json.loads(plan.runs[path].parts["training"])


def test_training_of_an_architecture_of_a_group_and_of_a_strategy_in_it(tmp_path: Path) -> None:
    study = tiny()
    study["architectures"]["wide"]["training"] = {"batch_size": 8, "learning_rate": 0.2}
    study["runs"]["wide"]["strategies"] = ["sgd", "lwf"]
    study["runs"]["wide"]["choices"] = {
        "lwf": {"training": {"batch_size": 4}, "settings": {"temperature": 3.0}}
    }
    plan = plan_of(tmp_path, study)
    narrow = training_of(plan, "split-digits/mlp/lwf/seeds0")
    wide = training_of(plan, "split-digits/wide/sgd/seeds0")
    chosen = training_of(plan, "split-digits/wide/lwf/seeds0")
    assert [narrow["batch_size"], wide["batch_size"], chosen["batch_size"]] == [32, 16, 4]
    rates = [narrow["learning_rate"], wide["learning_rate"], chosen["learning_rate"]]
    assert rates == [0.1, 0.2, 0.2]
    strategies = [
        json.loads(plan.runs[f"split-digits/{name}/lwf/seeds0"].parts["strategy"])["parts"][0]
        for name in ("mlp", "wide")
    ]
    assert [part["settings"]["temperature"] for part in strategies] == [2.0, 3.0]
    assert [part["settings"]["alpha"] for part in strategies] == [2.0, 2.0]


def test_choices_for_a_composition_are_given_by_component(tmp_path: Path) -> None:
    study = tiny()
    study["strategies"]["both"] = {
        "parts": [{"component": "lwf"}, {"component": "l2", "settings": {"strength": 0.1}}]
    }
    study["runs"]["narrow"]["strategies"] = ["both"]
    study["runs"]["narrow"]["choices"] = {"both": {"settings": {"l2": {"strength": 0.5}}}}
    run = plan_of(tmp_path, study).runs["split-digits/mlp/both/seeds0"]
    lwf, l2 = json.loads(run.parts["strategy"])["parts"]
    assert l2["settings"] == {"strength": 0.5}
    assert lwf["settings"]["alpha"] == 1.0


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"ewc": {}}, 'runs.narrow.choices.ewc: found "ewc"'),
        ({"sgd": {"training": {"epoch": 1}}}, "runs.narrow.choices.sgd.training.epoch"),
        ({"lwf": {"settings": {"alfa": 1}}}, "runs.narrow.choices.lwf.settings.alfa"),
    ],
)
def test_a_wrong_choice_is_named_with_its_place(
    tmp_path: Path, choices: dict[str, Any], message: str
) -> None:
    study = tiny()
    study["runs"]["narrow"]["choices"] = choices
    with pytest.raises(UserError, match=re.escape(message)):
        plan_of(tmp_path, study)


def test_rungs_of_a_measure_share_a_table(tmp_path: Path) -> None:
    study = tiny()
    study["measures"] = {
        "erank~few": {"runs": ["narrow"], "settings": {"probe": {"images": 10}}},
        "erank~many": {"runs": ["wide"], "settings": {"probe": {"images": 50}}},
    }
    plan = plan_of(tmp_path, study)
    assert plan.measured("erank") == [
        ("erank~few", "split-digits/mlp/sgd/seeds0"),
        ("erank~few", "split-digits/mlp/lwf/seeds0"),
        ("erank~many", "split-digits/wide/sgd/seeds0"),
    ]
    assert "erank" in plan.tables
    assert {measure.component for measure in plan.measures.values()} == {"erank"}


def test_a_preset_overrides_only_what_it_names(tmp_path: Path) -> None:
    quick, small = (
        plan_of(tmp_path, tiny(), preset=preset).runs["split-digits/mlp/sgd/seeds0"]
        for preset in ("quick", "small")
    )
    assert json.loads(small.parts["training"])["epochs"] == 3
    assert quick.parts["strategy"] == small.parts["strategy"]


@pytest.mark.parametrize(
    ("listed", "upto", "expected"),
    [
        ([0, 1, 2], None, ["0", "1", "2"]),
        (["0-4", 5], None, ["0-4", "5"]),
        (["0-4", 5], 5, ["0-4"]),
        (["0-4", 5], 6, ["0-4", "5"]),
        (["0-4", 5], 8, ["0-4", "5", "6", "7"]),
        (["0-4", 5], 3, ["0", "1", "2"]),
        ([0, 1, 2], 2, ["0", "1"]),
        ([0, 1, 2], 4, ["0", "1", "2", "3"]),
        ([7], 3, ["7", "0", "1"]),
        (["0-2"], 1, ["0"]),
    ],
)
def test_packs(listed: list[int | str], upto: int | None, expected: list[str]) -> None:
    found = seeds.packs(listed, upto=upto)
    assert list(found) == expected
    if upto is not None:
        assert sum(map(len, found.values())) == upto


@pytest.mark.parametrize("listed", [["0-0"], ["3-1"], ["a"], [True], [-1], [0, "0-2"], [1, 1]])
def test_packs_that_make_no_sense(listed: list[int | str]) -> None:
    with pytest.raises(UserError, match="found"):
        seeds.packs(listed)


def test_growing_the_seeds_renames_no_run(tmp_path: Path) -> None:
    raw = tiny()
    raw["seeds"] = ["0-2"]
    three = set(plan_of(tmp_path, raw).runs)
    assert three < set(plan_of(tmp_path, raw, seeds=5).runs)


def test_a_ladder_makes_an_entry_of_each_value(tmp_path: Path) -> None:
    raw = tiny()
    raw["strategies"]["lwf"] = {"settings": {"temperature": 1}, "ladder": {"alpha": [0.5, 1, 10]}}
    runs = plan_of(tmp_path, raw).runs
    names = [run.strategy for run in runs.values() if run.architecture == "mlp"]
    assert names == ["sgd", "lwf~0.5", "lwf~1", "lwf~10"]
    settings = json.loads(runs["split-digits/mlp/lwf~10/seeds0"].parts["strategy"])["parts"][0]
    assert settings["settings"] == {"alpha": 10.0, "temperature": 1.0, "t_squared": False}
    raw["runs"]["narrow"]["strategies"] = ["lwf~0.5"]
    assert "split-digits/mlp/lwf~0.5/seeds0" in plan_of(tmp_path, raw).runs


def test_a_composition_has_parts_and_their_components(tmp_path: Path) -> None:
    raw = tiny()
    raw["strategies"]["both"] = {
        "parts": [{"component": "lwf"}, {"component": "experience_replay"}],
        "ladder": {"lwf.alpha": [3]},
    }
    raw["runs"]["narrow"]["strategies"] = ["both"]
    run = plan_of(tmp_path, raw).runs["split-digits/mlp/both~3/seeds0"]
    parts = json.loads(run.parts["strategy"])["parts"]
    assert [part["component"] for part in parts] == ["lwf", "experience_replay"]
    assert parts[0]["settings"]["alpha"] == 3
    assert run.components[2:] == (("strategies", "lwf"), ("strategies", "experience_replay"))


def test_a_run_may_continue_another(tmp_path: Path) -> None:
    raw = tiny()
    raw["strategies"]["later"] = {
        "component": "lwf",
        "starts_from": {"strategy": "sgd", "task": 1},
    }
    raw["runs"]["narrow"]["strategies"] = ["sgd", "later"]
    run = plan_of(tmp_path, raw).runs["split-digits/mlp/later/seeds0"]
    assert run.start == "split-digits/mlp/sgd/seeds0"
    assert json.loads(run.parts["strategy"])["starts_from"] == {"strategy": "sgd", "task": 1}
    raw["runs"]["narrow"]["strategies"] = ["later"]
    with pytest.raises(UserError, match=r"strategies\.later\.starts_from.*in no group"):
        plan_of(tmp_path, raw)


def test_a_ladder_of_moments_to_start_from(tmp_path: Path) -> None:
    raw = tiny()
    raw["strategies"]["later"] = {
        "component": "lwf",
        "starts_from": {"strategy": "sgd", "task": 1},
        "ladder": {"starts_from.epoch": [0.5, 2]},
    }
    raw["runs"]["narrow"]["strategies"] = ["sgd", "later"]
    raw["training"]["checkpoint_epochs"] = [0.5, 1, 2]
    runs = plan_of(tmp_path, raw).runs
    for epoch in (0.5, 2):
        run = runs[f"split-digits/mlp/later~{epoch:g}/seeds0"]
        start = {"strategy": "sgd", "task": 1, "epoch": epoch}
        assert json.loads(run.parts["strategy"])["starts_from"] == start
        assert run.start == "split-digits/mlp/sgd/seeds0"
    raw["training"]["checkpoint_epochs"] = [0.5]
    wrong = r"later~2/seeds0 starts from epoch 2 of .* keeps 0\.5; add"
    with pytest.raises(UserError, match=wrong):
        plan_of(tmp_path, raw)


def test_a_task_ends_at_an_accuracy_only_in_packs_of_one_seed(tmp_path: Path) -> None:
    raw = tiny()
    raw["training"]["stop_accuracy"] = 0.9
    plan_of(tmp_path, raw)
    raw["seeds"] = ["0-2"]
    with pytest.raises(UserError, match=r"packs of one seed, .* write seeds: \[0, 1, 2\]"):
        plan_of(tmp_path, raw)


def test_the_best_epoch_is_restored_only_where_images_are_set_aside(tmp_path: Path) -> None:
    raw = tiny()
    raw["training"]["restore_best"] = True
    with pytest.raises(UserError, match=r"restore_best needs images set aside .* split-digits"):
        plan_of(tmp_path, raw)
    (name,) = {*raw["runs"]["narrow"]["benchmarks"]}
    raw["benchmarks"][name] |= {"component": "incremental", "settings": {"tasks": 2}}
    with pytest.raises(UserError, match=r"set validation among the settings of benchmark"):
        plan_of(tmp_path, raw)
    raw["benchmarks"][name]["settings"]["validation"] = 5
    plan_of(tmp_path, raw)


@pytest.mark.parametrize(
    "component",
    [
        "continual_backprop",
        "continual_backprop_path",
        "experience_replay",
        "joint",
        "replace_most_useful",
        "si",
    ],
)
def test_a_strategy_that_must_see_all_tasks_continues_nothing(
    tmp_path: Path, component: str
) -> None:
    raw = tiny()
    start = {"strategy": "sgd", "task": 1}
    raw["strategies"]["later"] = {"component": component, "starts_from": start}
    raw["runs"]["narrow"]["strategies"] = ["sgd", "later"]
    with pytest.raises(UserError, match=rf"strategies\.later\.starts_from.*{component} must"):
        plan_of(tmp_path, raw)


def test_a_strategy_that_takes_stock_of_every_task_continues_after_the_first_alone(
    tmp_path: Path,
) -> None:
    """EWC after task 2 would want the Fisher information at the weights that task 1 ended with."""
    raw = tiny()
    raw["runs"]["narrow"]["strategies"] = ["sgd", "later"]

    def start(component: str, task: int) -> str | None:
        entry = {"component": component, "starts_from": {"strategy": "sgd", "task": task}}
        raw["strategies"]["later"] = entry
        return plan_of(tmp_path, raw).runs["split-digits/mlp/later/seeds0"].start

    assert start("ewc", 1) == start("lwf", 2) == "split-digits/mlp/sgd/seeds0"
    with pytest.raises(UserError, match=r"starts_from.*ewc must see every task.* after task 2"):
        start("ewc", 2)
    del raw["strategies"]["later"]["starts_from"]
    of = raw["benchmarks"]["split-digits"]
    raw["runs"]["narrow"]["benchmarks"] = ["split-digits", "again"]
    for task, continued in ((1, "split-digits/mlp/later/seeds0"), (2, None)):
        raw["benchmarks"]["again"] = {
            **of,
            "continues": {"benchmark": "split-digits", "task": task},
        }
        assert plan_of(tmp_path, raw).runs["again/mlp/later/seeds0"].start == continued


def test_a_benchmark_may_continue_another(tmp_path: Path) -> None:
    raw = tiny()
    raw["benchmarks"]["again"] = {
        **raw["benchmarks"]["split-digits"],
        "continues": {"benchmark": "split-digits", "task": 1},
    }
    raw["strategies"] |= {"joint": {}, "late": {"component": "sgd"}}
    raw["strategies"]["late"]["starts_from"] = {"strategy": "sgd", "task": 2}
    narrow = raw["runs"]["narrow"]
    narrow |= {"benchmarks": ["split-digits", "again"]}
    narrow["strategies"] = ["sgd", "lwf", "experience_replay", "joint", "late"]
    runs = plan_of(tmp_path, raw).runs
    starts = {run.strategy: run.start for run in runs.values() if run.benchmark == "again"}
    assert starts == {
        "sgd": "split-digits/mlp/sgd/seeds0",
        "lwf": "split-digits/mlp/lwf/seeds0",
        "experience_replay": None,  # gathers its buffer while it trains
        "joint": None,  # orders the tasks in its own way
        "late": "again/mlp/sgd/seeds0",  # its own wish comes first
    }
    narrow["benchmarks"] = ["again"]
    with pytest.raises(UserError, match=r"benchmarks\.again\.continues.*in no group"):
        plan_of(tmp_path, raw)


def test_a_measure_may_compare_runs(tmp_path: Path) -> None:
    raw = tiny()
    raw["measures"]["erank"] |= {"against": {"plain": "sgd"}}
    plan = plan_of(tmp_path, raw)
    run = plan.runs["split-digits/mlp/lwf/seeds0"]
    assert plan.measures["erank"].compared(run) == {"plain": "split-digits/mlp/sgd/seeds0"}
    raw["measures"]["erank"]["against"] = {"plain": "joint"}
    with pytest.raises(UserError, match=r"measures\.erank\.against\.plain.*in no group"):
        plan_of(tmp_path, raw)


@pytest.mark.parametrize(
    ("asked", "device", "here"),
    [
        ({"runtime": 10}, "auto", True),
        ({"runtime": 10}, "cuda", False),
        ({"runtime": 10, "gpu": 1}, "auto", False),
        ({"runtime": 11}, "auto", False),
    ],
)
def test_short_measures_without_a_gpu_are_no_jobs_of_a_cluster(
    asked: dict[str, int], device: str, here: bool, tmp_path: Path
) -> None:
    study = tiny()
    study["resources"] = {"measure": asked}
    pipeline = pipeline_of(tmp_path, study, device=device)
    assert (pipeline.measured(here=True) == ["collapse"]) is here
    assert (pipeline.measured(here=False) == ["collapse"]) is not here


def test_evidence_follows_the_data(tmp_path: Path) -> None:
    from forgetting.plan import build

    raw = tiny()
    benchmark = raw["benchmarks"]["split-digits"]
    benchmark |= {"dataset": ["mnist", "digits"], "paper_datasets": ["mnist"]}
    pipeline_of(tmp_path, raw)
    read, document = study.read(study.load(tmp_path, "collapse"), "quick")
    for name, expected in (("mnist", "reduced"), ("digits", "other data")):
        source = Source(name, "digits", {}, None, None, "0" * 64, 1, False)
        plan = build(read, document, configuration.Config(), lambda _, s=source: s)
        assert {run.evidence for run in plan.runs.values()} == {expected}


def test_only_selects_runs_and_aggregates_them_apart(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, tiny(), only="*/mlp/*")
    plan = pipeline.plan("collapse")
    assert [path.split("/")[1] for path in plan.selected] == ["mlp", "mlp"]
    assert len(plan.runs) == 3
    files = pipeline.everything("collapse") + pipeline.scorecard()
    assert all("/partial/only/" in path for path in files)
    made_from = pipeline.table_sources("collapse", "runs", pipeline.scope)["runs"]
    assert made_from == [f"quick/collapse/runs/{path}/run.json" for path in plan.selected]
    whole = pipeline.table_sources("collapse", "runs", "")["runs"]
    assert len(whole) == 3


def test_only_leaves_out_figures_without_runs(tmp_path: Path) -> None:
    raw = tiny()
    raw["figures"]["wide"] = {
        "component": "erank_by_layer",
        "settings": {"benchmark": "split-digits", "architecture": "wide"},
        "tables": ["erank"],
    }
    assert "wide" in plan_of(tmp_path, raw).figures
    assert "wide" not in plan_of(tmp_path, raw, only="*/mlp/*").figures


def test_relabelling_changes_no_run(tmp_path: Path) -> None:
    raw = tiny()
    before = plan_of(tmp_path, raw).runs["split-digits/mlp/sgd/seeds0"].parts
    raw["evidence"] = "protocol"
    raw["title"] = "Another"
    raw["benchmarks"]["split-digits"] |= {"metric": "class_incremental", "paper_datasets": ["x"]}
    raw["resources"] = {"train": {"mem_mb": 1}}
    assert plan_of(tmp_path, raw).runs["split-digits/mlp/sgd/seeds0"].parts == before


def test_missing_data_stand_in_the_way_of_their_study_only(tmp_path: Path) -> None:
    raw = tiny()
    raw["benchmarks"]["split-digits"]["dataset"] = "no-such-data"
    pipeline = pipeline_of(tmp_path, raw)
    with pytest.raises(UserError, match=r"benchmarks\.split-digits\.dataset: .*no-such-data"):
        pipeline.plan("collapse")


def test_a_thousand_runs_are_planned_quickly(tmp_path: Path) -> None:
    raw = tiny()
    raw["seeds"] = list(range(400))
    write_started = time.process_time()
    assert len(plan_of(tmp_path, raw).runs) == 1200
    assert time.process_time() - write_started < 2.0


def test_schemas_are_what_the_models_say() -> None:
    import jsonschema

    from forgetting.commands.schemas import schemas

    for name, schema in schemas().items():
        path = REPOSITORY / "workflow" / "schemas" / name
        assert json.loads(path.read_text()) == schema, "run `make schemas`"
        jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schemas()["study.schema.json"])
    for study_name in STUDIES:
        path = REPOSITORY / "workflow" / "studies" / f"{study_name}.yaml"
        validator.validate(yaml.safe_load(path.read_text()))
    assert not validator.is_valid({**tiny(), "benchmark": {}})
    config = jsonschema.Draft202012Validator(schemas()["config.schema.json"])
    config.validate(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))


def test_command_line_and_file_are_told_apart(tmp_path: Path) -> None:
    pipeline_of(tmp_path, tiny())
    with pytest.raises(UserError, match=r"^command line: --config devise: unknown key.*device"):
        Pipeline.load(tmp_path, {"preset": "quick", "devise": "cpu"})
    with pytest.raises(UserError, match=r'^command line: --config preset: found "smal"'):
        Pipeline.load(tmp_path, {"preset": "smal"})
    (tmp_path / "config.yaml").write_text("preset: smal\n")
    with pytest.raises(UserError, match=r'^config.yaml: preset: found "smal"'):
        Pipeline.load(tmp_path)
