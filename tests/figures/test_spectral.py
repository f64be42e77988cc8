import numpy as np
import pandas as pd
import pytest

from forgetting import plots, statistics, tables
from forgetting.errors import UserError
from forgetting.figures import _method_rows, _spectral_paper, _spectral_ranks, spectral
from looking_at_figures import (
    Tables,
    check_captions,
    check_layout,
    check_picture,
    drawing,
    one,
    words,
)
from synthetic_spectral import EPS, MEASURED, TASKS, study

MNIST = {"benchmark": "permuted-mnist"}
DIGITS = {"benchmark": "permuted-digits"}
FIGURES: dict[str, dict[str, object]] = {
    "performance_over_tasks": MNIST,
    "return_over_steps": {"benchmark": "slippery-ant", "published": True},
    "spectra": MNIST,
    "epsilon_rank_against_performance": MNIST,
    "r_squared_by_epsilon": MNIST,
    "estimator_error": DIGITS,
    "dead_units_over_tasks": MNIST,
    "feature_rank_over_tasks": MNIST,
    "weight_norm_over_tasks": MNIST,
    "dead_units_against_bound": MNIST,
    "regularisation_ablation": MNIST,
    "run_time": {},
    "loss_landscape": MNIST,
    "curvature_factors": DIGITS,
}
NEEDS = {
    "performance_over_tasks": ["performance"],
    "return_over_steps": ["history"],
    "spectra": ["spectra"],
    "epsilon_rank_against_performance": ["rank_and_performance"],
    "r_squared_by_epsilon": ["rank_and_performance"],
    "estimator_error": ["hessian"],
    "dead_units_over_tasks": ["dead_units"],
    "feature_rank_over_tasks": ["feature_rank"],
    "weight_norm_over_tasks": ["norms"],
    "dead_units_against_bound": ["dead_units", "hessian"],
    "regularisation_ablation": ["performance", "feature_rank", "dead_units"],
    "loss_landscape": ["landscape"],
    "curvature_factors": ["kfac"],
}
OVER_TASKS = {
    "dead_units_over_tasks": ("dead_units", "exact_zero"),
    "feature_rank_over_tasks": ("feature_rank", "effective_rank"),
    "weight_norm_over_tasks": ("norms", "weight_norm"),
}


draw = drawing(spectral, FIGURES)


@pytest.fixture(scope="module")
def given() -> Tables:
    return study()


def heights(ax) -> set[tuple[float, ...]]:
    return {tuple(np.asarray(line.get_ydata(), dtype=float)) for line in ax.lines}


def kept(given: Tables, strategies: list[str]) -> Tables:
    return {name: table[table["strategy"].isin(strategies)] for name, table in given.items()}


def test_these_are_all_figures_of_the_study_and_each_has_a_caption(request):
    check_captions("spectral", FIGURES, request.config.rootpath)


@pytest.mark.parametrize("component", FIGURES)
def test_nothing_is_clipped_or_covered(drawn, component):
    check_picture(drawn[component][0], tallest=9.5)


@pytest.mark.parametrize("component", FIGURES)
def test_data_and_seeds_are_named(drawn, component):
    said = words(drawn[component][0])
    assert ("Stand-in data: digits" in said) == (component != "return_over_steps")
    if component == "loss_landscape":
        assert "seed 0" in said
    elif component == "run_time":
        assert "one pack of seeds trained together, so no interval" in said
    else:
        assert "3 seeds" in said
    if component not in ("spectra", "loss_landscape", "run_time") and "against" not in component:
        assert "95 % t-interval over seeds" in said


@pytest.mark.parametrize("component", FIGURES)
def test_one_seed_and_few_strategies_can_be_drawn(given, component):
    few = kept(given, ["sgd", "l2"])
    single = {name: table[table["seed"] == 0] for name, table in few.items()}
    figure, _ = draw(component, single)
    check_layout(figure)
    single = {**single, "runs": few["runs"]}  # measured with fewer seeds than trained
    said = words(draw(component, single)[0])
    if component not in ("run_time", "loss_landscape", "regularisation_ablation"):
        assert "1 seed" in said or "One seed, so no interval" in said
        assert "3 seeds" not in said


