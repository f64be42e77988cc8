import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forgetting import statistics, tables
from forgetting.commands import collect
from forgetting.errors import UserError
from forgetting.tables import of_measures, of_runs, ranks
from forgetting.tables.continued import continued
from forgetting.tables.performance import performance, rank_and_performance
from forgetting.tables.scores import SCORES, scores
from forgetting.tables.summary import summary
from synthetic_runs import ABOUT, BENCHMARKS, DIVERGED, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def built(study: tuple[list[Path], list[Path]]) -> dict[str, pd.DataFrame]:
    records = of_runs.read_records(study[0])
    accuracy, runs = of_runs.accuracy(records), of_runs.runs(records, ABOUT)
    erank = of_measures.measure(study[1])
    scored = scores(accuracy)
    return {
        "accuracy": accuracy,
        "runs": runs,
        "erank": erank,
        "scores": scored,
        "forgetting_rank": ranks.forgetting_rank(scored, erank),
        "representative_rank": ranks.representative_rank(erank),
        "summary": summary(scored, runs, erank),
    }


def one(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table)
    return table


SGD = {"benchmark": "split-short", "architecture": "mlp", "strategy": "sgd", "seed": 2}


def test_accuracy_holds_every_row_of_every_run(study, built):
    rows = sum(len(pd.read_parquet(path.parent / "accuracy.parquet")) for path in study[0])
    assert len(built["accuracy"]) == rows
    assert list(built["accuracy"].columns[:4]) == tables.ID


def test_row_order_does_not_depend_on_the_order_of_files(study, built):
    backwards = of_runs.read_records(study[0][::-1])
    pd.testing.assert_frame_equal(of_runs.accuracy(backwards), built["accuracy"])
    pd.testing.assert_frame_equal(of_runs.runs(backwards, ABOUT), built["runs"])
    pd.testing.assert_frame_equal(of_measures.measure(study[1][::-1]), built["erank"])


def history(folder: Path, rows: list[tuple], seeds: dict[str, dict], name: str) -> tuple:
    columns = ["seed", "task", "epoch", "step", "statistic", "value"]
    folder.mkdir()
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "history.parquet")
    spec = {"benchmark": {"name": name}, "architecture": {"name": "mlp"}}
    return folder, {"spec": {**spec, "strategy": {"name": "sgd"}}, "seeds": seeds}


def test_training_is_told_by_epoch_and_online_accuracy_is_the_last_ones(tmp_path):
    rows = [
        (0, 1, 1, 4, "accuracy", 0.5),
        (0, 1, 1, 5, "accuracy", 1.0),
        (0, 1, 2, 4, "accuracy", 0.75),
        (0, 1, 2, 5, "accuracy", 0.0),
        (0, 1, 1, 4, "loss", 9.0),
        (0, 2, 1, 4, "accuracy", 0.25),
        (0, 2, 1, 5, "accuracy", 0.0),
        (1, 1, 1, 4, "accuracy", 1.0),
        (1, 2, 1, 4, "accuracy", 1.0),
    ]
    seeds = {"0": {"status": "finished"}, "1": {"status": "diverged", "task": 2, "step": 3}}
    records = [history(tmp_path / "a", rows, seeds, "permuted")]
    by_epoch = of_runs.history(records)
    first = by_epoch[(by_epoch["seed"] == 0) & (by_epoch["task"] == 1)]
    assert {(row.epoch, row.statistic): row.value for row in first.itertuples()} == {
        (1, "accuracy"): pytest.approx((4 * 0.5 + 1.0) / 5),
        (2, "accuracy"): pytest.approx(4 * 0.75 / 5),
        (1, "loss"): 9.0,
    }
    found = of_runs.online(records)
    assert list(found.columns) == [*tables.ID, "task", "value"]
    values = {(row.seed, row.task): row.value for row in found.itertuples()}
    assert values == {
        (0, 1): pytest.approx(4 * 0.75 / 5),
        (0, 2): pytest.approx(0.2),
        (1, 1): 1.0,
    }


def test_performance_is_in_the_metric_of_its_benchmark(built):
    runs = built["runs"].copy()
    online = runs[runs["benchmark"] == "split-short"][tables.ID].assign(task=1, value=0.5)
    runs.loc[runs["benchmark"] == "split-short", "scenario_metric"] = "online"
    found = performance(built["accuracy"], runs, online)
    first = found["benchmark"] == "split-short"
    assert set(found.loc[first, "metric"]) == {"online"}
    assert (found.loc[first, "value"] == 0.5).all()
    for row in found[~first].itertuples():
        own = one(
            built["accuracy"],
            **{key: getattr(row, key) for key in tables.ID},
            metric=row.metric,
            task=row.task,
            after_task=row.task,
        )
        assert own["value"].item() == row.value
        assert row.metric == one(runs, benchmark=row.benchmark)["scenario_metric"].iloc[0]


