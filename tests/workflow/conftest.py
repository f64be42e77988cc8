"""A copy of the repository with a tiny study, run to its end once for all tests of the workflow."""

from collections.abc import Iterator

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
    """Return a copy whose tiny study has been run to its end."""
    clone = copy_repository(tmp_path_factory.mktemp("workflow") / "clone with space")
    main = clone.path("workflow/forgetting/__main__.py")
    main.write_text(main.read_text() + "\n")
    main.write_text(RECORD + main.read_text().replace("from __future__", "# from __future__"))
    clone.snakemake()
    return clone


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