@pytest.mark.parametrize("component", NEEDS)
def test_with_nothing_to_draw_the_figure_says_why(given, component):
    empty = {name: table[table["benchmark"] == "no"] for name, table in given.items()}
    figure, drawn = draw(component, empty)
    assert "Nothing to draw: runs.csv has no " in words(figure)
    assert list(drawn.columns) == ["nothing"]
    said = words(draw(component, {**empty, "runs": given["runs"]})[0])
    assert f"Nothing to draw: {NEEDS[component][0]}.csv has no " in said
    for table in NEEDS[component]:
        rest = {name: rows for name, rows in given.items() if name != table}
        with pytest.raises(UserError, match=f"add {table} to its tables"):
            draw(component, rest)


def test_run_time_needs_the_reference(given):
    figure, _ = draw("run_time", kept(given, ["l2"]))
    assert "Nothing to draw: runs.csv has no benchmark on which seeds of sgd" in words(figure)


def test_diverged_seeds_are_named_and_left_out(drawn):
    for component in ("performance_over_tasks", "spectra", "dead_units_over_tasks"):
        assert "MLP SGD 1 of 3 (task 15)" in words(drawn[component][0])
    rows = one(drawn["performance_over_tasks"][1], strategy="sgd").set_index("task")["n_seeds"]
    assert rows[14] == 3
    assert rows[15] == rows[TASKS] == 2
    assert one(drawn["regularisation_ablation"][1], strategy="sgd")["n_seeds"].tolist() == [2] * 3


def test_a_strategy_on_two_networks_is_refused(given):
    runs = given["runs"]
    other = runs[runs["strategy"] == "l2"].assign(architecture="mlp-ln")
    with pytest.raises(UserError, match="l2 is there on mlp, mlp-ln"):
        draw("performance_over_tasks", {**given, "runs": pd.concat([runs, other])})


def test_performance_is_the_mean_over_seeds_within_a_window(given, drawn):
    figure, rows = drawn["performance_over_tasks"]
    mine = one(rows, strategy="l2").sort_values("task")
    raw = one(given["performance"], **MNIST, strategy="l2")
    values = raw.pivot(index="seed", columns="task", values="value").to_numpy()
    assert mine["mean"].to_numpy() == pytest.approx(values.mean(axis=0))
    assert tuple(mine["mean"]) in heights(figure.axes[0])
    limits = mine[["mean", "ci_low", "ci_high"]].iloc[6].tolist()
    assert limits == pytest.approx(list(statistics.interval(values[:, 6])))
    figure, rows = draw("performance_over_tasks", given, window=3)
    mine = one(rows, strategy="l2").sort_values("task")["mean"].to_numpy()
    smooth = np.convolve(values.mean(axis=0), np.ones(3) / 3, mode="valid")
    assert mine[1:-1] == pytest.approx(smooth)
    assert mine[0] == pytest.approx(values[:, :2].mean())
    assert "Means over 3 tasks" in words(figure)


def test_the_papers_curves_are_drawn_for_runs_of_its_protocol_only(given, drawn):
    assert set(drawn["performance_over_tasks"][1]["source"]) == {"ours"}
    for evidence in ("protocol", "reduced", "other data"):
        runs = given["runs"].assign(evidence=evidence, stand_in=False)
        some = kept({**given, "runs": runs}, ["sgd", "l2_effective_rank", "redo"])
        figure, rows = draw("performance_over_tasks", some)
        paper = one(rows, source="paper")
        if evidence != "protocol":
            assert paper.empty
            assert "as published" not in words(figure)
            continue
        assert set(paper["strategy"]) == {"sgd", "l2_effective_rank"}  # the paper has no ReDo
        assert paper["task"].max() <= TASKS
        curve = one(paper, strategy="sgd")
        assert tuple(curve["mean"]) in heights(figure.axes[0])
        (line,) = [x for x in figure.axes[0].lines if tuple(x.get_ydata()) == tuple(curve["mean"])]
        assert line.get_color() == plots.look("sgd").colour
        assert line.get_linestyle() == "--"
        assert "as published" in words(figure)
        check_layout(figure)


