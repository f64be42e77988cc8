"""What all tests share: a server of processes, and in which order files are begun."""

import gc
from collections.abc import Iterator

import pytest

from forks import Server

# Modules and collected tests live as long as the process: looking for garbage among them again and
# again takes a part of the time of every test.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Look for garbage from now on, among what tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that forks processes of ``python -m forgetting``."""
    import trainings  # with PyTorch, which the process that directs the others has no need of

    server = Server(tmp_path_factory.mktemp("logs"), "forgetting", trainings.ENVIRONMENT)
    yield server
    server.close()
