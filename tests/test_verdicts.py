import argparse
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetting import claims, tables, verdicts
from forgetting.claims import Holds
from forgetting.commands import judge
from forgetting.errors import UserError
from forgetting.statistics import Interval, correlation_interval, interval, prediction_interval

FORGETTING = {"sgd": [0.50, 0.52, 0.54, 0.56], "lwf": [0.20, 0.31, 0.19, 0.30]}
TESTED = "claimed: above 0.05"
SETTINGS = {"table": "scores", "column": "forgetting", "where": {"strategy": "sgd"}}


def make(forgetting=FORGETTING, *, diverged=(), evidence="protocol", stand_in=False):
    """Tables of one benchmark and network: the forgetting of each seed of each strategy."""
    runs, scores = [], []
    for strategy, values in forgetting.items():
        for seed, value in enumerate(values):
            run = {
                "benchmark": "split-mnist",
                "architecture": "mlp",
                "strategy": strategy,
                "seed": seed,
            }
            gone = (strategy, seed) in diverged
            runs.append(
                {
                    **run,
                    "pack": "0-3",
                    "status": "diverged" if gone else "finished",
                    "stand_in": stand_in,
                    "evidence": evidence,
                    "scenario_metric": "task_masked",
                    "tasks": 2,
                }
            )
            if not gone:
                scores.append(
                    {**run, "metric": "task_masked", "after_task": 2, "forgetting": value}
                )
    columns = [*list(runs[0])[:4], "metric", "after_task", "forgetting"]
    return {"runs": pd.DataFrame(runs), "scores": pd.DataFrame(scores, columns=columns)}


def entry(**changes):
    return {
        "statement": "SGD forgets",
        "source": "section 4",
        "statistic": "value",
        "settings": SETTINGS,
        "holds": {"above": 0.05},
        **changes,
    }


def judged(frames, **changes):
    """The only row of the claims table."""
    found = verdicts.judge(claims.expand({"forgets": entry(**changes)}), frames)
    assert list(found.columns) == verdicts.COLUMNS
    return found.iloc[0]


SIDES = [
    ({"above": 0}, (0.1, 0.3), "reproduced"),
    ({"above": 0}, (-0.3, -0.1), "contradicted"),
    ({"above": 0}, (-0.1, 0.1), "inconclusive"),
    ({"above": 0}, (0.0, 0.1), "inconclusive"),  # it touches the margin
    ({"above": 0}, (-0.1, 0.0), "inconclusive"),
    ({"below": 1}, (0.1, 0.3), "reproduced"),
    ({"below": 1}, (1.1, 1.3), "contradicted"),
    ({"below": 1}, (0.9, 1.1), "inconclusive"),
    ({"between": [0, 1]}, (0.1, 0.9), "reproduced"),
    ({"between": [0, 1]}, (0.0, 1.0), "reproduced"),  # a band holds its ends
    ({"between": [0, 1]}, (-0.5, -0.1), "contradicted"),
    ({"between": [0, 1]}, (1.1, 1.2), "contradicted"),
    ({"between": [0, 1]}, (-0.1, 0.5), "inconclusive"),
    ({"between": [0, 1]}, (-0.1, 1.1), "inconclusive"),
    ({"above": 0}, (float("nan"), float("nan")), "inconclusive"),
    ({"between": [0, 1]}, (float("nan"), float("nan")), "inconclusive"),
]


@pytest.mark.parametrize(("holds", "limits", "verdict"), SIDES)
def test_side_of_the_margin(holds, limits, verdict):
    found = Interval(sum(limits) / 2, *limits)
    assert verdicts.side(Holds.model_validate(holds), found) == verdict


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 2))
@settings(max_examples=200, deadline=None)
def test_opposite_claims_never_share_a_verdict(margin, low, width):
    found = Interval(low + width / 2, low, low + width)
    above = verdicts.side(Holds(above=margin), found)
    below = verdicts.side(Holds(below=margin), found)
    opposite = {"reproduced": "contradicted", "contradicted": "reproduced"}
    assert below == opposite.get(above, "inconclusive")