def test_the_curves_in_the_package_are_those_of_the_papers_figures():
    curves = tables.read(_spectral_paper.CURVES)
    assert not curves.duplicated(["benchmark", "strategy", "task"]).any()
    assert curves["performance"].between(0, 1).all()
    last = curves.sort_values("task").groupby(["benchmark", "strategy"])["performance"].last()
    # Read off the published figures; CBP there is what replaces the most useful units.
    assert last["permuted-mnist", "sgd"] == pytest.approx(0.876, abs=0.003)
    assert last["permuted-mnist", "replace_most_useful"] == pytest.approx(0.938, abs=0.003)
    assert last["incremental-cifar100", "l2_effective_rank"] == pytest.approx(0.548, abs=0.003)
    assert curves.groupby(["benchmark", "strategy"]).size().max() <= 200


@pytest.mark.parametrize("component", OVER_TASKS)
def test_lines_over_tasks_are_those_of_the_whole_network_at_the_start(given, drawn, component):
    figure, rows = drawn[component]
    table, statistic = OVER_TASKS[component]
    raw = one(given[table], **MNIST, statistic=statistic, layer="all", moment="init")
    expected = raw.groupby(["strategy", "task"])["value"].mean()
    found = rows.set_index(["strategy", "task"])["mean"]
    pd.testing.assert_series_equal(found.sort_index(), expected, check_names=False)
    for _, mine in rows.groupby("strategy"):
        assert tuple(mine.sort_values("task")["mean"]) in heights(figure.axes[0])


def test_without_a_row_of_all_layers_they_are_summed(given, drawn):
    layers = given["dead_units"][given["dead_units"]["layer"] != "all"]
    figure, rows = draw("dead_units_over_tasks", {**given, "dead_units": layers})
    pd.testing.assert_frame_equal(rows, drawn["dead_units_over_tasks"][1])
    assert "(of 300 units)" in words(figure)


def test_strategies_that_are_not_measured_are_named(given):
    some = given["dead_units"][given["dead_units"]["strategy"] != "redo"]
    figure, _ = draw("dead_units_over_tasks", {**given, "dead_units": some})
    assert "Not measured: ReDo." in words(figure)


def test_spectra_are_shares_of_eigenvalues(given, drawn):
    figure, rows = drawn["spectra"]
    assert sorted(rows["task"].unique()) == [1, 9, 13, 20]
    assert rows.groupby(["strategy", "task"])["share"].sum().to_numpy() == pytest.approx(1.0)
    raw = one(given["spectra"], **MNIST, strategy="l2", task=9, moment="init", split="train")
    nodes = raw.pivot(index=["seed", "probe", "index"], columns="statistic", values="value")
    mine = one(rows, strategy="l2", task=9)
    for low, high, share in mine[["low", "high", "share"]].to_numpy():
        inside = (nodes["ritz_value"] >= low) & (nodes["ritz_value"] < high)
        assert nodes.loc[inside, "ritz_weight"].sum() / (3 * 2) == pytest.approx(share)
    middle = mine[(mine["low"] < 0) & (mine["high"] > 0)]
    assert middle["high"].item() == pytest.approx(0.002)
    ax = figure.axes[4 + 1]
    (stairs,) = ax.patches
    assert stairs.get_data().values == pytest.approx(mine.sort_values("low")["share"].to_numpy())


