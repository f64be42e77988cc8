"""What a finished run leaves in its folder, and how one knows that it is still whole."""

import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import torch

from forgetting import checkpoints, moments
from forgetting.results import atomic


def join_checkpoints(
    folder: Path, state: Path, groups: list[list[int]], seeds: list[int]
) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Join the checkpoints of groups of seeds under ``folder/checkpoints``.

    ``groups`` are positions in ``seeds``; group g left its own in ``state/group-g``. Returns the
    checksum and the moment (task, epoch) of every checkpoint by name.
    """
    homes = [state / f"group-{number}" for number in range(len(groups))]
    names = sorted({path.stem for home in homes for path in home.glob("*.safetensors")})
    target = folder / "checkpoints"
    target.mkdir(exist_ok=True)
    (state / moments.LET_GO).unlink(missing_ok=True)
    hashes, found = {}, {}
    for name in names:
        parts = [home / f"{name}.safetensors" for home in homes]
        path = target / f"{name}.safetensors"
        present = [part if part.exists() else None for part in parts]
        checkpoints.merge(present, [[seeds[p] for p in group] for group in groups], path)
        hashes[name] = checkpoints.checksum(path)
        _, task, *epoch = name.split("-")
        found[name] = {"task": int(task), "epoch": float(epoch[1]) if epoch else 0}
    for stale in target.iterdir():
        if stale.stem not in hashes:
            stale.unlink()
    return hashes, found


def intact(folder: Path, record: Path) -> bool:
    """Whether a run was finished (its record is there) and its checkpoints are as it left them.

    Those that were let go since are not missed.
    """
    if not record.exists():
        return False
    hashes = json.loads(record.read_text())["checkpoints"]
    paths = {name: folder / "checkpoints" / f"{name}.safetensors" for name in hashes}
    kept = hashes.keys() - moments.let_go(record.parent)
    return all(paths[n].exists() and checkpoints.checksum(paths[n]) == hashes[n] for n in kept)


def write_table(path: Path, columns: Sequence[str], rows: list[list[Any]]) -> None:
    """Write rows as a parquet file: ``value`` is a float, names are text, the rest integers."""
    text = {"metric", "statistic"}
    types = {c: pyarrow.string() if c in text else pyarrow.int64() for c in columns}
    types["value"] = pyarrow.float64()
    table = pyarrow.table(
        {
            column: pyarrow.array([row[position] for row in rows], types[column])
            for position, column in enumerate(columns)
        }
    )
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def commit() -> str | None:
    """Return the code's git commit, marked when files differ from it, or None outside git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("-changed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
