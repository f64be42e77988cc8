"""What all tests share: a server of processes."""

from collections.abc import Iterator

import pytest

from forks import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that forks processes of ``python -m forgetting``."""
    import trainings  # with PyTorch, which the process that directs the others has no need of

    server = Server(tmp_path_factory.mktemp("logs"), "forgetting", trainings.ENVIRONMENT)
    yield server
    server.close()
