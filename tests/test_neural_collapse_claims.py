"""The claims of the study of neural collapse, judged on tables whose answer was planted.

The tables say, with a little noise, either what the sources say or, one matter at a time, the
opposite. Rows that a claim must not read (other statistics and moments, the untrained network, task
1 after the runs that go on from it) hold the opposite of the answer.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

from forgetting import study as studies
from forgetting import tables, verdicts
from forgetting.claims import expand
from studies import REPOSITORY

RAW = studies.load(REPOSITORY, "neural-collapse").raw
CLAIMS = expand(RAW["claims"])
SEEDS = 6  # so many it takes to show of a share of seeds that it is most
TASKS = 20
LONGEST = (1, 2, 5, 10, 50, 100)  # epochs of task 1
MOMENTS = (5, 25, 50, 75, 100, 110, 150, 200, 250, 300, 350)  # epochs of the warm-up
LATE = 100
DECAYS = {"0.001": 0.2, "0.01": 0.5, "0.1": 1.0}
PARENTS = {"full": "warm-up", "shrink-perturb": "warm-up", "nc1": "warm-up-nc1"}
OPPOSITE = {"nc1": 1, "nc2": 1, "nc3": 1, "nc4": -1}  # NC4 alone rises with collapse

LOST = ("plasticity-is-lost",)
AGAINST = ("nc1-rises", "nc1-goes-against")
BEYOND = "nc1-goes-against-accuracy-beyond"
LONGER = ("epochs-on-task-1", "nc1-after-task-1")
TELLS_MORE = "epochs-tell-more"
SCRATCH = "warm-starting-costs"
COSTS = (SCRATCH, "a-longer-warm-up")
EARLY = ("nc1-goes-with", "nc2-goes-with", "nc3-goes-with", "nc4-goes-against")
COLLAPSES = "the-warm-up-collapses"
UNRELATED = "nc1-is-unrelated"
WANES = "the-relation-wanes"
PERTURB = "shrink-and-perturb"
REWARDED = "nc1-regularisation-raises"
HELPS = "nc1-regularisation-helps"
BREAKS = "nc1-regularisation-breaks"
DECAYED = "strong-weight-decay"
BEST = "the-most-collapsed"
ABOUT_WARM_UP = (*EARLY, UNRELATED, WANES, PERTURB)  # if it costs anything


class Planted:
    """All tables, with what is said in them; each answer 1 as the sources have it, -1 opposite.

    ``lost``: plasticity over tasks; ``against``: NC1 and accuracy there, 0 a common trend alone;
    ``longer``: epochs of task 1 (``nc1``: only through NC1); ``costs``: the warm-up; ``early``: its
    collapse and accuracy; ``late``: 0 unrelated from epoch 105 on, 1 as before; ``perturb``,
    ``rewarded`` (the NC1 of that arm), ``helps``, ``breaks``, ``decayed`` (NC1) and ``best``.
    """

    def __init__(self, *, moments=MOMENTS, longest=LONGEST, decays=tuple(DECAYS), **answers):
        self.say = {
            **dict.fromkeys(("lost", "against", "longer", "costs", "early", "perturb"), 1),
            **dict.fromkeys(("rewarded", "helps", "breaks", "decayed", "best", "learned"), 1),
            "late": 0,
            **answers,
        }
        self.moments = moments
        self.rng = np.random.default_rng(0)
        names = ("runs", "performance", "online", "neural_collapse", "continued")
        self.rows = {name: [] for name in names}
        for seed in range(SEEDS):
            self._tasks(seed)
            for epochs in longest:
                self._after_task_1(seed, epochs)
            self._warm_up(seed, [*PARENTS, *(f"wd-{strength}" for strength in decays)])

    @property
    def tables(self):
        return {name: pd.DataFrame(rows) for name, rows in self.rows.items()}

    def noise(self):
        return self.rng.normal(0, 0.001)

    def _run(self, benchmark, strategy, seed, *, started="", status="finished"):
        online = benchmark != "warm-start"
        architecture = "mlp" if online else "resnet18"
        run = dict(zip(tables.ID, (benchmark, architecture, strategy, seed), strict=True))
        metric = "online" if online else "task_masked"
        about = {
            "pack": "0-4",
            "stand_in": False,
            "evidence": "protocol",
            "scenario_metric": metric,
        }
        about |= {"tasks": TASKS if online else 2, "status": status}
        self.rows["runs"].append({**run, **about, "started_strategy": started or None})
        return run

    def _tasks(self, seed):
        run = self._run("permuted-mnist", "sgd", seed)
        for task in range(TASKS + 1):
            gone = task / TASKS
            wave, own = self.rng.normal(0, 0.05, 2)
            value = 0.92 - self.say["lost"] * 0.1 * (gone + wave) + self.noise()
            if task:
                point = {"task": task, "metric": "online", "value": value}
                self.rows["performance"].append({**run, **point})
            if task % 2:
                continue
            more = gone + own if self.say["against"] == 0 else self.say["against"] * (gone + wave)
            nc1 = 0.3 + 0.1 * more + self.noise()
            for epoch, statistic in itertools.product((0.0, 0.5), ("nc1", "nc2")):
                shown = nc1 if (epoch, statistic) == (0.0, "nc1") else 1 - nc1
                about = {"task": task, "epoch": epoch, "layer": "stage3", "mode": "eval"}
                row = {**run, **about, "statistic": statistic, "value": shown if task else -shown}
                self.rows["neural_collapse"].append(row)

    def _after_task_1(self, seed, epochs):
        say, strategy = self.say["longer"], f"task-1-epochs~{epochs}"
        run = self._run("first-task-epochs", strategy, seed, started="first-task")
        nc1 = 0.22 - 0.01 * np.log(epochs) + 0.1 * self.noise()
        harm = 0.22 - nc1 if say == "nc1" else say * 0.0005 * epochs
        for task, value in ((1, 0.92 + harm), (2, 0.92 - harm + 0.1 * self.noise())):
            point = {"task": task, "metric": "online", "value": value}
            self.rows["performance"].append({**run, **point})
        about = {"arm": "task-1-epochs", "started_strategy": "first-task", "task": 1}
        about |= {"epoch": float(epochs), "mode": "eval", "nc1": nc1, "accuracy": 0.9}
        self.rows["continued"].append({**run, **about, "status": "finished"})

    def _warm_up(self, seed, arms):
        run = self._run("warm-start", "scratch", seed)
        alone = {"task": 2, "metric": "task_masked", "value": 0.58 + self.noise()}
        self.rows["performance"].append({**run, **alone})
        learned = 0.99 if self.say["learned"] == 1 else 0.4
        self.rows["online"].append({**run, "task": 2, "value": learned + self.noise()})
        epochs = np.array(self.moments, dtype=float)
        wave = self.rng.normal(0, 0.1, len(epochs))
        plastic = np.exp(-epochs / 40) + wave
        level = self.say["early"] * plastic
        late = epochs > LATE
        if late.any() and self.say["late"] == 0:
            level[late] = self._unrelated(plastic[late])
        for arm, (place, epoch) in itertools.product(arms, enumerate(self.moments)):
            self._moment(seed, arm, epoch, plastic[place], level[place])

    def _unrelated(self, values):
        """Something else that has next to no correlation with the values."""
        other = self.rng.normal(0, 0.05, len(values))
        design = np.column_stack([np.ones(len(values)), values])
        left = other - design @ np.linalg.lstsq(design, other, rcond=None)[0]
        return -0.1 * self.say["early"] + left + 0.01 * self.rng.normal() * values

    def _moment(self, seed, arm, epoch, plastic, level):
        say = self.say
        late = min(self.moments, key=lambda moment: abs(moment - 115))
        failed = say["breaks"] > 0 and arm == "nc1" and epoch == late
        gone = failed and seed % 2 == 0
        started = PARENTS.get(arm, f"warm-up-{arm}")
        status = "diverged" if gone else "chance" if failed else "finished"
        ended = "diverged" if gone else "finished"
        run = self._run("warm-start", f"{arm}~{epoch}", seed, started=started, status=ended)
        much = DECAYS.get(arm.removeprefix("wd-"), 0.0)
        extra = {"shrink-perturb": 0.03 * say["perturb"], "nc1": 0.01 * say["helps"]}
        better = extra.get(arm, 0.05 * much * say["best"])
        value = 0.57 + say["costs"] * 0.05 * (plastic - 0.5) + better + self.noise()
        before = 0.5 + better + self.noise()
        about = {"arm": arm, "started_strategy": started, "task": 1, "epoch": float(epoch)}
        about |= {"accuracy_before": before, "accuracy": value, "status": status}
        raised = 0.5 * say["rewarded"] * (arm == "nc1") - 0.5 * much * say["decayed"]
        for mode in ("eval", "train") if not gone else (None,):
            metrics = {
                name: 2 + sign * (level + raised) + self.noise() for name, sign in OPPOSITE.items()
            }
            row = {**run, **about, "mode": mode, **metrics}
            if gone:
                row |= dict.fromkeys((*OPPOSITE, "accuracy_before", "accuracy"), np.nan)
            self.rows["continued"].append(row)


def planted(**answers):
    return Planted(**answers).tables


def verdict_of(frames, claims=CLAIMS):
    """Verdicts by claim."""
    return verdicts.judge(claims, frames).set_index("claim")["verdict"]


def starting(*names):
    """Names of the claims whose names start so."""
    return {name for name in CLAIMS if name.startswith(names)}


def only(found, *names):
    """The different verdicts on the claims whose names start so."""
    return set(found[sorted(starting(*names))])


def rest(found, *names):
    """The different verdicts on the others."""
    return set(found.drop(sorted(starting(*names))))


@pytest.fixture(scope="module")
def as_claimed(tmp_path_factory):
    """Tables that say what the sources say, written and read again; not to be changed."""
    folder = tmp_path_factory.mktemp("tables")
    found = {}
    for name, frame in planted().items():
        tables.write(frame, folder / f"{name}.csv")
        found[name] = tables.read(folder / f"{name}.csv")
    return found


def test_what_the_sources_say_is_reproduced(as_claimed):
    found = verdict_of(as_claimed)
    assert set(found) == {"reproduced"}, found[found != "reproduced"]


def test_every_kind_of_claim_is_turned_round_below():
    kinds = (*LOST, *AGAINST, *LONGER, TELLS_MORE, *COSTS, COLLAPSES, *EARLY, UNRELATED, WANES)
    kinds += (PERTURB, REWARDED, HELPS, BREAKS, DECAYED, BEST)
    assert starting(*kinds) == set(CLAIMS)
    assert all(starting(kind) for kind in (*kinds, BEYOND))


def test_a_collapse_that_grows_as_plasticity_is_lost_is_contradicted():
    found = verdict_of(planted(against=-1))
    assert only(found, *AGAINST) == {"contradicted"}
    assert rest(found, *AGAINST) == {"reproduced"}


def test_a_common_trend_alone_is_no_relation_beyond_it():
    found = verdict_of(planted(against=0))
    assert only(found, BEYOND) == {"inconclusive"}
    assert rest(found, BEYOND) == {"reproduced"}


def test_where_no_plasticity_is_lost_nothing_is_concluded_of_collapse():
    found = verdicts.judge(CLAIMS, planted(lost=-1)).set_index("claim")
    assert only(found["verdict"], *LOST) == {"contradicted"}
    conditional = found.loc[sorted(starting(*AGAINST))]
    assert set(conditional["verdict"]) == {"inconclusive"}
    assert conditional["note"].str.contains("precondition unmet").all()


def test_epochs_on_task_1_that_help_task_2_are_contradicted():
    found = verdict_of(planted(longer=-1))
    assert only(found, *LONGER) == {"contradicted"}
    assert rest(found, *LONGER) == {"reproduced"}  # which tells more has no sign


def test_where_collapse_alone_decides_epochs_tell_less():
    found = verdict_of(planted(longer="nc1"))
    assert only(found, TELLS_MORE) == {"contradicted"}
    assert only(found, *LONGER) == {"reproduced"}


def test_a_warm_up_that_costs_nothing_is_contradicted_and_nothing_is_concluded_of_it():
    found = verdicts.judge(CLAIMS, planted(costs=-1)).set_index("claim")
    assert only(found["verdict"], *COSTS) == {"contradicted"}
    conditional = found.loc[sorted(starting(*ABOUT_WARM_UP))]
    assert set(conditional["verdict"]) == {"inconclusive"}
    assert conditional["note"].str.contains("precondition unmet").all()


def test_a_network_that_was_stopped_before_it_learned_its_images_is_no_reference():
    found = verdict_of(planted(learned=-1))
    assert only(found, SCRATCH) == {"inconclusive"}
    assert rest(found, SCRATCH) == {"reproduced"}


def test_a_collapse_that_goes_with_plasticity_is_contradicted():
    found = verdict_of(planted(early=-1))
    assert only(found, *EARLY, WANES, COLLAPSES) == {"contradicted"}
    assert rest(found, *EARLY, WANES, COLLAPSES) == {"reproduced"}


def test_a_relation_that_lasts_does_not_wane():
    found = verdict_of(planted(late=1))
    assert only(found, UNRELATED, WANES) == {"contradicted"}
    assert rest(found, UNRELATED, WANES) == {"reproduced"}


@pytest.mark.parametrize(
    ("answer", "names", "conditional"),
    [
        ("perturb", (PERTURB,), ()),
        ("helps", (HELPS,), ()),
        ("rewarded", (REWARDED,), (HELPS,)),
        ("breaks", (BREAKS,), ()),
        ("best", (BEST,), ()),
        ("decayed", (DECAYED,), (BEST,)),
    ],
)
def test_remedies_that_do_the_opposite_are_contradicted(answer, names, conditional):
    found = verdict_of(planted(**{answer: -1}))
    assert only(found, *names) == {"contradicted"}
    assert only(found, *conditional) <= {"inconclusive"}
    assert rest(found, *names, *conditional) == {"reproduced"}


def test_what_a_short_warm_up_and_one_weight_decay_cannot_answer_is_not_run():
    short = {"moments": (5, 15, 25, 40), "longest": (1, 5, 20), "decays": ("0.1",)}
    found = verdict_of(planted(**short, breaks=-1))
    others = {name for name in starting(DECAYED, BEST) if "none" not in name}
    unanswered = starting(UNRELATED, WANES) | others
    assert set(found[sorted(unanswered)]) == {"not run"}
    assert only(found, BREAKS) == {"contradicted"}
    assert set(found.drop(sorted(unanswered | starting(BREAKS)))) == {"reproduced"}


def test_a_table_that_is_missing_is_not_run(as_claimed):
    read = {name: {c.settings["table"], *c.tables} for name, c in CLAIMS.items()}
    for table in sorted(set().union(*read.values())):
        about = {name: CLAIMS[name] for name in CLAIMS if table in read[name]}
        without = {key: frame for key, frame in as_claimed.items() if key != table}
        found = verdicts.judge(about, without)
        assert set(found["verdict"]) == {"not run"}
        assert found["note"].str.contains(f"{table}.csv is missing", regex=False).all()


def test_every_entry_and_table_is_one_of_the_study():
    known = {
        "benchmark": set(RAW["benchmarks"]),
        "strategy": set(RAW["strategies"]),
        "started_strategy": set(RAW["strategies"]),
        "arm": set(RAW["strategies"]),
    }
    made = {"runs", "online", *(name.partition("~")[0] for name in RAW["measures"]), *RAW["tables"]}
    for name, claim in CLAIMS.items():
        for part in (claim, claim.precondition or claim):
            settings = part.settings
            sides = [settings.get(key, {}) for key in ("where", "of", "minus")]
            for column, entries in known.items():
                assert {side[column] for side in sides if column in side} <= entries, name
            assert {settings.get("against", "scratch")} <= known["strategy"]
            assert {settings["table"], *part.tables} <= made, name
