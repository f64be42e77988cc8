"""Where a job computes: the device it was asked for, and as many threads as it was given."""

import os

import torch

from forgetting.errors import UserError


def resolve(name: str) -> torch.device:
    """Return the device for ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError(
            "device=cuda, but PyTorch sees no GPU here; run with --config device=cpu, or on a "
            "machine with a GPU and a CUDA build of PyTorch"
        )
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={name}: choose auto, cpu or cuda")
    use_threads()
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def forward_batch(device: torch.device) -> int:
    """Return how many images to send through a network at once when only its outputs count.

    Large batches fall out of a CPU's caches (a ConvGRU runs five times slower at 1,000 than at
    64); on a GPU small ones leave it idle.
    """
    return 64 if device.type == "cpu" else 2000


def use_threads() -> None:
    """Use the number of threads that the workflow allots a job (OMP_NUM_THREADS)."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit() and int(threads) > 0:
        torch.set_num_threads(int(threads))


def describe(device: torch.device) -> str:
    """Return ``cpu`` or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
