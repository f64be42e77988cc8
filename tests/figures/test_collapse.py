import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from forgetting import plots, statistics, tables
from forgetting.commands import draw
from forgetting.errors import UserError
from forgetting.figures import collapse
from forgetting.tables import of_measures, of_runs, ranks
from forgetting.tables.scores import scores
from looking_at_figures import Picture, Tables, check_layout, one, words
from synthetic_runs import ABOUT, DIVERGED, write_study

FIGURES = {
    "accuracy_over_tasks": collapse.AccuracyOverTasks,
    "average_accuracy": collapse.AverageAccuracy,
    "activation_erank": collapse.ActivationErank,
    "erank_by_layer": collapse.ErankByLayer,
    "peak_normalised_erank": collapse.PeakNormalisedErank,
    "forgetting_against_rank": collapse.ForgettingAgainstRank,
}


def derived(accuracy: pd.DataFrame, runs: pd.DataFrame, erank: pd.DataFrame) -> Tables:
    scored = scores(accuracy)
    rank = ranks.forgetting_rank(scored, erank)
    return {
        "accuracy": accuracy,
        "runs": runs,
        "erank": erank,
        "scores": scored,
        "forgetting_rank": rank,
    }


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    records, measures = write_study(tmp_path_factory.mktemp("study"))
    contents = of_runs.read_records(records)
    return derived(
        of_runs.accuracy(contents), of_runs.runs(contents, ABOUT), of_measures.measure(measures)
    )


ONE_OF_EACH = (
    "architecture == 'mlp'",
    "strategy == 'lwf'",
    "strategy == 'lwf' and architecture == 'mlp' and seed == 0",
)


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def only(given: Tables, request: pytest.FixtureRequest) -> Tables:
    names = ("accuracy", "runs", "erank")
    return derived(*(given[name].query(request.param) for name in names))


def drawn_by(component: str, given: Tables, **settings: str) -> Picture:
    checked = FIGURES[component].model_validate({"benchmark": "split-long", **settings})
    return getattr(collapse, component)(given, checked)


@pytest.fixture(scope="module")
def draws(given: Tables) -> Callable[..., Picture]:
    """Return a function that draws a figure from ``given``, each with its settings only once."""
    return functools.cache(lambda component, **settings: drawn_by(component, given, **settings))


@pytest.mark.parametrize("settings", [{}, {"benchmark": "split-short"}], ids=["long", "short"])
@pytest.mark.parametrize("component", FIGURES)
def test_nothing_is_clipped_or_covered(draws, component, settings):
    figure, _ = draws(component, **settings)
    assert figure.get_size_inches()[0] == plots.DOUBLE
    check_layout(figure)


@pytest.mark.parametrize("component", FIGURES)
def test_layout_holds_for_one_architecture_one_strategy_and_one_seed(only, component):
    figure, rows = drawn_by(component, only)
    check_layout(figure)
    assert len(rows)


@pytest.fixture(scope="module")
def many(given: Tables) -> Tables:
    """Four architectures, one with many layers whose names are long; seven strategies."""
    mlp = {name: given[name].query("architecture == 'mlp'") for name in ("accuracy", "runs")}
    erank = given["erank"].query("architecture == 'mlp'")
    parts: dict[str, list[pd.DataFrame]] = {"accuracy": [], "runs": [], "erank": []}
    for architecture in ("mlp", "convgru", "resnet18", "bi-convgru"):
        for name in ("accuracy", "runs"):
            parts[name].append(mlp[name].assign(architecture=architecture))
        copies = 4 if architecture == "bi-convgru" else 1
        for copy in range(copies):
            layers = erank.assign(architecture=architecture, depth=erank["depth"] + 6 * copy)
            if copies > 1:
                layers["layer"] = f"stage{copy}.backward.update." + layers["layer"]
            parts[name := "erank"].append(layers)
    joined = {name: pd.concat(found) for name, found in parts.items()}
    for name, table in joined.items():
        sgd = table.query("strategy == 'sgd'")
        more = [sgd.assign(strategy=s) for s in ("ewc~1000", "si", "shrink-perturb")]
        joined[name] = pd.concat([table, *more])
    return derived(**joined)


@pytest.mark.slow
@pytest.mark.parametrize("component", FIGURES)
def test_layout_holds_for_many_architectures_layers_and_strategies(many, component):
    figure, _ = drawn_by(component, many)
    check_layout(figure)