def test_exact_eigenvalues_are_drawn_beside_the_quadrature(given):
    figure, rows = draw("spectra", given, **DIGITS, tasks=[5])
    assert set(rows["kind"]) == {"exact", "quadrature"}
    raw = one(given["spectra"], **DIGITS, task=5, statistic="eigenvalue")["value"]
    middle = rows[(rows["low"] < 0) & (rows["high"] > 0) & (rows["kind"] == "exact")]
    inside = raw.between(middle["low"].item(), middle["high"].item())
    assert middle["share"].item() == pytest.approx(inside.mean())
    assert "all eigenvalues" in words(figure)
    check_layout(figure)
    figure, _ = draw("spectra", given, tasks=[7])
    assert "spectra.csv has no permuted-mnist of task 7" in words(figure)


def test_r_squared_is_that_of_least_squares():
    noise = np.random.default_rng(0)
    x = noise.random(40)
    y = 0.3 - 0.5 * x + 0.1 * noise.normal(size=40)
    slope, intercept = np.polyfit(x, y, 1)
    left = y - intercept - slope * x
    found = _spectral_ranks.least_squares(x, y)
    assert found["slope"] == pytest.approx(slope)
    assert found["intercept"] == pytest.approx(intercept)
    assert found["r_squared"] == pytest.approx(1 - left @ left / ((y - y.mean()) ** 2).sum())
    assert _spectral_ranks.in_words(found).startswith("R² = 0.")
    assert ", falling, n = 40" in _spectral_ranks.in_words(found)
    assert np.isnan(_spectral_ranks.least_squares(np.ones(5), y[:5])["r_squared"])
    assert np.isnan(_spectral_ranks.least_squares(x[:2], y[:2])["r_squared"])


def test_points_are_runs_at_tasks_without_the_first(given, drawn):
    figure, rows = drawn["epsilon_rank_against_performance"]
    raw = one(given["rank_and_performance"], **MNIST)
    raw = raw[raw["task"] > 1]
    fits = {}
    for eps in EPS:
        cells = one(raw, estimator="published", eps=eps)
        fits[eps] = np.corrcoef(cells["epsilon_rank"], cells["performance"])[0, 1] ** 2
    best = max(fits, key=fits.__getitem__)
    points, fit = one(rows, kind="point"), one(rows, kind="fit")
    assert set(points["eps"]) == {best}
    published = one(fit, estimator="published")
    assert published["r_squared"].item() == pytest.approx(fits[best])
    count = len(one(raw, estimator="published", eps=best))
    assert published["n"].item() == count == 11 * 3 * 5 - 2
    assert f"R² = {fits[best]:.2f}, n = {count}" in words(figure)
    ax = figure.axes[1]
    offsets = np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])
    mine = one(points, estimator="published")[["epsilon_rank", "performance"]].to_numpy()
    assert np.sort(offsets, axis=0) == pytest.approx(np.sort(mine, axis=0))
    figure, rows = draw("epsilon_rank_against_performance", given, eps=0.1, first_task=1)
    assert set(rows["eps"]) == {0.1}
    assert rows["task"].min() == 1
    for name in ("epsilon_rank_against_performance", "r_squared_by_epsilon"):
        figure, rows = draw(name, given, leave_out=["reset", "l2"])
        assert "Left out: L2, Reset." in words(figure)
        without = given["rank_and_performance"]
        without = without[~without["strategy"].isin(["reset", "l2"])]
        _, wanted = draw(name, {**given, "rank_and_performance": without})
        pd.testing.assert_frame_equal(rows, wanted)
    figure, _ = draw("epsilon_rank_against_performance", given, eps=0.5)
    assert "no epsilon 0.5 on permuted-mnist (it has 0.0001, 0.01, 0.1, 1)" in words(figure)


