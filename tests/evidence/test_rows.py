import pandas as pd
import pytest

from forgetting.errors import UserError
from forgetting.evidence._rows import NoRows, NotRun, select, without

LENGTHS = {"long": 25, "short": 6}


@pytest.fixture
def tables():
    """Two benchmarks of 25 and 6 tasks; task 0 is before training."""
    rows = [
        {"benchmark": benchmark, "seed": 0, "task": task, "after_task": task}
        for benchmark, tasks in LENGTHS.items()
        for task in range(tasks + 1)
    ]
    runs = [{"benchmark": benchmark, "tasks": tasks} for benchmark, tasks in LENGTHS.items()]
    return {"some": pd.DataFrame(rows), "runs": pd.DataFrame(runs)}


def chosen(tables, benchmark, words, column="task"):
    return select(tables, "some", {"benchmark": benchmark, column: words})["task"].to_list()


@pytest.mark.parametrize(
    ("words", "long", "short"),
    [
        ("last", [25], [6]),
        ("first tenth", [1, 2, 3], [1]),
        ("last tenth", [23, 24, 25], [6]),
        ("first quarter", list(range(1, 8)), [1, 2]),
        ("last quarter", list(range(19, 26)), [5, 6]),
        ("first half", list(range(1, 14)), [1, 2, 3]),
        ("last half", list(range(13, 26)), [4, 5, 6]),
    ],
)
def test_a_part_of_each_benchmarks_tasks(tables, words, long, short):
    for column in ("task", "after_task"):
        assert chosen(tables, "long", words, column) == long
        assert chosen(tables, "short", words, column) == short
    assert chosen(tables, ["long", "short"], words) == [*long, *short]


def test_numbers_of_tasks_are_taken_as_they_are(tables):
    assert chosen(tables, "long", 3) == [3]
    assert chosen(tables, "long", [3, 25]) == [3, 25]
    with pytest.raises(NoRows, match="no rows with benchmark short, task 25"):
        chosen(tables, "short", 25)


def test_a_part_without_rows(tables):
    tables["some"] = tables["some"].query("task < 20")
    with pytest.raises(NoRows, match="task last tenth"):
        chosen(tables, "long", "last tenth")


@pytest.mark.parametrize("words", ["last third", "middle tenth", "first", "tenth", "Last"])
def test_other_words_are_the_users_mistake(tables, words):
    with pytest.raises(UserError, match="is not known; use a number, last, after first, or"):
        chosen(tables, "long", words)


def test_rows_are_left_out_of_one_table_only(tables):
    left = without(tables, "some", {"benchmark": ["short", "other"], "task": [0, 1]})
    assert left["some"]["task"].to_list() == list(range(2, 26))
    assert len(tables["some"]) == 33
    assert left["runs"] is tables["runs"]


def test_leaving_out_what_is_not_there(tables):
    with pytest.raises(UserError, match="no column 'colour'"):
        without(tables, "some", {"colour": ["red"]})
    with pytest.raises(NotRun, match=r"other\.csv is missing"):
        without(tables, "other", {})
