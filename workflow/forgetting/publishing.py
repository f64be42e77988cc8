"""What a finished run leaves in its folder, and how one knows that it is still whole."""

import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import torch

from forgetting import checkpoints, moments, parquet
from forgetting.errors import UserError


def join_checkpoints(
    folder: Path,
    homes: Sequence[Path],
    kept: Sequence[Mapping[str, str]],
    seeds: Sequence[Sequence[int]],
) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """Join the checkpoints of groups of seeds under ``folder/checkpoints``.

    Args:
        folder: The run's folder.
        homes: Where each group left its own.
        kept: Checksums of each group's checkpoints, by name.
        seeds: The seeds of each group.

    Returns:
        The checksum and the moment (task, epoch) of every checkpoint by name.

    Raises:
        UserError: A group's checkpoint is damaged; the group will be trained anew.
    """
    target = folder / "checkpoints"
    target.mkdir(exist_ok=True)
    hashes, found = {}, {}
    for name in sorted({name for group in kept for name in group}):
        parts = [
            _kept(home, name, group[name]) if name in group else None
            for home, group in zip(homes, kept, strict=True)
        ]
        hashes[name] = checkpoints.merge(parts, seeds, target / f"{name}.safetensors")
        about = next(part[1] for part in parts if part is not None)
        found[name] = {"task": about["task"], "epoch": about["epoch"]}
    for stale in target.iterdir():
        if stale.stem not in hashes:
            stale.unlink()
    return hashes, found


def _kept(home: Path, name: str, expected: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    path = home / f"{name}.safetensors"
    try:
        return checkpoints.read(path, expected=expected)
    except UserError:
        shutil.rmtree(home)
        raise UserError(
            f"{path}: was damaged after it was written, so its seeds have to be trained anew; "
            "start the same command again"
        ) from None


def intact(folder: Path, state: Path) -> bool:
    """Whether a run was finished (its record is there) and all files are as it left them.

    Checkpoints that were let go since are not missed.
    """
    try:
        hashes = json.loads((state / "run.json").read_text())["checkpoints"]
        for name in ("accuracy", "history"):
            parquet.read(state / f"{name}.parquet")
        for name in hashes.keys() - moments.let_go(state):
            path = folder / "checkpoints" / f"{name}.safetensors"
            if checkpoints.checksum(path) != hashes[name]:
                return False
    except (FileNotFoundError, ValueError, KeyError, TypeError, UserError):
        return False
    return True


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
    parquet.write(table, path)


def versions() -> dict[str, str]:
    """Return the versions that a number may depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": importlib.metadata.version("scipy"),  # without the time of its import
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