def spectrum(folder: Path) -> Path:
    """A measure's file: two moments, two numbers of steps, three estimators, Ritz values."""
    about = {"seed": 0, "layer": "all", "split": "train", "dim": 100, "samples": 9}
    rows = []
    for task, moment in ((2, "init"), (2, "end")):
        for steps, value in ((50, 0.2), (100, 0.3)):
            here = about | {
                "task": task,
                "moment": moment,
                "steps": steps,
                "probe": -1,
                "index": -1,
            }
            for number, statistic in enumerate(("epsilon_rank", "epsilon_rank_published")):
                for eps in (0.01, 0.1):
                    at = {"statistic": statistic, "eps": eps, "value": value + number + eps}
                    rows.append(here | at)
            ritz = here | {"probe": 0, "index": 0, "eps": np.nan}
            rows.append(ritz | {"statistic": "ritz_value", "value": 7.0})
            rows.append(ritz | {"statistic": "ritz_weight", "value": 1.0})
    path = folder / "split-short" / "mlp" / "sgd" / "seeds0.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_eigenvalues_have_a_table_of_their_own(tmp_path):
    path = spectrum(tmp_path)
    rest, single = of_measures.measure([path]), of_measures.spectra([path])
    assert len(rest) + len(single) == len(pd.read_parquet(path))
    assert set(single["statistic"]) == {"ritz_value", "ritz_weight"}
    assert not set(rest["statistic"]) & set(single["statistic"])


def test_rank_at_a_start_stands_beside_what_was_learned_then(tmp_path):
    hessian = of_measures.measure([spectrum(tmp_path)])
    names = {"benchmark": "split-short", "architecture": "mlp", "strategy": "sgd", "seed": 0}
    learned = [{**names, "task": task, "metric": "online", "value": task / 10} for task in (1, 2)]
    found = rank_and_performance(hessian, pd.DataFrame(learned))
    rows = {(row.estimator, row.eps): row.epsilon_rank for row in found.itertuples()}
    assert rows == pytest.approx(
        {
            ("quadrature", 0.01): 0.31,
            ("quadrature", 0.1): 0.4,
            ("published", 0.01): 1.31,
            ("published", 0.1): 1.4,
        }
    )
    assert (found["task"] == 2).all()
    assert (found["performance"] == 0.2).all()


def test_runs_names_the_diverged_seed_and_where(built):
    diverged = built["runs"][built["runs"]["status"] == "diverged"]
    assert diverged[[*tables.ID, "diverged_task"]].values.tolist() == [list(DIVERGED)]
    assert set(built["runs"]["evidence"]) == {"stand-in"}
    metric = built["runs"].groupby("benchmark")["scenario_metric"].unique()
    assert {name: list(found) for name, found in metric.items()} == {
        name: [value] for name, (_, value) in BENCHMARKS.items()
    }


def test_real_data_keeps_the_evidence_of_the_spec(tmp_path):
    records, _ = write_study(tmp_path, stand_in=False)
    assert set(of_runs.runs(of_runs.read_records(records), ABOUT)["evidence"]) == {"reduced"}


def test_scores_are_those_of_the_matrix_up_to_t(built):
    cells = one(built["accuracy"], **SGD, metric="task_masked")
    matrix = cells.pivot(index="after_task", columns="task", values="value").to_numpy()
    for t in (2, 3, 5):
        row = one(built["scores"], **SGD, metric="task_masked", after_task=t).iloc[0]
        until = matrix[: t + 1, :t]
        for name in SCORES:
            assert row[name] == pytest.approx(getattr(statistics, name)(until), abs=1e-12)
        lost = np.mean([max(matrix[1:t, j]) - matrix[t, j] for j in range(t - 1)])
        assert row["forgetting"] == pytest.approx(lost, abs=1e-12)


def test_after_one_task_only_accuracies_are_defined(built):
    row = one(built["scores"], **SGD, metric="task_masked", after_task=1).iloc[0]
    assert np.isfinite(row[["average_accuracy", "learning_accuracy"]].astype(float)).all()
    undefined = ["forgetting", "backward_transfer", "forward_transfer"]
    assert row[undefined].isna().all()


def test_diverged_seed_has_no_scores_from_its_divergence_on(built):
    names = dict(zip(tables.ID, DIVERGED[:4], strict=True))
    rows = one(built["scores"], **names, metric="task_masked")
    assert rows["average_accuracy"].isna().tolist() == [False] * 3 + [True] * 7
    assert rows["forgetting"].isna().tolist() == [True] + [False] * 2 + [True] * 7


