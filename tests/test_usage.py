"""Time and memory of a training, added up over the processes that it took."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from forgetting import usage
from forgetting.usage import MB, Meter, Usage

WORKFLOW = Path(__file__).parents[1] / "workflow"
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_times_add_up_and_of_memory_the_most_counts() -> None:
    first = Usage(10, 20, 5 * MB, 3 * MB, 90, 2)
    second = Usage(1, 2, 7 * MB, 2 * MB, 30, 1)
    assert first + second == Usage(11, 22, 7 * MB, 3 * MB, 120, 3)
    assert Usage(**first.state()) == first
    assert sum([first, second], Usage()) == first + second


def test_a_meter_goes_on_from_what_was_saved() -> None:
    before = Usage(100, 50, peak_memory=2**50)
    meter = Meter(CPU, before.state())
    ended = time.process_time() + 0.05
    while time.process_time() < ended:
        pass
    time.sleep(0.05)
    total = meter.total()
    assert 100.1 <= total.wall_seconds < 110
    assert 50.05 <= total.cpu_seconds < 50.1
    assert total.peak_memory == 2**50
    assert 10 * MB < Meter(CPU).total().peak_memory < 2**40


def test_memory_is_this_processs_own() -> None:
    """Not what the process had that started it, which the kernel counts too."""
    ballast = bytearray(600 * MB)
    ballast[::4096] = b"1" * len(ballast[::4096])
    # fork and exec, not vfork: then the new process begins as a copy of this one
    code = "import resource; from forgetting.usage import peak_memory; print(peak_memory())"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(WORKFLOW)}, preexec_fn=lambda: None,
    ).stdout  # fmt: skip
    assert 50 * MB < int(shown) < usage.peak_memory() - 100 * MB


def test_what_run_json_says_without_a_gpu() -> None:
    assert Usage(1.23456, 2.5, 300 * MB).record(CPU) == {
        "wall_seconds": 1.235,
        "cpu_seconds": 2.5,
        "peak_memory_mb": 300,
        "gpu": None,
    }


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A make-believe GPU, busy as the list says."""
    busy = [40, 80, 90]
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Make-Believe 9000")
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 123 * MB)
    monkeypatch.setattr("torch.cuda.utilization", lambda device: busy.pop(0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "pynvml")
    return busy


def test_what_run_json_says_of_a_gpu(gpu: list[int]) -> None:
    meter = Meter(CUDA, Usage(gpu_busy=30, gpu_looks=1, gpu_peak_memory=7).state())
    for _ in range(3):
        meter.look()
    meter.look()  # nothing left to say: no look, and no error
    said = {"name": "Make-Believe 9000", "peak_memory_mb": 123, "utilisation": 60.0}
    assert meter.total().record(CUDA)["gpu"] == said


def test_utilisation_is_not_known_without_the_library(
    gpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    meter = Meter(CUDA)
    meter.look()
    assert meter.total().record(CUDA)["gpu"]["utilisation"] is None
    assert len(gpu) == 3
