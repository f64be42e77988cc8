"""Which runs are compared across studies, and that no study waits for it."""

from pathlib import Path
from typing import Any

import pytest

from forgetting import configuration, study
from forgetting.comparison import Comparison
from forgetting.configuration import Config
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from forgetting.plan import build
from studies import REPOSITORY, pipeline_of, plan_of, tiny, write
from test_study import present

STUDIES = configuration.studies(REPOSITORY)
PLACE = "split-digits"


def compared() -> dict[str, Any]:
    """The tiny study, whose narrow runs have instruments in every preset but ``quick``."""
    found = tiny()
    found["measures"]["instruments"] = {"target": "across", "runs": ["narrow"]}
    found["presets"]["quick"] = {"measures": {"instruments": None}}
    return found


def with_spectra() -> dict[str, Any]:
    found = compared()
    found["measures"] |= {
        "hessian~narrow": {"component": "hessian", "runs": ["narrow"]},
        "hessian~wide": {"component": "hessian", "runs": ["wide"]},
    }
    return found


def called(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The same study under another name, without figures: it has no file of them."""
    return found | {"study": name, "figures": {}}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("preset", ["quick", "small", "paper"])
def test_every_study_is_compared_but_not_in_quick(name: str, preset: str) -> None:
    read, document = study.read(study.load(REPOSITORY, name), preset)
    plan = build(read, document, Config(preset=preset), present)
    assert [about.component for about in plan.across.values()] == (
        [] if preset == "quick" else ["instruments"]
    )
    assert "instruments" not in plan.tables
    # All look at as many images: that is the one footing.
    assert {about.settings for about in plan.across.values()} <= {'{"images": 1000}'}


def test_no_target_of_a_study_takes_instruments(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, compared(), preset="small")
    files = pipeline.behind("collapse", "tables", "figures", "judgement")
    files += pipeline.everything("collapse")
    assert any("measures/erank" in file for file in files)
    assert not any("instruments" in file for file in files)
    with pytest.raises(UserError, match='has no "instruments" among its tables'):
        pipeline.table_sources("collapse", "instruments", "")


def test_across_takes_the_instruments_and_only_these_runs(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, compared(), preset="small")
    runs = [f"{PLACE}/mlp/{name}/seeds0" for name in ("sgd", "lwf")]
    assert Comparison(pipeline).sources("") == {
        "runs": [f"small/collapse/runs/{run}/run.json" for run in runs],
        "instruments": [f"small/collapse/measures/instruments/{run}.parquet" for run in runs],
        "spectra": [],
    }
    tables = ["instruments", "runs", "prediction"]
    figures = ["instruments_over_tasks", "held_out_prediction"]
    behind = [path for paths in Comparison(pipeline).sources("").values() for path in paths]
    assert Comparison(pipeline).files() == [
        *behind,
        *(f"small/across/tables/{name}.csv" for name in tables),
        *(f"small/across/figures/{name}.pdf" for name in figures),
        "small/across/across.md",
    ]


def test_spectra_are_taken_where_the_study_takes_them(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, with_spectra(), preset="small")
    assert Comparison(pipeline).sources("")["spectra"] == [
        f"small/collapse/measures/hessian~narrow/{PLACE}/mlp/{name}/seeds0.parquet"
        for name in ("sgd", "lwf")
    ]


def test_only_and_studies_choose_what_is_compared(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, with_spectra(), preset="small", only="*/lwf/*")
    found = Comparison(pipeline).sources(pipeline.scope)
    assert {kind: len(files) for kind, files in found.items()} == dict.fromkeys(found, 1)
    assert all(f"{PLACE}/mlp/lwf/seeds0" in file for files in found.values() for file in files)
    assert "small/across/partial/only/tables/instruments.csv" in Comparison(pipeline).files()
    assert (
        len(Comparison(pipeline).sources("")["runs"]) == 2
    )  # what is not in the scope is not made apart
    other = called("other", compared())
    write(tmp_path, other)
    both = pipeline_of(tmp_path, compared(), preset="small")
    assert len(Comparison(both).sources("")["runs"]) == 4
    one = pipeline_of(tmp_path, compared(), preset="small", studies=["other"])
    assert {file.split("/")[1] for file in Comparison(one).sources("")["runs"]} == {"other"}
    assert '"other"' in Comparison(one).about()
    assert '"collapse"' not in Comparison(one).about()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "type\nsnakemake --cores 2 across --config preset=small data_dir=/path/to/data"),
        ({"preset": "small", "only": "*/wide/*"}, "only=*/wide/* leaves no run"),
        ({"preset": "small", "studies": ["other"]}, "across; there are collapse"),
    ],
)
def test_where_there_is_nothing_to_compare_it_is_said_what_to_type(
    config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path, called("other", tiny()))
    pipeline = pipeline_of(tmp_path, compared(), **config)
    with pytest.raises(UserError, match=r"^across: ") as error:
        Comparison(pipeline).files()
    assert said in str(error.value)


def test_a_measure_is_taken_for_one_of_two_targets(tmp_path: Path) -> None:
    wrong = compared()
    wrong["measures"]["instruments"]["target"] = "all"
    with pytest.raises(UserError, match=r"measures\.instruments\.target.*'all'.*'across'"):
        plan_of(tmp_path, wrong, preset="small")


def test_agents_have_no_instruments() -> None:
    """They act in environments, without labelled images or classes."""
    spectral = study.load(REPOSITORY, "spectral")
    for preset in ("small", "paper"):
        read, document = study.read(spectral, preset)
        plan = build(read, document, Config(preset=preset), present)
        (about,) = plan.across.values()
        others = {run.benchmark for path, run in plan.runs.items() if path not in about.needs}
        assert others <= {"slippery-ant", "ant", "dohare-slippery-ant"}
        assert others


def test_a_study_may_not_be_called_across(tmp_path: Path) -> None:
    pipeline: Pipeline = pipeline_of(tmp_path, called("across", compared()), preset="small")
    with pytest.raises(UserError, match='"across", which is a target already'):
        pipeline.named_apart(["across"])