def test_joint_evaluated_once_has_only_its_final_accuracy(built):
    rows = one(built["scores"], **{**SGD, "strategy": "joint"}, metric="task_masked")
    assert rows["average_accuracy"].notna().tolist() == [False] * 4 + [True]
    assert rows[["forgetting", "backward_transfer", "learning_accuracy"]].isna().all(axis=None)


def test_unseen_tasks_left_out_leave_forward_transfer_alone_undefined(built):
    seen = built["accuracy"].query("task <= after_task")
    table = one(scores(seen), **SGD, metric="task_masked").set_index("after_task")
    every = one(built["scores"], **SGD, metric="task_masked").set_index("after_task")
    assert table["forward_transfer"].isna().all()
    rest = [name for name in SCORES if name != "forward_transfer"]
    pd.testing.assert_frame_equal(table[rest], every[rest])


def test_peak_normalised_divides_by_the_running_maximum(built):
    layer = one(built["erank"], **SGD, matrix="activation", layer="stage3")
    raw = one(layer, statistic=ranks.ERANK).set_index("task")["value"]
    share = one(layer, statistic=ranks.ERANK + ranks.PEAK).set_index("task")["value"]
    assert 0 in raw.index
    assert 0 not in share.index
    for task in share.index:
        assert share[task] == pytest.approx(raw[task] / raw.loc[1:task].max(), rel=1e-12)
    assert share.max() == 1.0
    assert share.iloc[-1] < 0.9


def test_a_representative_rank_is_also_a_part_of_what_it_can_be(built):
    layers = one(built["erank"], **SGD, matrix="weight", statistic=ranks.ERANK, task=2)
    table = ranks.representative_rank(built["erank"])
    found = one(table, **SGD, matrix="weight", statistic=ranks.ERANK + ranks.POSSIBLE, task=2)
    most = np.minimum(layers["rows"], layers["columns"])
    assert found["value"].item() == pytest.approx((layers["value"] / most).mean())


def test_forgetting_rank_joins_forgetting_with_the_rank_lost(built):
    table = built["forgetting_rank"]
    assert table["task"].min() == 2
    mine = one(table, **SGD, metric="task_masked", task=4).set_index("matrix")
    forgot = one(built["scores"], **SGD, metric="task_masked", after_task=4)["forgetting"].item()
    assert set(mine["forgetting"]) == {forgot}
    share = one(built["erank"], **SGD, task=4, statistic=ranks.ERANK + ranks.PEAK)
    last = one(share, matrix="activation", layer="stage5")["value"].item()
    mean = one(share, matrix="weight")["value"].mean()
    assert mine.loc["activation", "rank_lost"] == pytest.approx(1 - last)
    assert mine.loc["weight", "rank_lost"] == pytest.approx(1 - mean)
    assert mine["layer"].to_dict() == {"activation": "last", "weight": "mean"}


def test_summary_counts_diverged_seeds_and_leaves_them_out_of_the_mean(built):
    names = dict(zip(tables.GROUP, DIVERGED[:3], strict=True))
    statistic = "average_accuracy_class_incremental"
    row = one(built["summary"], **names, statistic=statistic).iloc[0]
    assert (row["n_seeds"], row["n_diverged"]) == (2, 1)
    final = one(built["scores"], **names, metric="class_incremental", after_task=10)
    mean, low, high = statistics.interval(final["average_accuracy"].dropna().to_numpy())
    assert (row["mean"], row["ci_low"], row["ci_high"]) == pytest.approx((mean, low, high))


def test_summary_has_a_row_for_what_was_not_measured(built):
    joint = one(built["summary"], strategy="joint", statistic="forgetting_task_masked")
    assert joint["mean"].isna().all()
    assert set(joint["n_seeds"]) == {0}
    rank = built["summary"].query("strategy == 'sgd'")["statistic"]
    assert "erank_sigma_uncentred_peak_normalised_weight_mean" in set(rank)


def test_written_table_reads_back_as_it_was(built, tmp_path):
    for name, table in built.items():
        tables.write(table, tmp_path / f"{name}.csv")
        again = tables.read(tmp_path / f"{name}.csv")
        pd.testing.assert_frame_equal(again, table, check_dtype=False, rtol=1e-9)


def test_an_entry_called_none_is_not_missing(tmp_path):
    table = pd.DataFrame({"strategy": ["none", "nan"], "value": [1.0, np.nan]})
    tables.write(table, tmp_path / "t.csv")
    assert tables.read(tmp_path / "t.csv")["strategy"].tolist() == ["none", "nan"]


