import subprocess
import sys

import pytest
from pydantic import ValidationError

from forgetting import claims
from forgetting.claims import Claim, Holds
from forgetting.errors import UserError

ENTRY = {
    "statement": "SGD forgets",
    "source": "section 4",
    "statistic": "value",
    "settings": {"table": "scores", "column": "forgetting", "where": {"strategy": "sgd"}},
    "holds": {"above": 0.05},
}


def test_the_parse_needs_neither_torch_nor_pandas():
    heavy = "{'torch', 'pandas', 'numpy', 'scipy'} & set(sys.modules)"
    code = f"import sys, forgetting.claims; sys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER)
    assert done.returncode == 0, done.stderr


FOLDER = claims.__file__.rsplit("/forgetting/", 1)[0]


def test_an_entry_without_for_each_keeps_its_name():
    found = claims.expand({"forgets": ENTRY})
    assert found == {"forgets": Claim.model_validate(ENTRY)}


def test_for_each_with_lists_is_every_combination():
    entry = {
        **ENTRY,
        "statement": "{architecture} forgets with {strategy}",
        "settings": {"where": {"strategy": "{strategy}", "task": "{task}", "like": "t{task}"}},
        "for_each": {"architecture": ["mlp", "resnet18"], "strategy": ["sgd", "lwf"], "task": [3]},
    }
    found = claims.expand({"forgets": entry})
    assert list(found) == [
        "forgets[mlp, sgd, 3]",
        "forgets[mlp, lwf, 3]",
        "forgets[resnet18, sgd, 3]",
        "forgets[resnet18, lwf, 3]",
    ]
    last = found["forgets[resnet18, lwf, 3]"]
    assert last.statement == "resnet18 forgets with lwf"
    assert last.settings["where"] == {
        "strategy": "lwf",
        "task": 3,
        "like": "t3",
    }  # 3 stays a number
    assert last.for_each is None


def test_for_each_with_mappings_takes_them_one_by_one():
    pairs = [{"benchmark": "split-mnist", "net": "mlp"}, {"benchmark": "cifar", "net": "resnet18"}]
    precondition = {
        "statistic": "value",
        "settings": {"where": {"benchmark": "{benchmark}"}},
        "holds": {"above": 0},
        "text": "{net} forgets",
    }
    entry = {**ENTRY, "precondition": precondition, "for_each": pairs}
    found = claims.expand({"forgets": entry})
    assert list(found) == ["forgets[split-mnist, mlp]", "forgets[cifar, resnet18]"]
    condition = found["forgets[cifar, resnet18]"].precondition
    assert condition.text == "resnet18 forgets"
    assert condition.settings == {"where": {"benchmark": "cifar"}}


def test_expanding_twice_changes_nothing():
    entry = {**ENTRY, "for_each": {"architecture": ["mlp", "resnet18"]}, "paper_value": 0.5}
    once = claims.expand({"a": entry, "b": ENTRY})
    assert claims.expand(once) == once
    dumped = {name: claim.model_dump(mode="json") for name, claim in once.items()}
    assert claims.expand(dumped) == once


def test_braces_are_plain_text_without_for_each():
    entry = {**ENTRY, "note": "the set {a, b} and {c}"}
    assert claims.expand({"x": entry})["x"].note == "the set {a, b} and {c}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"statement": "{net}", "for_each": {"task": [1]}},
            r"claims\.x: \{net\} is not in for_each",
        ),
        ({"for_each": {"task": [1, 1]}}, r'"x\[1\]" occurs twice'),
        ({"colour": "red"}, r"claims\.x\.colour: .*; found 'red'"),
        ({"holds": {"above": "high"}}, r"claims\.x\.holds\.above: "),
        ({"holds": None}, r"claims\.x: .*holds is missing"),
    ],
)
def test_a_wrong_entry_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        claims.expand({"x": {**ENTRY, **changes}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"single_run": True, "paper_value": 0.8}, "width_at_most"),
        ({"single_run": True, "width_at_most": 0.1}, "between"),
        ({"single_run": True, "width_at_most": 0.1, "holds": None, "paper_value": "x"}, "number"),
        ({"width_at_most": 0.1}, "goes with single_run"),
        ({"width_at_most": -1, "single_run": True}, "greater than 0"),
    ],
)
def test_single_run_claims_state_value_and_width(changes, message):
    with pytest.raises(ValidationError, match=message):
        Claim.model_validate({**ENTRY, **changes})


def test_a_single_run_value_is_its_own_region():
    changes = {"single_run": True, "width_at_most": 0.1, "holds": None, "paper_value": 0.8}
    assert Claim.model_validate({**ENTRY, **changes}).region.limits == (0.8, 0.8)


@pytest.mark.parametrize("wrong", [{}, {"above": 0, "below": 1}, {"between": [2, 1]}, {"over": 3}])
def test_holds_is_exactly_one_region(wrong):
    with pytest.raises(ValidationError):
        Holds.model_validate(wrong)


@pytest.mark.parametrize(
    ("holds", "limits", "words"),
    [
        ({"above": 0.5}, (0.5, float("inf")), "above 0.5"),
        ({"below": -1}, (-float("inf"), -1), "below -1"),
        ({"between": [0, 2]}, (0, 2), "between 0 and 2"),
        ({"between": [0.8, 0.8]}, (0.8, 0.8), "0.8"),
    ],
)
def test_holds_in_numbers_and_words(holds, limits, words):
    region = Holds.model_validate(holds)
    assert region.limits == limits
    assert str(region) == words


def test_needed_tables():
    precondition = {
        "statistic": "value",
        "settings": {"table": "erank"},
        "holds": {"above": 0},
        "text": "x",
        "tables": ["summary"],
    }
    entry = {**ENTRY, "tables": ["accuracy"], "precondition": precondition}
    found = claims.needed_tables(claims.expand({"a": entry, "b": ENTRY}).values())
    assert found == ["accuracy", "erank", "runs", "scores", "summary"]