@pytest.mark.parametrize("component", FIGURES)
def test_stand_in_data_is_marked_and_real_data_named(given, draws, component):
    figure, _ = draws(component)
    assert "Stand-in data: digits" in words(figure)
    real = {**given, "runs": given["runs"].assign(stand_in=False, evidence="reduced")}
    figure, _ = drawn_by(component, real)
    assert "Stand-in" not in words(figure)
    assert "data: digits" in words(figure)
    assert "reduced" in words(figure)


@pytest.mark.parametrize("component", FIGURES)
def test_diverged_seeds_are_counted_and_seeds_and_interval_named(draws, component):
    figure, _ = draws(component)
    said = words(figure)
    assert "ConvGRU SGD 1 of 3 (task 4)" in said
    if component == "forgetting_against_rank":
        assert "95 % interval over 3 seeds (Fisher z)" in said
    else:
        assert "mean of 3 seeds" in said
        assert "95 % t-interval over seeds" in said


@pytest.mark.parametrize("component", ["average_accuracy", "activation_erank"])
def test_the_line_of_a_strategy_with_a_diverged_seed_says_so(draws, component):
    figure, _ = draws(component)
    labels = [t.get_text() for t in figure.findobj(Annotation)]
    assert labels.count("SGD\n1 of 3 diverged") == 1
    assert labels.count("SGD") == 1


@pytest.mark.parametrize("component", ["average_accuracy", "activation_erank"])
def test_lines_are_the_rows_of_the_csv(draws, component):
    figure, drawn = draws(component)
    for ax, architecture in zip(figure.axes, ["mlp", "conv-gru"], strict=True):
        rows = one(drawn, architecture=architecture)
        expected = [one(rows, strategy=s)["mean"].tolist() for s in plots.in_order(rows.strategy)]
        assert [line.get_ydata().tolist() for line in ax.lines] == expected


def test_average_accuracy_is_the_mean_over_seeds_of_the_scores(given, draws):
    _, drawn = draws("average_accuracy")
    names = dict(zip(tables.GROUP, DIVERGED[:3], strict=True))
    for after, seeds in ((3, 3), (4, 2), (10, 2)):
        rows = one(given["scores"], **names, metric="class_incremental", after_task=after)
        values = rows["average_accuracy"].dropna()
        row = one(drawn, architecture="conv-gru", strategy="sgd", after_task=after).iloc[0]
        assert row["n_seeds"] == len(values) == seeds
        expected = statistics.interval(values.to_numpy())
        assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))


def test_metric_can_be_chosen(draws):
    figure, drawn = draws("average_accuracy", metric="task_masked")
    assert "task-masked accuracy" in words(figure)
    _, scenario = draws("average_accuracy")
    assert (drawn["mean"] > scenario["mean"]).all()


def test_accuracy_over_tasks_draws_every_cell_and_joint_as_a_reference(given, draws):
    figure, drawn = draws("accuracy_over_tasks", benchmark="split-short")
    cells = one(drawn, line="task", architecture="mlp", strategy="sgd")
    assert len(cells) == 6 * 5
    rows = one(given["accuracy"], benchmark="split-short", architecture="mlp", strategy="sgd")
    mine = one(rows, metric="task_masked", after_task=3, task=2)["value"]
    assert one(cells, after_task=3, task=2)["mean"].item() == pytest.approx(mine.mean())
    joint = one(drawn, line="mean over tasks")
    assert joint["strategy"].tolist() == ["joint", "joint"]
    panel = figure.axes[0]
    heights = {line.get_ydata()[0] for line in panel.lines if line.get_xdata()[0] == 0}
    assert one(joint, architecture="mlp")["mean"].item() in heights
    assert len(figure.axes) == 2 * 3  # joint has no panels of its own


def test_peak_normalised_shares_start_at_one_and_match_the_table(given, draws):
    _, drawn = draws("peak_normalised_erank")
    assert drawn["task"].min() == 1
    assert (one(drawn, task=1)["mean"] == 1).all()
    row = one(drawn, matrix="weight", architecture="mlp", strategy="sgd", task=7)
    names = {"benchmark": "split-long", "architecture": "mlp", "strategy": "sgd", "task": 7}
    share = one(given["erank"], **names, matrix="weight")
    share = share[share["statistic"].str.endswith(ranks.PEAK)]
    assert row["mean"].item() == pytest.approx(share["value"].mean())