def test_a_seed_in_two_packs_is_refused(study):
    with pytest.raises(UserError, match=r"two rows for benchmark=.*seed=0"):
        of_runs.runs(of_runs.read_records([study[0][0], study[0][0]]), ABOUT)


def collected(out: Path, name: str, **given: list[Path]) -> pd.DataFrame:
    parser = argparse.ArgumentParser()
    collect.add_arguments(parser)
    words = ["--table", name, "--study", "collapse", "--preset", "quick", "--code", "c"]
    words += ["--about", json.dumps(ABOUT)]
    for option, paths in given.items():
        words += [f"--{option}", *map(str, paths)]
    path = out / f"{name}.csv"
    collect.run(parser.parse_args([*words, "--out", str(path)]))
    return tables.read(path)


def test_collect_builds_the_whole_chain(study, built, tmp_path):
    collected(tmp_path, "runs", runs=study[0])
    collected(tmp_path, "accuracy", runs=study[0])
    collected(tmp_path, "erank", runs=study[0], measures=study[1])
    collected(tmp_path, "scores", tables=[tmp_path / "accuracy.csv"])
    inputs = [tmp_path / f"{name}.csv" for name in ("scores", "erank", "runs")]
    for name in ("forgetting_rank", "summary", "representative_rank"):
        table = collected(tmp_path, name, tables=inputs)
        pd.testing.assert_frame_equal(table, built[name], check_dtype=False, rtol=1e-7)


def test_collect_says_which_table_is_missing(study, tmp_path):
    with pytest.raises(UserError, match=r"summary is derived from .*runs is not given"):
        collected(tmp_path, "summary", tables=[tmp_path / "scores.csv"])
    with pytest.raises(UserError, match="no measures to collect it from"):
        collected(tmp_path, "erank", runs=study[0])


def test_continued_runs_know_what_they_started_from():
    names = {"benchmark": "warm-start", "architecture": "mlp"}
    started = {"started_strategy": "warm-up", "started_task": 1}
    fates = {"full~5": 5.0, "full~10": 10.0}
    common = {**names, "status": "finished", "classes": 10}
    runs = [{**common, "strategy": "warm-up", "seed": seed} for seed in (0, 1)]
    runs += [
        {**common, **started, "strategy": name, "seed": seed, "started_epoch": epoch}
        for name, epoch in fates.items()
        for seed in (0, 1)
    ]
    runs[-1]["status"] = "diverged"
    collapse = [
        {**names, "strategy": "warm-up", "seed": seed, "task": 1, "epoch": epoch, "mode": mode}
        | {"layer": "features", "statistic": f"nc{n}", "value": n + epoch + seed / 10}
        for seed in (0, 1)
        for epoch in (5.0, 10.0, 0.0)
        for mode in ("eval", "train")
        for n in (1, 2, 3, 4)
        if (seed, epoch) != (1, 10.0)
    ]
    collapse.append({**collapse[0], "statistic": "equinorm_means"})
    tested = [
        {**names, "strategy": name, "seed": seed, "after_task": after, "task": after}
        | {"metric": "task_masked", "value": 0.5 + after / 10 if epoch == 5 else 0.14}
        for name, epoch in fates.items()
        for seed in (0, 1)
        for after in (1, 2)
        if (seed, epoch) != (1, 10.0)
    ]
    seen = [
        {**names, "strategy": "warm-up", "seed": seed, "task": 1, "epoch": epoch}
        | {"statistic": "accuracy", "value": epoch / 20}
        for seed in (0, 1)
        for epoch in range(1, 11)
    ]
    frames = [pd.DataFrame(rows) for rows in (runs, tested, collapse, seen)]
    found = continued(*frames)
    assert len(found) == 3 * 2 + 1
    row = one(found, strategy="full~5", seed=1, mode="train").iloc[0]
    assert (row["arm"], row["started_strategy"], row["task"]) == ("full", "warm-up", 1)
    assert [row[f"nc{n}"] for n in (1, 2, 3, 4)] == pytest.approx([6.1, 7.1, 8.1, 9.1])
    assert (row["training_accuracy_before"], row["status"]) == (0.25, "finished")
    assert (row["accuracy_before"], row["accuracy"]) == (0.6, 0.7)
    assert set(one(found, strategy="full~10", seed=0)["status"]) == {"chance"}
    lost = one(found, strategy="full~10", seed=1).iloc[0]
    assert lost["status"] == "diverged"
    assert lost[["mode", "nc1", "accuracy"]].isna().all()
