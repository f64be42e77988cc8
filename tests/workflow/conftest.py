"""A copy of the repository with a tiny study that was run once for all tests of the workflow."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clones import Clone, copy_repository

# Every process of the copy writes down which of our modules it loaded: not part of the package's
# fingerprint, because the dispatcher of commands is in no command's closure.
RECORD = """
import atexit, os, sys
def _record():
    names = sorted(m for m in sys.modules if m.split('.')[0] == 'forgetting')
    folder = os.path.join(os.path.dirname(__file__), '..', '..', 'loaded')
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f'{os.getpid()}.txt'), 'w') as file:
        file.write('\\n'.join([*sys.argv[1:2], *names]))
atexit.register(_record)
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a copy whose tiny study has been run to its end.

    It is run once; every process that works on a part of the tests has a copy of its own.
    """
    home = tmp_path_factory.getbasetemp()
    together = home.parent if "PYTEST_XDIST_WORKER" in os.environ else home
    made = together / "finished clone"
    with (together / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "results/quick/scorecard.html").exists():
            shutil.rmtree(made, ignore_errors=True)
            _run_to_its_end(made)
    mine = tmp_path_factory.mktemp("workflow") / "clone with space"
    return Clone(Path(shutil.copytree(made, mine)))


def _run_to_its_end(folder: Path) -> None:
    clone = copy_repository(folder)
    main = clone.path("workflow/forgetting/__main__.py")
    main.write_text(main.read_text() + "\n")
    main.write_text(RECORD + main.read_text().replace("from __future__", "# from __future__"))
    clone.snakemake()


@pytest.fixture
def clone(finished: Clone) -> Iterator[Clone]:
    """Return the finished copy for a test that edits its sources; they are put back."""
    kept = {p: p.read_bytes() for p in finished.path("workflow").rglob("*") if p.is_file()}
    kept[finished.path("config.yaml")] = finished.path("config.yaml").read_bytes()
    yield finished
    for path in finished.path("workflow").rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, content in kept.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
