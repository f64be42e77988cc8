"""What a training has used: time, memory and its share of a GPU, over all processes it took.

A training that is killed and goes on is several processes. What each used is added up (times) or
the most of it is kept (memory); what a killed process did after it last saved is lost.
"""

import importlib.util
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from forgetting.devices import describe

MB = 2**20


@dataclass(frozen=True)
class Usage:
    """What was used so far; ``+`` joins two processes, or two parts of a run."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all threads together."""
    peak_memory: int = 0
    """Most bytes in memory at once."""
    gpu_peak_memory: int = 0
    """Most bytes that tensors took on the GPU at once."""
    gpu_busy: float = 0.0
    """Sum of the looks at the GPU's utilisation, each in percent."""
    gpu_looks: int = 0
    """Number of these looks."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_memory, other.peak_memory),
            max(self.gpu_peak_memory, other.gpu_peak_memory),
            self.gpu_busy + other.gpu_busy,
            self.gpu_looks + other.gpu_looks,
        )

    def state(self) -> dict[str, Any]:
        """Return it as plain values; ``Usage(**state)`` is the same again."""
        return asdict(self)

    def record(self, device: torch.device) -> dict[str, Any]:
        """Return what run.json says: times in seconds, memory in MiB, utilisation in percent."""
        gpu = {
            "name": describe(device),
            "peak_memory_mb": round(self.gpu_peak_memory / MB),
            "utilisation": round(self.gpu_busy / self.gpu_looks, 1) if self.gpu_looks else None,
        }
        return {
            "wall_seconds": round(self.wall_seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_memory_mb": round(self.peak_memory / MB),
            "gpu": gpu if device.type == "cuda" else None,
        }


class Meter:
    """Adds to what was used before, from when it is made on."""

    def __init__(self, device: torch.device, before: Mapping[str, Any] | None = None) -> None:
        self._device, self._before = device, Usage(**(before or {}))
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._busy, self._looks = 0.0, 0

    def look(self) -> None:
        """Look at the GPU's utilisation, where NVIDIA's library for that (pynvml) is installed.

        It is the GPU's: jobs that share one see each other's.
        """
        if self._device.type != "cuda" or importlib.util.find_spec("pynvml") is None:
            return
        try:
            self._busy += torch.cuda.utilization(self._device)
        except Exception:  # a part of a GPU has none; looking must not end a training
            return
        self._looks += 1

    def total(self) -> Usage:
        """Return what was used so far, with what was used before."""
        cuda = self._device.type == "cuda"
        return self._before + Usage(
            time.monotonic() - self._wall,
            time.process_time() - self._cpu,
            peak_memory(),
            torch.cuda.max_memory_allocated(self._device) if cuda else 0,
            self._busy,
            self._looks,
        )


def peak_memory() -> int:
    """Return the most bytes that this process had in memory at once."""
    try:
        # Not getrusage, where the kernel has it: that counts the process that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