def test_by_layer_has_a_panel_for_every_layer_in_order_of_depth(draws):
    figure, drawn = draws("erank_by_layer", architecture="mlp", matrix="activation")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    layers = ["stage1", "stage2", "stage3", "stage4", "stage5", "head"]
    assert titles == [f"MLP: {layer}" for layer in layers]
    assert set(drawn["architecture"]) == {"mlp"}


def test_scatter_holds_every_point_and_the_correlations_over_seeds(given, draws):
    figure, drawn = draws("forgetting_against_rank", benchmark="split-short")
    points = one(drawn, kind="point")
    source = one(given["forgetting_rank"], benchmark="split-short", metric="task_masked").dropna()
    assert len(points) == len(source) == 2 * 2 * 3 * 3 * 4
    assert sum(len(c.get_offsets()) for ax in figure.axes for c in ax.collections) == len(points)
    mlp = one(source, architecture="mlp", matrix="weight")
    per_seed = [
        statistics.pearson(rows["rank_lost"], rows["forgetting"]) for _, rows in mlp.groupby("seed")
    ]
    row = one(drawn, architecture="mlp", matrix="weight", correlation="pearson").iloc[0]
    expected = statistics.correlation_interval(np.array(per_seed))
    assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))
    assert row["n_seeds"] == 3
    assert f"Pearson {row['mean']:.2f}" in words(figure)


def test_a_diverged_seed_keeps_its_points_and_has_no_correlation(draws):
    _, drawn = draws("forgetting_against_rank")
    mine = one(drawn, architecture="conv-gru", matrix="weight")
    kept = one(mine, kind="point", strategy="sgd", seed=DIVERGED[3])
    assert kept["task"].tolist() == [2, 3]
    assert one(mine, correlation="pearson")["n_seeds"].item() == 2


@pytest.mark.parametrize("component", FIGURES)
def test_with_nothing_to_draw_the_figure_says_why(draws, component):
    figure, drawn = draws(component, benchmark="split-mnist")
    assert "Nothing to draw: " in words(figure)
    assert "has no split-mnist" in words(figure)
    assert list(drawn.columns) == ["nothing"]
    check_layout(figure)


def test_where_every_seed_diverged_at_once_the_figure_says_so(given):
    lost = given["scores"].assign(average_accuracy=np.nan, forgetting=np.nan)
    rank = given["forgetting_rank"].assign(forgetting=np.nan)
    without = {**given, "scores": lost, "forgetting_rank": rank}
    for component in ("average_accuracy", "forgetting_against_rank"):
        figure, _ = drawn_by(component, without)
        assert "every run diverged before" in words(figure)
        check_layout(figure)


def test_a_table_the_study_forgot_is_one_message(given):
    with pytest.raises(UserError, match="add erank to its tables"):
        drawn_by("activation_erank", {"runs": given["runs"]})


def written(given: Tables, folder: Path, component: str, settings: dict[str, str]) -> Path:
    folder.mkdir()
    for name, table in given.items():
        tables.write(table, folder / f"{name}.csv")
    parser = argparse.ArgumentParser()
    draw.add_arguments(parser)
    out = folder / "figures" / "average.pdf"
    draw.run(
        parser.parse_args(
            [
                *("--study", "collapse", "--figure", "average", "--component", component),
                *("--settings", json.dumps(settings), "--code", "c", "--out", str(out)),
                *("--tables", str(folder / "scores.csv")),
                *("--runs-table", str(folder / "runs.csv")),
            ]
        )
    )
    return out


def test_draw_writes_three_files_that_never_change(given, draws, tmp_path):
    settings = {"benchmark": "split-long"}
    first = written(given, tmp_path / "a", "average_accuracy", settings)
    second = written(given, tmp_path / "b", "average-accuracy", settings)
    for suffix in (".pdf", ".png", ".csv"):
        content = first.with_suffix(suffix).read_bytes()
        assert content == second.with_suffix(suffix).read_bytes()
    _, drawn = draws("average_accuracy")
    again = pd.read_csv(first.with_suffix(".csv"))
    pd.testing.assert_frame_equal(again, drawn, check_dtype=False, rtol=1e-8)


def test_draw_refuses_unknown_figures_and_settings_in_one_message(given, tmp_path):
    with pytest.raises(UserError, match=r"figures\.average\.component: .*accuracy_over_tasks"):
        written(given, tmp_path / "a", "no_such_figure", {})
    with pytest.raises(UserError, match=r"figures\.average\.settings\.bench: Extra inputs"):
        written(given, tmp_path / "b", "average_accuracy", {"benchmark": "x", "bench": "y"})
