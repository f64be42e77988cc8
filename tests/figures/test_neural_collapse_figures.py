import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from forgetting import statistics, tables
from forgetting.errors import UserError
from forgetting.figures import _neural_collapse_reference, neural_collapse
from forgetting.figures._neural_collapse_correlation import sliding
from looking_at_figures import (
    Tables,
    check_captions,
    check_layout,
    check_picture,
    drawing,
    one,
    words,
)
from synthetic_neural_collapse import CHANCE, DIVERGED, EPOCHS, GONE, LONGEST, TASKS, study

TASK, WARM = {"benchmark": "permuted-mnist"}, {"benchmark": "warm-start"}
FIGURES: dict[str, dict[str, object]] = {
    "nc1_over_tasks": TASK,
    "nc1_by_first_task_epochs": TASK,
    "nc1_sliding_correlation": {**WARM, "window": 6},
    "accuracy_by_warm_up_epochs": WARM,
    "collapse_over_warm_up": WARM,
}
NEEDS = {
    "nc1_over_tasks": ["online", "neural_collapse"],
    "nc1_by_first_task_epochs": ["online", "neural_collapse"],
    "nc1_sliding_correlation": ["continued"],
    "accuracy_by_warm_up_epochs": ["continued", "accuracy"],
    "collapse_over_warm_up": ["continued"],
}
MEASURES = ["nc1", "nc2", "nc3", "nc4"]


draw = drawing(neural_collapse, FIGURES)


@pytest.fixture(scope="module")
def given() -> Tables:
    return study()


def under(given: Tables, evidence: str) -> Tables:
    return {**given, "runs": given["runs"].assign(evidence=evidence, stand_in=False)}


def heights(ax) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines]


def has_line(ax, values) -> bool:
    values = np.asarray(values, dtype=float)
    return any(len(y) == len(values) and np.allclose(y, values) for y in heights(ax))


def test_these_are_all_figures_of_the_study_and_each_has_a_caption(request):
    check_captions("neural-collapse", FIGURES, request.config.rootpath)


@pytest.mark.parametrize("component", FIGURES)
def test_nothing_is_clipped_or_covered(drawn, component):
    figure, _ = drawn[component]
    check_picture(figure, tallest=9)
    said = words(figure)
    assert "Stand-in data: digits" in said
    assert "95 % t-interval over seeds" in said


@pytest.mark.parametrize("component", FIGURES)
def test_few_points_and_one_seed_can_be_drawn(component):
    small = {"window": 3} if component == "nc1_sliding_correlation" else {}
    few = study(tasks=4, epochs=(2, 4, 8, 12))
    check_layout(draw(component, few, **small)[0])
    single = {name: table[table["seed"] == 0] for name, table in few.items()}
    figure, rows = draw(component, single, **small)
    check_layout(figure)
    assert "One seed, so no interval" in words(figure)
    assert rows["ci_low"].isna().all()


@pytest.mark.parametrize("component", NEEDS)
def test_with_nothing_to_draw_the_figure_says_why(given, component):
    for table in NEEDS[component]:
        figure, rows = draw(component, {**given, table: given[table].iloc[:0]})
        assert f"Nothing to draw: {table}.csv has no " in words(figure)
        assert list(rows.columns) == ["nothing"]
        rest = {name: of for name, of in given.items() if name != table}
        with pytest.raises(UserError, match=f"add {table} to its tables"):
            draw(component, rest)


def test_every_seed_diverged_is_nothing_to_draw(given):
    lost = given["continued"].assign(status="diverged", mode=None)
    lost[[*MEASURES, "accuracy", "accuracy_before"]] = np.nan
    gone = {**given, "continued": lost}
    said = words(draw("accuracy_by_warm_up_epochs", gone)[0])
    assert "every run diverged before" in said
    for component in ("nc1_sliding_correlation", "collapse_over_warm_up"):
        assert "continued.csv has no eval mode on warm-start" in words(draw(component, gone)[0])