def test_r_squared_by_epsilon_has_seeds_as_units_and_rings_the_largest(given, drawn):
    figure, rows = drawn["r_squared_by_epsilon"]
    raw = one(given["rank_and_performance"], **MNIST, estimator="quadrature", eps=0.1)
    raw = raw[(raw["task"] > 1) & (raw["seed"] != 1)]  # seed 1 lacks the tasks after it diverged
    values = [
        np.corrcoef(cells["epsilon_rank"], cells["performance"])[0, 1] ** 2
        for _, cells in raw.groupby("seed")
    ]
    mine = one(rows, estimator="quadrature", eps=0.1).iloc[0]
    expected = list(statistics.interval(values))
    assert mine[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    assert mine["n_seeds"] == 2
    assert "Left out here: seeds without a point for every task." in words(figure)
    for _, of in rows.groupby("estimator"):
        assert of.loc[of["largest"], "mean"].tolist() == [of["mean"].max()]
        assert (of["mean"].max(),) in heights(figure.axes[0])
        assert tuple(of.sort_values("eps")["mean"]) in heights(figure.axes[0])


def test_errors_are_relative_to_the_exact_epsilon_rank(given, drawn):
    figure, rows = drawn["estimator_error"]
    raw = one(given["hessian"], **DIGITS, moment="init", split="train", eps=0.1)
    keys = ["seed", "task"]
    exact = one(raw, statistic="epsilon_rank_exact").set_index(keys)["value"]
    for steps in (10, 40):
        found = one(raw, statistic="epsilon_rank", steps=steps).set_index(keys)["value"]
        errors = ((found - exact) / exact).groupby("seed").mean()
        mine = one(rows, estimator="quadrature", steps=steps, eps=0.1).iloc[0]
        expected = list(statistics.interval(errors))
        assert mine[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(expected)
    assert set(one(rows, estimator="published")["steps"]) == {40}
    lines = [tuple(of.sort_values("eps")["mean"]) for _, of in rows.groupby(["estimator", "steps"])]
    assert len(lines) == 3
    assert set(lines) <= heights(figure.axes[0])
    figure, _ = draw("estimator_error", given, **MNIST)
    assert "hessian.csv has no exact epsilon-rank on permuted-mnist" in words(figure)


def test_the_bound_meets_the_epsilon_rank_of_the_same_run_and_task(given, drawn):
    figure, rows = drawn["dead_units_against_bound"]
    assert "layer_norm_l2" not in set(rows["strategy"])
    assert "No bound or no spectrum: LN + L2." in words(figure)
    mine = one(rows, strategy="sgd", seed=0, task=20)
    run = {**MNIST, "strategy": "sgd", "seed": 0, "task": 20, "moment": "init"}
    bound = one(given["dead_units"], **run, statistic="rank_bound")
    share = bound["value"].item() / bound["parameters"].item()
    assert mine["bound"].item() == pytest.approx(share)
    rank = one(given["hessian"], **run, split="train", statistic="epsilon_rank", eps=min(EPS))
    assert mine["epsilon_rank"].item() == rank["value"].item()
    assert mine["above"].item() == (rank["value"].item() > share)
    assert f"{rows['above'].sum()} of {len(rows)} lie above the line" in words(figure)


def test_the_ablation_takes_the_last_tenth_and_the_last_measured_task(given, drawn):
    figure, rows = drawn["regularisation_ablation"]
    raw = one(given["performance"], **MNIST, strategy="l2")
    final = raw[raw["task"] > TASKS - 2]["value"].mean()
    mine = one(rows, strategy="l2").set_index("shown")["mean"]
    assert mine["performance"] == pytest.approx(final)
    dead = one(given["dead_units"], **MNIST, strategy="l2", task=MEASURED[-1], moment="init")
    dead = one(dead, layer="all", statistic="exact_zero")["value"]
    assert mine["dead_units"] == pytest.approx(dead.mean())
    assert (1,) in heights(figure.axes[2])
    figure, _ = draw("regularisation_ablation", kept(given, ["sgd", "l2", "redo"]))
    assert "Not run: ER, L2-ER." in words(figure)
    without = {**given, "dead_units": given["dead_units"].iloc[:0]}
    figure, rows = draw("regularisation_ablation", without)
    assert "not measured" in words(figure)
    assert "dead_units" not in set(rows["shown"])
    check_layout(figure)


def test_times_are_relative_and_seeds_trained_together_count_once(given, drawn):
    _, rows = drawn["run_time"]
    mine = one(rows, **MNIST, strategy="l2").iloc[0]
    seconds = one(given["runs"], **MNIST).groupby("strategy")["wall_seconds"].first()
    assert mine["mean"] == pytest.approx(seconds["l2"] / seconds["sgd"])
    assert mine["n_packs"] == 1
    assert np.isnan(mine["ci_low"])
    apart = given["runs"].assign(wall_seconds=given["runs"]["wall_seconds"])
    apart["wall_seconds"] += 10 * apart["seed"]
    figure, rows = draw("run_time", {"runs": apart})
    mine = one(rows, **MNIST, strategy="l2").iloc[0]
    ratios = [(seconds["l2"] + 10 * s) / (seconds["sgd"] + 10 * s) for s in (0, 2)]
    assert mine["mean"] == pytest.approx(np.mean(ratios))  # seed 1 of sgd diverged
    assert mine["n_packs"] == 2
    assert "bars: 95 % interval over packs" in words(figure)


def test_landscapes_share_a_scale_and_lines_are_drawn_along_one_direction(given, drawn):
    figure, rows = drawn["loss_landscape"]
    assert [ax.get_title(loc="left") for ax in figure.axes[:4]] == ["SGD", "L2", "L2-ER", "LN + L2"]
    assert set(rows["task"]) == {TASKS}
    limits = {(c.norm.vmin, c.norm.vmax) for ax in figure.axes[:4] for c in ax.collections}
    assert len(limits) == 1
    ((low, high),) = limits
    assert low == pytest.approx(rows["value"].min())
    assert high == pytest.approx(rows["value"].max())
    figure, _ = draw("loss_landscape", given, strategies=["sgd", "redo"], task=1, seed=2)
    assert "start of task 1, seed 2" in words(figure)
    assert "Not measured with this seed: ReDo." in words(figure)
    table = given["landscape"][given["landscape"]["y"] == 0].assign(direction_y="")
    figure, rows = draw("loss_landscape", {**given, "landscape": table})
    mine = one(rows, strategy="sgd").sort_values("x")
    assert tuple(mine["value"]) in heights(figure.axes[0])
    check_layout(figure)


def test_factors_have_a_panel_per_statistic_and_a_line_per_layer(given, drawn):
    figure, rows = drawn["curvature_factors"]
    assert len(figure.axes) == 4
    for ax, statistic in zip(
        figure.axes,
        ["error_hessian", "error_ggn", "effective_rank_inputs", "effective_rank_gradients"],
        strict=True,
    ):
        mine = one(rows, statistic=statistic)
        lines = [tuple(of.sort_values("task")["mean"]) for _, of in mine.groupby("layer")]
        assert set(lines) == heights(ax)
        assert len(lines) == (4 if statistic.startswith("error") else 3)
    large = given["kfac"][~given["kfac"]["statistic"].str.startswith("error")]
    figure, _ = draw("curvature_factors", {**given, "kfac": large})
    assert len(figure.axes) == 2
    assert "Not measured: error against the Hessian, error against" in words(figure)
    check_layout(figure)


def test_figures_of_tables_read_from_files_are_the_same(given, drawn, tmp_path):
    for name, table in given.items():
        tables.write(table, tmp_path / f"{name}.csv")
    read = {name: tables.read(tmp_path / f"{name}.csv") for name in given}
    for component in ("estimator_error", "dead_units_against_bound", "loss_landscape"):
        _, again = draw(component, read)
        pd.testing.assert_frame_equal(again, drawn[component][1], check_dtype=False, rtol=1e-6)


def test_tasks_are_spread_by_rank():
    assert _method_rows.spread_out([1, 13, 25, 37, 49, 60], 4) == [1, 25, 37, 60]
    assert _method_rows.spread_out([3, 1, 3], 4) == [1, 3]
