"""The suite of benchmarks: what its numbers mean, and that every row of one process runs."""

import contextlib
import importlib
import itertools
import sys
from pathlib import Path

import pytest

from studies import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from benchmarks._harness import Floor, Goal, Measured, NotMeasured, Row, Scale, measure

from benchmarks import _harness, _table, quick_preset, train_resnet

TINY = Scale(repeats=1, tiny=True)
HERE = ("train_mlp", "train_pack", "online_step", "effective_rank", "cka", "nc1", "hessian")


def turns(*seconds):
    values = itertools.cycle(seconds)
    return lambda: next(values)


def row(**changes):
    given = {"work": "work", "against": "plain", "ours": turns(9.0, 1.0, 2.0, 4.0)}
    return Row(**{**given, "theirs": turns(9.0, 3.0, 3.0, 4.0), **changes})


def test_sides_take_turns_and_the_first_does_not_count():
    order = []
    sides = {
        "ours": lambda: order.append("ours") or 1.0,
        "theirs": lambda: order.append("theirs") or 2.0,
    }
    found = measure(row(**sides), 2, lambda floor: 1.0)
    assert order == ["ours", "theirs"] * 3
    assert (found.ours, found.theirs) == ((1.0, 1.0), (2.0, 2.0))


@pytest.mark.parametrize(
    ("value", "expected", "median"),
    [
        ("ratio", [3.0, 1.5, 1.0], 1.5),
        ("cost", [1 / 3, 2 / 3, 1.0], 2 / 3),
        ("over floor", [2.0, 4.0, 8.0], 4.0),
        ("seconds", [1.0, 2.0, 4.0], 2.0),
    ],
)
def test_what_is_judged(value, expected, median):
    found = measure(row(value=value, floor=Floor(bytes=1.0)), 3, lambda floor: 0.5)
    assert found.values == pytest.approx(expected)
    assert found.median == pytest.approx(median)


def test_goals():
    assert Goal(2.0).met(2.0)
    assert not Goal(2.0).met(1.9)
    assert Goal(2.0, "at most").met(1.9)
    assert not Goal(2.0, "at most").met(2.1)


def test_what_takes_long_is_not_warmed_up():
    found = measure(row(most=1), 5, lambda floor: 1.0)
    assert found.ours == (9.0,)


def test_missing_peers_and_hardware_are_said():
    def missing():
        raise NotMeasured("type this")

    assert measure(row(theirs=missing), 1, lambda floor: 1.0).reason == "type this"
    assert "no GPU" in measure(row(hardware="no GPU here"), 1, lambda floor: 1.0).reason


def test_the_table_keeps_rows_of_earlier_runs_on_the_machine(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\n{_table.BEGIN}\n{_table.END}\n\nAfter.\n")
    about = {"machine": "a machine", "rates": "fast", "at": "today"}
    slow = Measured(row(goal=Goal(2.0)), (1.0,), (1.5,), 0.25)
    _table.write(path, {"one": [slow], "two": [slow]}, **about)
    fast = Measured(row(goal=Goal(2.0), unit="a step"), (1.0,), (3.0,), 0.25)
    _table.write(path, {"two": [fast]}, **about)
    text = path.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("After.\n")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["one", "two"]
    assert "| 1.50 x | **no** |" in lines[0]
    assert "| 3.00 x | yes | 1.00 s a step | 3.00 s | 250.00 ms; ours is 4.0 x |" in lines[1]
    with pytest.raises(NotMeasured, match="another machine"):
        _table.write(path, {"two": [fast]}, **{**about, "machine": "other"})


@pytest.mark.parametrize("name", HERE)
def test_every_row_runs_at_a_tiny_size(name):
    rows = list(importlib.import_module(f"benchmarks.{name}").rows(TINY))
    assert rows
    for each in rows:
        assert each.ours() > 0
        if each.theirs is not None:
            with contextlib.suppress(NotMeasured):  # the peer is not installed
                assert each.theirs() > 0
                each.remark()


def test_all_sides_of_the_resnet_run(monkeypatch):
    monkeypatch.setattr(train_resnet, "BATCH", 4)
    for side in train_resnet.SIDES.values():
        assert side(2, 1, "cpu") > 0


def test_operations_of_a_resnet():
    """0.56 billion multiplications forward, as is known of the network for images of 32 x 32."""
    assert train_resnet.operations(64) == pytest.approx(6 * 0.556e9, rel=0.01)


def test_jobs_are_counted_from_what_snakemake_prints():
    head = "x\nJob stats:\njob      count\n-----  -----\n"
    shown = f"{head}draw_a       2\ntrain       16\ntotal     18\n"
    assert quick_preset.jobs(shown) == {"draw_a": 2, "train": 16}
    assert quick_preset.command_of("draw_a") == "draw"
    assert quick_preset.command_of("all") is None


def test_clocks():
    _harness.use_clock("cpu")
    try:
        assert _harness.chosen_clock() == "cpu"
        assert _harness.now() >= 0
    finally:
        _harness.use_clock("wall")
    assert Path(_harness.__file__).parent.name == "benchmarks"