def test_accuracy_and_nc1_over_tasks_with_their_correlations(given, drawn):
    figure, rows = drawn["nc1_over_tasks"]
    online = one(given["online"], strategy="sgd")
    nc1 = one(given["neural_collapse"], strategy="sgd", statistic="nc1")
    curves = [
        of.pivot(index="task", columns="seed", values="value").mean(axis=1) for of in (online, nc1)
    ]
    for ax, curve in zip(figure.axes, curves, strict=True):
        assert has_line(ax, curve)
    averaged = np.corrcoef(*curves)[0, 1]
    assert one(rows, shown="r")["mean"].item() == pytest.approx(averaged)
    within = one(rows, shown="r within a seed").iloc[0]
    each = [
        np.corrcoef(*(one(of, seed=seed).sort_values("task")["value"] for of in (online, nc1)))
        for seed in (0, 2)  # seed 1 diverged
    ]
    expected = statistics.correlation_interval([r[0, 1] for r in each])
    assert within[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))
    assert f"r = {averaged:.2f}".replace("-", "\N{MINUS SIGN}") in words(figure)
    assert f"MLP SGD 1 of 3 (task {DIVERGED})" in words(figure)
    assert "rising: less collapse" in words(figure)
    counts = one(rows, shown="accuracy").set_index("task")["n_seeds"]
    assert (counts[DIVERGED - 1], counts[DIVERGED]) == (3, 2)


def test_plasticity_loss_is_paired_within_seeds_and_nc1_is_that_of_the_start(given, drawn):
    figure, rows = drawn["nc1_by_first_task_epochs"]
    online = given["online"].set_index(["strategy", "seed", "task"])["value"]
    lost, later = one(rows, shown="plasticity_loss"), one(rows, shown="accuracy")
    assert sorted(lost["task"].unique()) == [2, 7, TASKS]
    for epochs in LONGEST:
        name = f"task-1-epochs~{epochs}"
        each = [online[name, seed, 1] - online[name, seed, 7] for seed in range(3)]
        row = one(lost, strategy=name, task=7).iloc[0]
        expected = list(statistics.interval(each))
        assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
        mine = np.mean([online[name, seed, 7] for seed in range(3)])
        assert one(later, strategy=name, task=7)["mean"].item() == pytest.approx(mine)
    first = one(given["neural_collapse"], strategy="first-task", statistic="nc1")
    expected = first.groupby("epoch")["value"].mean()
    found = one(rows, shown="nc1").set_index("epochs")["mean"].sort_index()
    pd.testing.assert_series_equal(found, expected, check_names=False)
    assert has_line(figure.axes[0], expected)
    assert has_line(figure.axes[1], one(lost, task=2).sort_values("epochs")["mean"])
    assert [t.get_text() for t in figure.axes[2].get_xticklabels()] == ["1", "5", "20", "100"]
    _, rows = draw("nc1_by_first_task_epochs", given, tasks=[3])
    assert set(one(rows, shown="accuracy")["task"]) == {3}
    figure, _ = draw("nc1_by_first_task_epochs", given, tasks=[99])
    assert "online.csv has no task 99 of these runs on permuted-mnist" in words(figure)


def test_nc1_measured_of_the_run_itself_comes_before_that_of_the_run_it_continues(given):
    own = one(given["neural_collapse"], strategy="first-task", epoch=5.0)
    own = own.assign(strategy="task-1-epochs~5", epoch=0.0, value=0.5)
    both = pd.concat([given["neural_collapse"], own])
    _, rows = draw("nc1_by_first_task_epochs", {**given, "neural_collapse": both})
    nc1 = one(rows, shown="nc1").set_index("epochs")
    assert nc1.loc[5, "mean"] == 0.5
    assert nc1["n_seeds"].tolist() == [3] * len(LONGEST)


def test_sliding_correlations_are_those_of_numpy_within_a_seed(given, drawn):
    rows = one(given["continued"], mode="eval", arm="full")
    found = sliding(rows, 6)
    mine = one(rows, seed=1).sort_values("epoch")
    for end in (6, 9, len(EPOCHS)):
        part = mine.iloc[end - 6 : end]
        at = one(found, seed=1, epoch=part["epoch"].iloc[-1]).set_index("correlation")["r"]
        assert at["pearson"] == pytest.approx(np.corrcoef(part["nc1"], part["accuracy"])[0, 1])
        left = [
            part[column] - np.polyval(np.polyfit(part["epoch"], part[column], 1), part["epoch"])
            for column in ("nc1", "accuracy")
        ]
        assert at["given_epoch"] == pytest.approx(np.corrcoef(*left)[0, 1])
    figure, shown = drawn["nc1_sliding_correlation"]
    assert set(shown["arm"]) == {"full", "shrink-perturb"}
    assert shown["epoch"].min() == EPOCHS[5]
    last = one(found, correlation="pearson", epoch=EPOCHS[-1])["r"]
    expected = statistics.correlation_interval(last)
    row = one(shown, correlation="pearson", arm="full", epoch=EPOCHS[-1]).iloc[0]
    assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))
    for ax, kind in zip(figure.axes, ("pearson", "given_epoch"), strict=True):
        assert has_line(ax, one(shown, correlation=kind, arm="full")["mean"])