@given(st.lists(st.floats(0, 1), min_size=3, max_size=8), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_verdict_follows_from_the_numbers_in_the_row(values, margin):
    row = judged(make({"sgd": values}), holds={"above": margin})
    expected = "inconclusive"
    if row["ci_low"] > margin:
        expected = "reproduced"
    elif row["ci_high"] < margin:
        expected = "contradicted"
    assert row["verdict"] == expected


def test_reproduced():
    row = judged(make(), paper_value=0.5)
    assert row["verdict"] == "reproduced"
    expected = interval(FORGETTING["sgd"])
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(expected)
    assert (row["n_seeds"], row["evidence"], row["note"]) == (4, "protocol", TESTED)
    assert (row["claim"], row["statement"], row["source"]) == (
        "forgets",
        "SGD forgets",
        "section 4",
    )
    assert row["paper_value"] == 0.5


def test_contradicted():
    assert judged(make(), holds={"below": 0.05})["verdict"] == "contradicted"


def test_inconclusive_says_why():
    row = judged(make(), holds={"above": 0.53}, note="Their figure 2.")
    assert row["verdict"] == "inconclusive"
    assert row["note"] == (
        "the interval reaches across the margin; claimed: above 0.53; Their figure 2."
    )


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_are_inconclusive(count):
    row = judged(make({"sgd": [0.5] * count}))
    assert (row["verdict"], row["n_seeds"]) == ("inconclusive", count)
    assert f"only {count} seed" in row["note"]
    assert judged(make({"sgd": [0.5] * 3}))["verdict"] == "reproduced"


def test_stand_in_data_is_always_inconclusive():
    for frames in (make(evidence="stand-in"), make(stand_in=True)):
        row = judged(frames)
        assert (row["verdict"], row["evidence"]) == ("inconclusive", "stand-in")
        assert row["note"] == f"stand-in data cannot bear a verdict; {TESTED}"
        assert judged(frames, holds={"below": 0})["verdict"] == "inconclusive"


@pytest.mark.parametrize("evidence", ["protocol", "reduced", "other data", "other simulator"])
def test_evidence_is_that_of_the_runs(evidence):
    row = judged(make(evidence=evidence))
    assert (row["verdict"], row["evidence"]) == ("reproduced", evidence)


def test_the_weakest_evidence_of_the_runs_touched_counts():
    frames = make()
    frames["runs"].loc[lambda runs: runs["strategy"] == "lwf", "evidence"] = "other data"
    assert judged(frames)["evidence"] == "protocol"  # lwf is not read
    compared = {
        "statistic": "difference",
        "settings": {
            "table": "scores",
            "column": "forgetting",
            "of": {"strategy": "sgd"},
            "minus": {"strategy": "lwf"},
            "where": {},
        },
    }
    assert judged(frames, **compared)["evidence"] == "other data"
    order = verdicts.WEAKEST_FIRST
    for weaker, stronger in itertools.pairwise(order):
        runs = pd.DataFrame({"evidence": [stronger, weaker, stronger], "stand_in": False})
        assert verdicts.weakest(runs) == weaker
    with pytest.raises(UserError, match="hearsay"):
        judged(make(evidence="hearsay"))


def test_missing_tables_and_rows_are_not_run():
    frames = make()
    for without, reason in (("scores", "scores.csv is missing"), ("runs", "runs.csv is missing")):
        row = judged({name: frame for name, frame in frames.items() if name != without}, note="n")
        assert (row["verdict"], row["n_seeds"], row["evidence"]) == ("not run", 0, "")
        assert row["note"] == f"{reason}; n"
        assert row[["value", "ci_low", "ci_high"]].isna().all()
    settings = {**SETTINGS, "where": {"strategy": "ewc"}}
    assert judged(frames, settings=settings)["note"] == "no run with strategy ewc"
    assert judged(frames, settings=settings)["verdict"] == "not run"
    settings = {**SETTINGS, "where": {"strategy": "sgd", "metric": "return"}}
    row = judged(frames, settings=settings)
    assert (row["verdict"], row["note"]) == (
        "not run",
        "scores.csv has no rows with strategy sgd, metric return",
    )


def test_a_missing_table_is_not_run_even_where_seeds_diverged():
    frames = make(diverged=[("sgd", 0)])
    del frames["scores"]
    assert judged(frames)["verdict"] == "not run"


def test_diverged_seeds_are_left_out_and_named():
    row = judged(make(diverged=[("sgd", 1)]))
    assert (row["verdict"], row["n_seeds"]) == ("reproduced", 3)
    assert row["note"] == f"1 of 4 seeds diverged (1); {TESTED}"
    kept = [value for seed, value in enumerate(FORGETTING["sgd"]) if seed != 1]
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(interval(kept))


def test_all_seeds_diverged_is_inconclusive_and_was_run():
    row = judged(make(diverged=[("sgd", seed) for seed in range(4)]))
    assert (row["verdict"], row["n_seeds"]) == ("inconclusive", 0)
    assert row["note"] == (
        f"no seed has a value, 3 are needed; 4 of 4 seeds diverged (0, 1, 2, 3); {TESTED}"
    )
    assert np.isnan(row["value"])


def test_seeds_without_a_value_are_told_apart_from_diverged_ones():
    frames = make(diverged=[("sgd", 0)])
    frames["scores"].loc[lambda rows: rows["seed"] == 3, "forgetting"] = np.nan
    row = judged(frames)
    assert (row["verdict"], row["n_seeds"]) == ("inconclusive", 2)
    assert "1 of 4 seeds diverged (0)" in row["note"]
    assert "1 of 4 seeds have no value (3)" in row["note"]


def precondition(holds, strategy="lwf"):
    return {
        "statistic": "value",
        "settings": {**SETTINGS, "where": {"strategy": strategy}},
        "holds": holds,
        "text": "LwF forgets",
    }


def test_a_met_precondition_leaves_the_verdict():
    row = judged(make(), precondition=precondition({"above": 0.05}))
    assert (row["verdict"], row["note"]) == ("reproduced", TESTED)


def test_an_unmet_precondition_is_inconclusive():
    for holds in ({"above": 0.25}, {"above": 0.9}):
        row = judged(make(), precondition=precondition(holds))
        assert row["verdict"] == "inconclusive"
        assert row["note"].startswith("precondition unmet: LwF forgets (0.25 [")
        assert row["note"].endswith(
            f"is not wholly above {holds['above']}); but for that it would be reproduced; {TESTED}"
        )
        assert row["value"] == pytest.approx(0.53)  # ours is shown all the same


def test_a_precondition_needs_three_seeds_and_runs():
    frames = make({"sgd": FORGETTING["sgd"], "lwf": [0.2, 0.2]})
    row = judged(frames, precondition=precondition({"above": 0.05}))
    assert row["verdict"] == "inconclusive"
    assert "only 2 seeds have a value" in row["note"]
    row = judged(frames, precondition=precondition({"above": 0.05}, strategy="ewc"))
    assert row["verdict"] == "inconclusive"
    assert row["note"] == (
        "precondition not run: LwF forgets (no run with strategy ewc); "
        f"but for that it would be reproduced; {TESTED}"
    )


SINGLE = {"single_run": True, "width_at_most": 0.2, "holds": None}


def test_a_single_run_value_is_compared_with_the_prediction_interval():
    expected = prediction_interval(FORGETTING["sgd"])
    confidence = interval(FORGETTING["sgd"])
    value = (confidence.high + expected.high) / 2  # outside the one, inside the other
    row = judged(make(), paper_value=value, **SINGLE)
    assert row["verdict"] == "reproduced"
    one = f"the interval is for one further run; the paper's value is taken as {value:g}"
    assert row["note"] == one
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(expected)
    row = judged(make(), paper_value=expected.high + 0.01, **SINGLE)
    assert row["verdict"] == "contradicted"


@pytest.mark.parametrize("evidence", ["reduced", "other data"])
def test_how_high_a_value_is_says_something_under_the_protocol_alone(evidence):
    expected = prediction_interval(FORGETTING["sgd"])
    frames = make()
    frames["runs"]["evidence"] = evidence
    for value, but_for in ((expected.high + 0.01, "contradicted"), (0.53, "reproduced")):
        row = judged(frames, paper_value=value, **SINGLE)
        assert row["verdict"] == "inconclusive"
        assert row["note"].startswith(f"the level of a value says little with evidence {evidence}")
        assert f"but for that it would be {but_for}" in row["note"]
        assert row["value"] == pytest.approx(expected.mean)


def test_a_number_that_is_the_margin_itself_is_inconclusive():
    frames = make({"sgd": [0.5, 0.5, 0.5], "lwf": [0.2, 0.2, 0.2]})
    row = judged(frames, holds={"above": 0.5})
    assert row["verdict"] == "inconclusive"
    assert row["note"].startswith("the number of every seed is the margin itself; ")


def test_a_wide_prediction_interval_agrees_with_anything_and_so_with_nothing():
    row = judged(make(), paper_value=0.53, **{**SINGLE, "width_at_most": 0.05})
    assert row["verdict"] == "inconclusive"
    assert "wide, more than the 0.05 allowed" in row["note"]
    row = judged(make(), paper_value=0.9, **{**SINGLE, "width_at_most": 0.05})
    assert row["verdict"] == "contradicted"


def test_a_single_run_value_may_be_read_to_a_precision():
    near = {**SINGLE, "holds": {"between": [0.64, 0.66]}}
    assert judged(make(), paper_value=0.65, **near)["verdict"] == "contradicted"
    wider = {**SINGLE, "holds": {"between": [0.60, 0.70]}}
    assert judged(make(), paper_value=0.65, **wider)["verdict"] == "reproduced"


def test_single_run_on_stand_in_or_few_seeds_is_inconclusive():
    assert judged(make(stand_in=True), paper_value=0.53, **SINGLE)["verdict"] == "inconclusive"
    few = make({"sgd": [0.5, 0.5]})
    assert judged(few, paper_value=0.5, **SINGLE)["verdict"] == "inconclusive"


@pytest.mark.parametrize(("count", "verdict"), [(3, "inconclusive"), (6, "reproduced")])
def test_a_share_of_seeds_has_the_binomial_interval(count, verdict):
    runs = make({"sgd": [0.5] * count})["runs"]
    about = {"arm": "nc1", "epoch": 100.0, "status": "diverged"}
    frames = {"runs": runs, "continued": runs[["benchmark", "strategy", "seed"]].assign(**about)}
    settings = {"where": {"strategy": "sgd"}}
    row = judged(frames, statistic="failure", settings=settings, holds={"above": 0.5})
    assert row["value"] == 1
    assert row["ci_low"] == pytest.approx(0.025 ** (1 / count))  # (1 - p)^n leaves 0.025
    assert row["verdict"] == verdict


def test_seeds_that_agree_on_a_grid_are_not_certain_without_end():
    # Two of two pairs in order in each of three seeds: tau is 1, in steps of 2.
    frames = make({"sgd": [0.5, 0.6, 0.7], "lwf": [0.8, 0.9, 0.95]})
    settings = {**SETTINGS, "where": {}, "order": ["sgd", "lwf"], "method": "kendall"}
    row = judged(frames, statistic="rank_order", settings=settings, holds={"above": 0})
    half = 4.302652729911275 * 2 / 6  # t of 2 degrees, 2 / sqrt(12) / sqrt(3)
    assert (row["value"], row["ci_low"]) == pytest.approx((1, 1 - half))
    assert row["verdict"] == "inconclusive"


def test_a_number_divided_by_zero_is_none():
    frames = make()
    frames["scores"]["learned"] = [1.0, 0.0, 1.0, 1.0] * 2
    sides = {"of": {"strategy": "sgd"}, "minus": {"strategy": "lwf"}}
    settings = {"table": "scores", "column": "forgetting", "per": "learned", "where": {}, **sides}
    row = judged(frames, statistic="difference", settings=settings, holds={"above": 0})
    assert row["n_seeds"] == 3
    assert "1 of 4 seeds have no value (1)" in row["note"]


def test_correlations_are_judged_on_the_z_scale():
    rng = np.random.default_rng(0)
    frames = make()
    rows = [
        {**{c: run[c] for c in ("benchmark", "architecture", "strategy", "seed")}, "task": task}
        for run in frames["runs"].to_dict("records")
        for task in range(2, 8)
    ]
    points = pd.DataFrame(rows)
    points["x"] = points["task"] + rng.normal(size=len(points))
    points["y"] = points["task"] + rng.normal(size=len(points))
    frames["points"] = points
    settings = {"table": "points", "x": "x", "y": "y", "where": {"strategy": "sgd"}}
    row = judged(frames, statistic="correlation", settings=settings, holds={"above": 0})
    sgd = points[points["strategy"] == "sgd"]
    each = [np.corrcoef(seed["x"], seed["y"])[0, 1] for _, seed in sgd.groupby("seed")]
    expected = correlation_interval(each)
    assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"statistic": "hearsay"},
            r'claims\.forgets\.statistic: found "hearsay", which is not a file',
        ),
        ({"settings": {**SETTINGS, "colour": 1}}, r"claims\.forgets\.settings\.colour"),
        ({"settings": {**SETTINGS, "column": "x"}}, "no column 'x'"),
    ],
)
def test_a_claim_that_cannot_be_computed_is_the_users_mistake(changes, message):
    with pytest.raises(UserError, match=message):
        judged(make(), **changes)


