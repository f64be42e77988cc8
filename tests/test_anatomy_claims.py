"""The claims of the anatomy study, judged on tables whose answer was planted.

The tables say, with a little noise, either what the paper says or the opposite. Rows that a claim
must not read (other moments, layers, estimators, dimensions) hold the opposite of the answer.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from forgetting import study as studies
from forgetting import tables, verdicts
from forgetting.claims import expand
from forgetting.tables.scores import scores
from studies import REPOSITORY

CLAIMS = expand(studies.load(REPOSITORY, "anatomy").raw["claims"])
ABOUT_ONE = {name: claim for name, claim in CLAIMS.items() if "resnet" in name}
LAYERS = ["stem", "stage1", "stage2", "stage3", "stage4", "features", "head"]
FEATURES = [16, 32, 64, 128, 256, 256, 5]
NETWORKS = ["split-cifar10", "cifar100-shift"]
METHODS = {
    "ewc": ["ewc~30", "ewc~100", "ewc~300"],
    "si": ["si~0.03", "si~0.1", "si~0.3"],
    "replay": ["replay~0.1", "replay~0.25", "replay~0.5"],
}
STRENGTH = {entry: (i + 1) / 3 for rungs in METHODS.values() for i, entry in enumerate(rungs)}
FREEZE = {"freeze~1": 0.05, "freeze~2": 0.05, "freeze~5": -0.1}
RATES = ["sgd-lr~0.001", "sgd-lr~0.003", "sgd-lr~0.01", "sgd-lr~0.03"]
SHARES = {"0": 0.05, "0.1": -0.14, "0.2": -0.16, "0.3": -0.05, "0.5": 0.0, "1": 0.1}
AFTER = {  # task-1 accuracy after task 2, over 0.6, where the paper is right
    "setup-a-objects": 0.1,
    "artifacts-artifacts": -0.1,
    **{f"{mix}~{share}": v for mix in ("dilution", "interpolation") for share, v in SHARES.items()},
}
ONLY_SGD = [
    *AFTER,
    *("setup-a-animals", "setup-b-objects", "setup-b-animals", "setup-c", "artifacts-animals"),
    *("setup-a-animals-other", "setup-a-objects-other"),
]
LOST = {  # what each class loses, over 0.3
    "setup-b-objects": {"ship": 0.1, "truck": 0.1, "deer": -0.1, "dog": -0.1},
    "setup-b-animals": {"ship": -0.1, "truck": -0.1, "deer": 0.1, "dog": 0.1},
    "setup-a-animals": {"ship": 0.05, "truck": 0.0},
    "setup-a-objects": {"ship": 0.05, "truck": 0.0},
    "setup-a-animals-other": {"ship": -0.05, "truck": 0.0, "other": 0.4},
    "setup-a-objects-other": {"ship": -0.05, "truck": 0.0, "other": 0.4},
    "setup-c": {
        **{"large_carnivores": 0.5, "medium_mammals": 0.1, "small_mammals": 0.1},
        **{"food_containers": 0.0, "household_electrical_devices": 0.0, "vehicles_1": -0.1},
    },
}
SEEDS = 4
PLACE = "mixture-where-forgetting-is-worst"


def planted(sign, *, sgd_loss=0.3):
    """All tables of one network; ``sign`` 1: as the paper says, -1: the opposite."""
    makers = {
        "accuracy": _accuracy,
        "learning_curve": _learning_curve,
        "cka": _cka,
        "subspace": _subspace,
        "rewind": _rewind,
        "overlap": _overlap,
        "logit_change": _logit_change,
    }
    on_both = ["sgd", *STRENGTH, *FREEZE, *RATES]
    entries = [*itertools.product(NETWORKS, on_both), *((name, "sgd") for name in ONLY_SGD)]
    rows = {name: [] for name in (*makers, "runs")}
    rng = np.random.default_rng(0)
    for (benchmark, strategy), seed in itertools.product(entries, range(SEEDS)):
        run = dict(zip(tables.ID, (benchmark, "resnet", strategy, seed), strict=True))
        facts = {"pack": "0-4", "status": "finished", "stand_in": False, "evidence": "protocol"}
        rows["runs"].append({**run, **facts, "scenario_metric": "task_masked", "tasks": 2})
        for name, make in makers.items():
            for row in make(run, sign, sgd_loss):
                noisy = row["value"] + rng.normal(0, 0.001)
                rows[name].append({**run, **row, "value": noisy})
    found = {name: pd.DataFrame(table) for name, table in rows.items()}
    return {**found, "scores": scores(found["accuracy"])}


def _accuracy(run, sign, sgd_loss):
    benchmark, strategy = run["benchmark"], run["strategy"]
    first = 0.9 - sgd_loss + sign * AFTER.get(benchmark, 0.0)
    first += 0.6 * sgd_loss if strategy in STRENGTH else 0.0
    second = 0.8 + (FREEZE.get(strategy, 0.0) if sign > 0 else -FREEZE.get(strategy, 0.0))
    for metric, factor in (("task_masked", 1), ("class_incremental", -1)):
        for after, task, value in (
            *((0, 1, 0.5), (0, 2, 0.5), (1, 1, 0.9), (1, 2, 0.5)),
            *((2, 1, first), (2, 2, second)),
        ):
            yield {"metric": metric, "after_task": after, "task": task, "value": factor * value}


def _learning_curve(run, sign, sgd_loss):
    for output, more in LOST.get(run["benchmark"], {}).items():
        level = 0.5 if output in ("ship", "deer") else 0.9  # classes differ from the start
        lost = sign * 0.3 if output == "large_carnivores" else sgd_loss + sign * more
        for task, epoch, value in ((1, 0.5, 2), (1, 0, level), (2, 1, -2), (2, 0, level - lost)):
            for of_task, statistic in ((1, "task_masked"), (1, "class_incremental")):
                about = {"task": task, "epoch": epoch, "of_task": of_task, "output": output}
                factor = 1 if statistic == "task_masked" else -1
                yield {**about, "statistic": statistic, "value": factor * value}
            yield {**about, "of_task": 2, "statistic": "task_masked", "value": -value}


def _stages():
    """Layer, depth, features and place from 0 to 1; features repeats the last hidden stage."""
    for depth, (layer, features) in enumerate(zip(LAYERS, FEATURES, strict=True), start=1):
        place = {6: 1.0, 7: float("nan")}.get(depth, (depth - 1) / 4)
        yield {"layer": layer, "depth": depth}, features, place


def _cka(run, sign, sgd_loss):
    if run["benchmark"] not in NETWORKS or run["strategy"] in (*FREEZE, *RATES):
        return
    for about, _, place in _stages():
        kept = 0.3 * place * STRENGTH.get(run["strategy"], 0.0)
        value = 0.5 - sign * (0.3 * place - kept) if about["layer"] != "head" else sign * 9.0
        for statistic, bias in (("cka_biased", 0.02), ("cka_debiased", 0.0)):
            about = {**about, "task": 2, "statistic": statistic, "inputs": "task 1"}
            yield {**about, "value": value + bias}


def _subspace(run, sign, sgd_loss):
    strategy = run["strategy"]
    if run["benchmark"] not in NETWORKS or strategy in (*FREEZE, *RATES):
        return
    toward = -1 if strategy.startswith("replay") else 1
    for about, features, place in _stages():
        head = about["layer"] == "head"
        values = {
            "task1-task1_post_task2": sign * 9.0 if head else 0.5 - sign * 0.4 * place,
            "task2-task1_post_task2": 0.5 + sign * toward * 0.2 * STRENGTH.get(strategy, 0.0),
            "task1-task2": 0.5 + sign * place if not head else 0.0,
        }
        for (condition, value), k in itertools.product(values.items(), (5, 10)):
            about = {**about, "task": 2, "condition": condition, "k": k}
            shown = value if k == 10 else 1 - value
            yield {**about, "statistic": "subspace_similarity", "value": shown}
            yield {**about, "statistic": "chance", "value": k / features / 10}


def _rewind(run, sign, sgd_loss):
    if run["benchmark"] not in NETWORKS or run["strategy"] != "sgd":
        return
    stages = 5 if run["benchmark"] == "split-cifar10" else 6
    for number, top in itertools.product(range(stages + 1), (True, False)):
        inside = 0 < number < stages
        value = 0.6 + 0.3 * number / stages + sign * (0.1 if top else -0.1) * inside
        about = {"task": 2, "statistic": "accuracy_task1", "stages_reset": number}
        yield {**about, "direction": "top-down" if top else "bottom-up", "value": value}


def _overlap(run, sign, sgd_loss):
    benchmark = run["benchmark"]
    _, _, share = benchmark.partition("~")
    value = 0.5 + sign * 0.3 * float(share or (benchmark == "setup-a-objects"))
    for task, layer in itertools.product((1, 2), ("features", "head")):
        answer = value if (task, layer) == (1, "features") else 1 - value
        for statistic, shown in (("uncentred", answer), ("centred", 1 - answer)):
            about = {"task": task, "layer": layer, "statistic": f"trace_overlap_{statistic}"}
            yield {**about, "value": shown}


def _logit_change(run, sign, sgd_loss):
    if run["benchmark"] != "cifar100-shift" or run["strategy"] not in RATES:
        return
    value = 0.5 + sign * (0.3 - 0.1 * RATES.index(run["strategy"]))
    for statistic, shown in (("cosine", value), ("correlation", 1 - value)):
        yield {"task": 2, "layer": "head", "statistic": statistic, "value": shown}


def verdict_of(frames, claims=ABOUT_ONE):
    """Verdicts by claim."""
    return verdicts.judge(claims, frames).set_index("claim")["verdict"]


def starting(*names):
    """The claims about one network whose names start so."""
    return {name: claim for name, claim in ABOUT_ONE.items() if name.startswith(names)}


@pytest.fixture(scope="module")
def as_claimed():
    """Tables that say what the paper says; not to be changed."""
    return planted(1)


def test_what_the_paper_says_is_reproduced_and_other_networks_are_not_run(as_claimed):
    found = verdict_of(as_claimed, CLAIMS)
    own = found.index.isin(list(ABOUT_ONE))
    assert set(found[own]) == {"reproduced"}, found[own & (found != "reproduced")]
    assert set(found[~own]) == {"not run"}


def test_every_network_has_the_same_claims():
    for other in ("vgg", "densenet"):
        mine = {name.replace("resnet", other) for name in ABOUT_ONE}
        assert mine == {name for name in CLAIMS if other in name}
    assert len(CLAIMS) == 3 * len(ABOUT_ONE) > 0


def test_the_opposite_is_contradicted():
    found = verdict_of(planted(-1))
    # SGD forgets all the same; and without a dip there is no place where it lies.
    assert set(found[list(starting("task-1-is-forgotten"))]) == {"reproduced"}
    assert set(found[list(starting(PLACE))]) == {"inconclusive"}
    rest = found.drop(list(starting("task-1-is-forgotten", PLACE)))
    assert set(rest) == {"contradicted"}, rest[rest != "contradicted"]


def test_a_dip_elsewhere_is_contradicted(as_claimed):
    rows = as_claimed["accuracy"].copy()
    at = rows["benchmark"].isin(["dilution~0.5", "interpolation~0.5"]) & (rows["task"] == 1)
    rows.loc[at & (rows["after_task"] == 2) & (rows["metric"] == "task_masked"), "value"] = 0.2
    found = verdict_of({**as_claimed, "accuracy": rows}, starting(PLACE))
    assert set(found) == {"contradicted"}


def test_where_nothing_is_forgotten_nothing_is_concluded():
    conditional = {
        name: claim
        for name, claim in ABOUT_ONE.items()
        # Dips are planted into mixtures, and a loss into one pair, whatever the others lose.
        if claim.precondition
        and not name.startswith(("mixture", "artifacts"))
        and "cifar100-shift" not in name
    }
    found = verdicts.judge(conditional, planted(1, sgd_loss=0.0))
    assert set(found["verdict"]) == {"inconclusive"}
    assert found["note"].str.startswith("precondition unmet").all()


def test_a_table_that_is_missing_is_not_run(as_claimed):
    for table in sorted({claim.settings["table"] for claim in ABOUT_ONE.values()}):
        about = {n: claim for n, claim in ABOUT_ONE.items() if claim.settings["table"] == table}
        without = {key: frame for key, frame in as_claimed.items() if key != table}
        found = verdicts.judge(about, without)
        assert set(found["verdict"]) == {"not run"}
        assert found["note"].str.contains(f"{table}.csv is missing", regex=False).all()


def test_every_entry_and_table_is_one_of_the_study():
    raw = studies.load(REPOSITORY, "anatomy").raw
    known = {
        "benchmark": set(_rungs(raw["benchmarks"])),
        "architecture": set(raw["architectures"]),
        "strategy": set(_rungs(raw["strategies"])),
    }
    made = {"accuracy", "runs", "scores", *raw["measures"], *raw["tables"]}
    for name, claim in CLAIMS.items():
        for part in (claim, claim.precondition or claim):
            chosen = [
                part.settings[key] for key in ("where", "of", "minus") if key in part.settings
            ]
            for column, entries in known.items():
                named = [side[column] for side in chosen if column in side]
                if part.settings.get("along") == column:
                    named.append(part.settings["order"])
                for each in named:
                    assert set(each if isinstance(each, list) else [each]) <= entries, name
            assert part.settings["table"] in made, name


def _rungs(entries):
    for name, entry in entries.items():
        values = next(iter((entry.get("ladder") or {"": []}).values()))
        yield from [f"{name}~{value}" for value in values] or [name]
