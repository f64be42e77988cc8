"""Where a job computes: the device it was asked for, and as many threads as it was given."""

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from forgetting import leases
from forgetting.errors import UserError

EXHAUSTED = ("out of memory", "ALLOC_FAILED")
"""What errors of the CUDA libraries say, beside PyTorch's own, when a GPU's memory is used up."""


@dataclass(frozen=True)
class Request:
    """What a job asks for."""

    name: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu`` or ``cuda``."""
    jobs_per_gpu: int = 1
    """Jobs that share a GPU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a command that computes on a device."""
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--gpu", type=int, default=1, help="0: auto means cpu")
    parser.add_argument("--jobs-per-gpu", type=int, default=1, help="jobs that share a GPU")


def requested(arguments: argparse.Namespace) -> Request:
    """Return what the arguments ask for."""
    no_gpu = arguments.device == "auto" and arguments.gpu == 0
    return Request("cpu" if no_gpu else arguments.device, arguments.jobs_per_gpu)


def resolve(
    request: Request, *, report: Callable[[str], None], look: Callable[[], None] = lambda: None
) -> torch.device:
    """Return the device that is asked for.

    A GPU is leased for the rest of the process, and is then the only one that CUDA sees; this has
    to be called before anything else asks CUDA for something. ``report`` is told of a wait;
    ``look`` is called again and again meanwhile, and may end it by an exception.

    Raises:
        UserError: There is no GPU for ``cuda``, or no such device.
    """
    name = request.name
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={name}: choose auto, cpu or cuda")
    use_threads()
    if name == "cpu":
        return torch.device("cpu")
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    # Counting, unlike is_available, leaves open which GPUs CUDA will see.
    ids = leases.visible(granted, torch.cuda.device_count())
    lease = leases.take(ids, request.jobs_per_gpu, waiting=report, look=look) if ids else None
    if lease is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = lease.gpu
        if torch.cuda.is_available():
            return torch.device("cuda")
        os.close(lease.descriptor)
    here = f" (CUDA_VISIBLE_DEVICES={granted})" if granted else ""
    if name == "cuda":
        raise UserError(
            f"device=cuda, but PyTorch sees no GPU here{here}; run with --config device=cpu, or on "
            "a machine with a GPU and a CUDA build of PyTorch"
        )
    if granted:
        report(f"device=auto: PyTorch sees no GPU here{here}, so this is computed on the CPU")
    return torch.device("cpu")


@contextlib.contextmanager
def memory_explained(device: torch.device, request: Request) -> Iterator[None]:
    """Turn the end of a GPU's memory into a message.

    Raises:
        UserError: The block ran out of it.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        known = isinstance(error, torch.OutOfMemoryError)
        if not (known or (device.type == "cuda" and any(each in text for each in EXHAUSTED))):
            raise
        shared = (
            f"give a job a GPU of its own (--config jobs_per_gpu=1; now "
            f"{request.jobs_per_gpu} share one), "
            if request.jobs_per_gpu > 1
            else "see that no other program uses the GPU (nvidia-smi), "
        )
        raise UserError(
            f"the memory of the GPU ({describe(device)}) does not suffice: "
            f"{text.splitlines()[0] if text else 'out of memory'}\n"
            f"To go on, {shared}compute on the CPU (--config device=cpu), or in the study train "
            "fewer seeds in a pack (seeds:), in smaller batches (training: batch_size: makes other "
            "results), or measure fewer images"
        ) from None


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