def test_windows_that_hold_a_diverged_run_are_left_out(given):
    _, rows = draw("nc1_sliding_correlation", given, arms=["nc1"], window=5)
    counts = one(rows, correlation="pearson").set_index("epoch")["n_seeds"]
    assert counts[GONE] == 3
    assert (counts[counts.index > GONE] == 2).all()
    figure, _ = draw("nc1_sliding_correlation", given, window=99)
    assert "(warm-start has 15 checkpoints); give the figure a smaller window" in words(figure)
    figure, rows = draw("nc1_sliding_correlation", given, window=3, arms=["full", "other"])
    assert set(rows["correlation"]) == {"pearson"}  # nothing is left of three points less a line
    assert len(figure.axes) == 1
    assert "Not run: other." in words(figure)


def test_accuracy_has_a_line_per_arm_and_each_warm_up_once(given, drawn):
    figure, rows = drawn["accuracy_by_warm_up_epochs"]
    means = one(rows, kind="mean")
    raw = one(given["continued"], mode="eval")
    for ax, column in zip(figure.axes, ("accuracy", "accuracy_before"), strict=True):
        for arm, of in one(means, shown=column).groupby("arm"):
            expected = one(raw, arm=arm).groupby("epoch")[column].mean().dropna()
            assert of["mean"].to_numpy() == pytest.approx(expected.to_numpy())
            assert has_line(ax, expected)
    assert "shrink-perturb" in set(one(means, shown="accuracy")["arm"])
    assert "shrink-perturb" not in set(one(means, shown="accuracy_before")["arm"])
    scratch = one(rows, kind="from scratch").iloc[0]
    values = one(given["accuracy"], strategy="scratch")["value"]
    expected = list(statistics.interval(values))
    assert scratch[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    assert has_line(figure.axes[0], [values.mean()] * 2)
    assert not has_line(figure.axes[1], [values.mean()] * 2)
    assert "from scratch" in words(figure)


def test_seeds_at_chance_are_rings_and_diverged_ones_crosses(given, drawn):
    figure, rows = drawn["accuracy_by_warm_up_epochs"]
    ringed = [e for e in EPOCHS if CHANCE < e <= GONE]
    crossed = [e for e in EPOCHS if e > GONE]
    for ax, column in zip(figure.axes, ("accuracy", "accuracy_before"), strict=True):
        rings, crosses = (
            [line for line in ax.lines if line.get_marker() == marker and len(line.get_xdata())]
            for marker in ("o", "x")
        )
        (ring,) = [line for line in rings if line.get_markersize() == 6.5]
        assert ring.get_xdata().tolist() == ringed
        mine = one(given["continued"], arm="nc1", seed=2, mode="eval", status="chance")
        assert ring.get_ydata() == pytest.approx(mine[column].to_numpy())
        (cross,) = crosses
        assert cross.get_xdata().tolist() == crossed
        assert ring.get_color() == cross.get_color() == "#0072B2"
    said = words(figure)
    count = 3 * len(EPOCHS)
    assert f"NC1 regulariser {len(crossed)} of {count} diverged" in said
    assert f"NC1 regulariser {len(ringed)} of {count} at chance" in said
    assert set(rows["kind"]) == {"mean", "from scratch", "chance", "diverged"}
    plain, _ = draw("accuracy_by_warm_up_epochs", given, arms=["full", "wd-0.1"])
    assert "chance" not in words(plain)
    assert "weight decay 0.1" in words(plain)
    assert "No seed diverged." in words(plain)


@pytest.mark.parametrize(("mode", "first", "last"), [("eval", 0, None), ("train", 100, 140)])
def test_collapse_has_a_panel_per_measure_with_the_accuracy(given, mode, first, last):
    figure, rows = draw(
        "collapse_over_warm_up", given, mode=mode, first_epoch=first, last_epoch=last
    )
    check_layout(figure)
    raw = one(given["continued"], mode=mode, arm="full")
    raw = raw[raw["epoch"].between(first, last or np.inf)]
    axes, seconds = figure.axes[:4], figure.axes[4:]
    for ax, other, measure in zip(axes, seconds, MEASURES, strict=True):
        assert has_line(ax, raw.groupby("epoch")[measure].mean())
        assert has_line(other, raw.groupby("epoch")["accuracy"].mean())
        each = [np.corrcoef(of[measure], of["accuracy"])[0, 1] for _, of in raw.groupby("seed")]
        row = one(rows, shown="r", **{"with": measure}).iloc[0]
        expected = statistics.correlation_interval(each)
        assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(list(expected))
    assert figure.axes[0].get_yscale() == ("log" if first == 0 else "linear")
    figure, _ = draw("collapse_over_warm_up", given, first_epoch=1000)
    assert "Nothing to draw: full has no warm-up of 1000 epochs or more" in words(figure)


@pytest.mark.parametrize("component", FIGURES)
def test_the_papers_values_are_drawn_for_runs_of_its_protocol_only(given, component):
    given, changed = dict(given), {}
    if component == "nc1_sliding_correlation":
        given, changed = study(epochs=range(5, 111, 5)), {"mode": "train", "window": 20}
    elif component == "collapse_over_warm_up":
        changed = {"mode": "train"}
    figure, rows = draw(component, under(given, "protocol"), **changed)
    check_layout(figure)
    paper = one(rows, source="paper")
    assert len(paper)
    assert "published" in words(figure)
    shown = np.concatenate([y for ax in figure.axes for y in heights(ax)])
    assert all(np.isclose(shown, value).any() for value in paper["mean"])
    figure, rows = draw(component, under(given, "reduced"), **changed)
    assert "paper" not in set(rows["source"])
    assert "published" not in words(figure)


def test_the_papers_values_can_be_left_out(given):
    figure, rows = draw("nc1_over_tasks", under(given, "protocol"), reference=False)
    assert "paper" not in set(rows["source"])
    assert "published" not in words(figure)


def test_collapse_as_published_was_taken_in_train_mode(given):
    protocol = under(given, "protocol")
    _, rows = draw("collapse_over_warm_up", protocol, mode="eval")
    assert set(one(rows, source="paper")["shown"]) == {"accuracy"}
    _, rows = draw("collapse_over_warm_up", protocol, mode="train", arm="shrink-perturb")
    assert one(rows, source="paper").empty
    twenty = under(study(epochs=range(5, 111, 5)), "protocol")
    for other in ({"mode": "eval", "window": 20}, {"mode": "train", "window": 19}):
        _, rows = draw("nc1_sliding_correlation", twenty, **other)
        assert one(rows, source="paper").empty


def test_bars_of_the_papers_values_are_one_standard_deviation(given):
    protocol = under(given, "protocol")
    figure, rows = draw("accuracy_by_warm_up_epochs", protocol, arms=["shrink-perturb"])
    row = one(rows, source="paper", epoch=10.0).iloc[0]
    bars = [
        segment
        for bars in figure.axes[0].collections
        if isinstance(bars, LineCollection)
        for segment in bars.get_segments()
    ]
    ends = [sorted(bar[:, 1]) for bar in bars if len(bar) and bar[0, 0] == 10]
    assert [row["mean"] - row["sd"], row["mean"] + row["sd"]] == pytest.approx(ends[0])


def test_the_values_in_the_package_are_those_of_the_paper():
    values = tables.read(_neural_collapse_reference.VALUES)
    assert set(values["figure"]) == set(FIGURES)
    assert (values["sd"].dropna() > 0).all()
    at = values.set_index(["figure", "series", "x"])["y"].sort_index()
    assert at["nc1_over_tasks", "r", 140] == -0.94475558
    assert at["collapse_over_warm_up", "nc1", 350] == 0.415
    accuracy = at["accuracy_by_warm_up_epochs"]
    assert accuracy["wd-0.1.accuracy", 100] == accuracy.max()
    shared = at["collapse_over_warm_up", "accuracy"]
    pd.testing.assert_series_equal(shared, accuracy["full.accuracy"], check_names=False)
    # What the authors' notebook prints over these fourteen runs, whose values are rounded here.
    runs = values[values["figure"] == "nc1_by_first_task_epochs"]
    nc1, later = (one(runs, series=series) for series in ("nc1", "accuracy"))
    assert np.corrcoef(nc1["y"], later["y"])[0, 1] == pytest.approx(0.606, abs=0.02)
    assert np.corrcoef(later["x"], later["y"])[0, 1] == pytest.approx(-0.994, abs=0.003)


def test_figures_of_tables_read_from_files_are_the_same(given, drawn, tmp_path):
    for name, table in given.items():
        tables.write(table, tmp_path / f"{name}.csv")
    read = {name: tables.read(tmp_path / f"{name}.csv") for name in given}
    for component in ("nc1_by_first_task_epochs", "accuracy_by_warm_up_epochs"):
        _, again = draw(component, read)
        pd.testing.assert_frame_equal(again, drawn[component][1], check_dtype=False, rtol=1e-6)
