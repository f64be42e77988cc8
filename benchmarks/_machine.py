"""The machine: what it is called, and how fast it multiplies matrices and moves bytes."""

import datetime
import functools
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks._harness import Floor, now

PACKAGES = ("torch", "avalanche-lib", "ckatorch", "curvlinops-for-pytorch", "snakemake", "mujoco")


def describe() -> str:
    """Return processor, cores, card and versions, on one line."""
    cores = len(os.sched_getaffinity(0))
    parts = [f"{_processor()}, {cores} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    parts.append(f"Python {platform.python_version()}")
    for package in PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"no {package}")
    return ", ".join(parts)


def moment() -> str:
    """Return the time, and how many processes want to run."""
    return f"{datetime.datetime.now():%Y-%m-%d %H:%M}, load {os.getloadavg()[0]:.1f}"


def rates() -> str:
    """Return the measured rates that floors are made of, for one thread."""
    shown = [f"{_multiplications(t, 'cpu') / 1e9:.0f} Gop/s in {t}" for t in ("float32", "float64")]
    shown.append(f"{_moved(2**28, 'cpu') / 1e9:.1f} GB/s of memory")
    if torch.cuda.is_available():
        for dtype in ("float32", "bfloat16"):
            shown.append(f"{_multiplications(dtype, 'cuda') / 1e12:.1f} Top/s in {dtype} (GPU)")
        shown.append(f"{_moved(2**30, 'cuda') / 1e12:.2f} TB/s of memory (GPU)")
    return ", ".join(shown)


def seconds(floor: Floor) -> float:
    """Return how long the least work of a row takes at the measured rates."""
    spent = [0.0]
    if floor.operations:
        spent.append(floor.operations / _multiplications(floor.dtype, floor.device))
    if floor.bytes:
        among = round(floor.among or floor.bytes)
        spent.append(floor.bytes / _moved(min(among, 2**28), floor.device))
    return max(spent)


@functools.cache
def _multiplications(dtype: str, device: str) -> float:
    """Additions and multiplications a second in the product of two square matrices."""
    order = 1024 if device == "cpu" else 8192
    one, other, out = (
        torch.rand(order, order, device=device).to(getattr(torch, dtype)) for _ in "123"
    )
    return 2 * order**3 / _best(lambda: torch.mm(one, other, out=out), device)


@functools.cache
def _moved(size: int, device: str) -> float:
    """Bytes a second within ``size`` bytes, read and written by a copy.

    Or read by a sum, on a CPU, if that is more: before a cache writes a line it reads it.
    """
    source = torch.ones(max(size // 8, 1), device=device)
    target = torch.ones_like(source)
    again = max(1, 2**24 // size)

    def copy() -> None:
        for _ in range(again):
            target.copy_(source)

    def read() -> None:
        for _ in range(again):
            source.sum()
            target.sum()

    works = [copy, read] if device == "cpu" else [copy]
    return again * 2 * 4 * len(source) / min(_best(work, device, turns=40) for work in works)


def _best(work, device: str, *, turns: int = 8) -> float:
    found = []
    for _ in range(turns):
        started = now()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(now() - started)
    return min(found)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(
                line.split(":")[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