def test_the_command_reads_tables_and_writes_claims(tmp_path):
    for name, frame in make(diverged=[("sgd", 1)]).items():
        tables.write(frame, tmp_path / f"{name}.csv")
    entries = {
        "sgd": entry(paper_value="severe, über 0.5"),
        "each": entry(
            settings={**SETTINGS, "where": {"strategy": "{strategy}"}},
            for_each={"strategy": ["lwf", "ewc"]},
        ),
        "other": entry(settings={"table": "erank", "where": {}}),
    }
    parser = argparse.ArgumentParser()
    judge.add_arguments(parser)
    given = [str(tmp_path / f"{name}.csv") for name in ("runs", "scores", "erank")]
    out = tmp_path / "claims.csv"
    line = ["--claims", json.dumps(entries), "--code", "f", "--out", str(out), "--tables", *given]
    line += ["--out-basis", str(out.with_suffix(".json"))]
    judge.run(parser.parse_args(line))
    found = pd.read_csv(out)
    assert list(found.columns) == verdicts.COLUMNS
    assert list(found["claim"]) == ["sgd", "each[lwf]", "each[ewc]", "other"]
    assert list(found["verdict"]) == ["reproduced", "reproduced", "not run", "not run"]
    assert list(found["n_seeds"]) == [3, 4, 0, 0]
    assert found["paper_value"][0] == "severe, über 0.5"
    assert list(json.loads(out.with_suffix(".json").read_text())) == list(found["claim"])
    assert [path.name for path in tmp_path.glob(".*")] == []
    with pytest.raises(UserError, match="not JSON"):
        judge.run(parser.parse_args([*line[:1], "{", *line[2:]]))
