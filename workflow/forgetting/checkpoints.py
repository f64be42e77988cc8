"""Checkpoints: the weights of a pack at one moment, as safetensors with a leading seed axis."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from forgetting.ensemble import Tensors
from forgetting.errors import UserError
from forgetting.results import atomic


def write(path: Path, tensors: Tensors, *, seeds: Sequence[int], task: int, epoch: float) -> str:
    """Write tensors (S, ...) of the seeds, whole or not at all; return the file's checksum."""
    about = {"seeds": list(seeds), "task": task, "epoch": epoch}
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file, which makes files that nobody else may read.
    content = save(whole, metadata={"forgetting": json.dumps(about)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read(path: Path, *, expected: str | None = None) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and {seeds, task, epoch} of a checkpoint.

    Epoch 0 stands for the end of the task. ``expected`` is the checksum that run.json records.

    Raises:
        UserError: The file is missing, not a whole checkpoint, or not the one that was written;
            the message names it.
    """
    try:
        if expected is not None and checksum(path) != expected:
            raise ValueError("its checksum is not the one in run.json")
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["forgetting"])
            if not (isinstance(about["task"], int) and isinstance(about["seeds"], list)):
                raise ValueError("its metadata do not say which seeds and task")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not a checkpoint that can be read ({error}); "
            f"start the workflow again with --forcerun {path.parent.parent}/run.json"
        ) from None


def merge(
    parts: Sequence[tuple[dict[str, Tensor], dict] | None],
    seeds: Sequence[Sequence[int]],
    target: Path,
) -> str:
    """Join what was read of single seeds or smaller packs to one checkpoint of all seeds.

    A missing part (a seed that had diverged by then) is filled with NaN, zero for integers.
    Returns the file's checksum.
    """
    like, about = next(part for part in parts if part is not None)
    tensors = {
        name: torch.cat(
            [
                part[0][name] if part else _missing(tensor, len(group))
                for part, group in zip(parts, seeds, strict=True)
            ]
        )
        for name, tensor in like.items()
    }
    everyone = [seed for group in seeds for seed in group]
    return write(target, tensors, seeds=everyone, task=about["task"], epoch=about["epoch"])


def _missing(like: Tensor, seeds: int) -> Tensor:
    value = torch.nan if like.is_floating_point() else 0
    return torch.full((seeds, *like.shape[1:]), value, dtype=like.dtype)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
