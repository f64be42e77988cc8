"""Claims name figures that their study draws, and the report can tell its figures apart."""

import functools

import pytest

from forgetting import claims, configuration, study
from forgetting.configuration import Config
from forgetting.plan import StudyPlan, build
from studies import REPOSITORY
from test_study import present

STUDIES = configuration.studies(REPOSITORY)


@functools.cache
def plan(name: str) -> StudyPlan:
    """Return the plan of a study's largest preset, which leaves no figure out."""
    read, document = study.read(study.load(REPOSITORY, name), "paper")
    return build(read, document, Config(preset="paper"), present)


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_that_a_claim_names_is_drawn(name: str) -> None:
    expanded = claims.expand(plan(name).study.claims)
    named = {figure for claim in expanded.values() for figure in claim.figures}
    assert named
    assert named <= set(plan(name).figures)


@pytest.mark.parametrize("name", STUDIES)
def test_no_two_figures_have_the_same_labels(name: str) -> None:
    labels = [tuple(figure.labels.items()) for figure in plan(name).figures.values()]
    assert len(labels) == len(set(labels)) > 1


def test_labels_name_a_benchmark_in_words() -> None:
    figures = plan("spectral").figures
    name = "performance-permuted"
    assert figures[name].labels == {"figure": "performance permuted", "benchmark": "Permuted MNIST"}
    assert figures["spectra~permuted-mnist"].labels["benchmark"] == "Permuted MNIST"
