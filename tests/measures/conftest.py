"""Runs of two tasks that several measures are tested on, trained once."""

import pytest

import two_task_runs
from forgetting.runs import RunView


@pytest.fixture(scope="session")
def shift(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A shared head; compared with a run of task 2 alone; kept in the middle of tasks too."""
    home = tmp_path_factory.mktemp("shift")
    only = two_task_runs.trained(home, "task2-only")
    return two_task_runs.trained(
        home, "sgd", against={"task2_only": only}, checkpoint_epochs=[0.5, 1], momentum=0.5
    )


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A head for each task."""
    return two_task_runs.trained(tmp_path_factory.mktemp("heads"), benchmark="heads")


@pytest.fixture(scope="session")
def growing(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    """A shared head with new outputs in task 2, in a multilayer perceptron."""
    home = tmp_path_factory.mktemp("growing")
    return two_task_runs.trained(home, benchmark="growing", architecture="mlp")
