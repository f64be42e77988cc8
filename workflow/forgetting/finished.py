"""A study's results for a notebook: tables as data frames, and runs with their checkpoints.

Everything is read when it is asked for; PyTorch is only imported for weights.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pandas as pd

from forgetting import tables
from forgetting.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from forgetting.runs import RunView

Value = TypeVar("Value")


class Lazy(Mapping[str, Value], Generic[Value]):
    """A mapping that reads a value when it is first asked for."""

    def __init__(self, names: list[str], read: Callable[[str], Value], *, what: str) -> None:
        """Hold names, how to read what they stand for, and what one of them is."""
        self._names, self._read, self._what = names, functools.cache(read), what

    def __getitem__(self, name: str) -> Value:
        """Return what a name stands for.

        Raises:
            UserError: There is none of that name.
        """
        if name not in self._names:
            raise UserError(f"no {self._what} {name!r}; there are {', '.join(self._names)}")
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{', '.join(self._names)}>"


@dataclass(frozen=True)
class FinishedStudy:
    """What a study has left behind under one preset."""

    folder: Path
    """The study's folder, such as ``results/quick/collapse``."""
    tables: Mapping[str, pd.DataFrame]
    """Tidy tables by name; a row belongs to a benchmark, architecture, strategy and seed."""
    claims: pd.DataFrame
    """The judged claims, as in ``claims.csv``."""
    runs: Mapping[str, dict[str, Any]]
    """run.json of each run by its path ``benchmark/architecture/strategy/seedsPACK``."""

    def checkpoints(self, run: str) -> "Mapping[str, dict[str, Tensor]]":
        """Return the weights of a run at every moment kept, in the order of training.

        A moment is called ``task-3``, after task 3 (0: before training), or ``task-3-epoch-2``.
        Weights are by name and have a leading axis for the seeds of the pack, ``spec``/``seeds``
        in the run's run.json.

        Raises:
            UserError: There is no such run; on reading, a file is gone or was changed.
        """
        from forgetting import checkpoints

        record, folder = self.runs[run], self.folder / "runs" / run / "checkpoints"

        def read(name: str) -> "dict[str, Tensor]":
            expected = record["checkpoints"][name]
            return checkpoints.read(folder / f"{name}.safetensors", expected=expected)[0]

        return Lazy(list(record["checkpoint_tasks"]), read, what="checkpoint")

    def open(self, run: str, device: str = "cpu") -> "RunView":
        """Return a run as measures see it: with ``network(seed_index, checkpoint)`` and ``probe``.

        Raises:
            UserError: There is no such run, or its images are not under the results.
        """
        import warnings

        from forgetting import devices
        from forgetting.runs import open_run

        data = self.folder.parents[1] / "data"
        files = [data / f"{about['key']}.json" for about in self.runs[run]["datasets"]]
        path = self.folder / "runs" / run / "run.json"
        where = devices.resolve(devices.Request(device), report=warnings.warn)
        return open_run(path, files, where)


def load(study: str, preset: str, results: Path) -> FinishedStudy:
    """Return a study's results.

    Raises:
        UserError: There are none.
    """
    folder = results / preset / study
    if not folder.is_dir():
        there = sorted("/".join(path.parts[-3:-1]) for path in results.glob("*/*/runs"))
        raise UserError(
            f"{folder}: no results; run snakemake --cores 2 {study} --config preset={preset}, or "
            f"say where they are: results=FOLDER. There are {', '.join(there) or 'none at all'}"
        )
    names = sorted(path.stem for path in (folder / "tables").glob("*.csv"))
    paths = sorted(
        path.parent.relative_to(folder / "runs").as_posix()
        for path in folder.glob("runs/*/*/*/*/run.json")
    )
    claims = folder / "claims.csv"
    return FinishedStudy(
        folder=folder,
        tables=Lazy(
            names, lambda name: tables.read(folder / "tables" / f"{name}.csv"), what="table"
        ),
        claims=tables.read(claims) if claims.exists() else pd.DataFrame(),
        runs=Lazy(paths, functools.partial(_record, folder), what="run"),
    )


def _record(folder: Path, run: str) -> dict[str, Any]:
    return json.loads((folder / "runs" / run / "run.json").read_text(encoding="utf-8"))
