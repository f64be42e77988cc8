"""Which device a job computes on, with a make-believe CUDA."""

import os
from pathlib import Path

import pytest
import torch

from forgetting import devices, leases
from forgetting.devices import Request
from forgetting.errors import UserError
from studies import pipeline_of, tiny

CPU = torch.device("cpu")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Make-Believe 9000")


def test_one_gpu_is_all_that_cuda_will_see(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "torch.cuda.is_available", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]) or True
    )
    other = leases.take(["5"], 1, waiting=pytest.fail)
    assert devices.resolve(Request("auto"), report=pytest.fail) == torch.device("cuda")
    assert seen == ["7"]  # before CUDA was asked for the first time
    os.close(other.descriptor)


@pytest.mark.parametrize(("asked", "gpu"), [("cpu", 1), ("auto", 0)])
def test_jobs_on_the_cpu_never_lease(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, asked: str, gpu: int
) -> None:
    monkeypatch.setattr(leases, "take", lambda *a, **k: pytest.fail("leased"))
    parser = devices.argparse.ArgumentParser()
    devices.add_arguments(parser)
    request = devices.requested(parser.parse_args(["--device", asked, "--gpu", str(gpu)]))
    assert devices.resolve(request, report=pytest.fail) == CPU


@pytest.mark.parametrize("granted", [None, "0"])
def test_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: str | None
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("costs something"))
    if granted is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", granted)
    said: list[str] = []
    assert devices.resolve(Request("auto"), report=said.append) == CPU
    # Where a GPU was granted it is worth a line that none is used.
    assert [line.partition(":")[0] for line in said] == ["device=auto"] * (granted is not None)
    with pytest.raises(UserError, match=r"sees no GPU.*device=cpu"):
        devices.resolve(Request("cuda"), report=pytest.fail)
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_cuda_cannot_use(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a driver that is too old: it is counted, and does not work."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=r"CUDA_VISIBLE_DEVICES=5,7.*CUDA build"):
        devices.resolve(Request("cuda"), report=pytest.fail)
    for gpu in ("5", "7"):  # given back
        os.close(leases.take([gpu], 1, waiting=pytest.fail).descriptor)


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore."), "cuda"),
        (RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"), "cuda"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ..."), "cuda"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_the_end_of_a_gpus_memory_is_one_message(
    two_gpus: None, error: RuntimeError, device: str, jobs: int
) -> None:
    with (
        pytest.raises(UserError) as raised,
        devices.memory_explained(torch.device(device), Request("cuda", jobs)),
    ):
        raise error
    text = str(raised.value)
    assert "Make-Believe 9000" in text
    assert str(error).splitlines()[0] in text
    assert "More." not in text
    assert ("jobs_per_gpu=1; now 3 share one" in text) == (jobs == 3)
    assert "device=cpu" in text
    assert "batch_size" in text


def test_other_errors_stay_what_they_are() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes") as raised,
        devices.memory_explained(CPU, Request()),
    ):
        raise RuntimeError("shapes do not match")
    assert not isinstance(raised.value, UserError)


@pytest.mark.parametrize(
    ("device", "train", "measure"), [("auto", 1, 0), ("cpu", 0, 0), ("cuda", 1, 1)]
)
def test_how_many_gpus_jobs_ask_for(tmp_path: Path, device: str, train: int, measure: int) -> None:
    study = {**tiny(), "resources": {"train": {"gpu": 1}}}
    pipeline = pipeline_of(tmp_path, study, device=device)
    (run, *_) = pipeline.plan("collapse").runs.values()
    assert pipeline.gpus(run.resources) == train
    assert pipeline.gpus(pipeline.plan("collapse").measures["erank"].resources) == measure
