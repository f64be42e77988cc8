"""A ResNet-18 on images like CIFAR's, batch 128, against a plain torch loop with a DataLoader.

The plain loop trains the same network (without our change of its memory layout) as anyone would:
images through torchvision's ``ToTensor`` and ``Normalize`` one by one, a shuffling ``DataLoader``,
``torch.optim.SGD`` with momentum. Ours is ``Training``, in a process with the settings of memory
that the workflow gives its jobs (``forgetting.launch``). The sides take turns, each turn in a
process of its own; starting up is not in it, nor is a first batch.

The floor is the operations of convolutions and head, three times those of a forward pass.
"""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks._harness import Floor, Goal, Row, Scale, chosen_clock, now, use_clock
from benchmarks._images import random_images
from forgetting.architectures import resnet18
from forgetting.architectures._layers import ChannelsLast
from forgetting.benchmarks import split
from forgetting.launch import MALLOC
from forgetting.randomness import torch_generator
from forgetting.stages import Stages
from forgetting.strategy import Strategy
from forgetting.training import Settings, Training

BATCH, RATE = 128, 0.05


def rows(scale: Scale) -> Iterator[Row]:
    gpu = torch.cuda.is_available()
    for device, goal in (("cpu", 1.1), ("cuda", 2.0)):
        missing = device == "cuda" and not gpu
        width = 2 if missing else scale.of(64, 2)
        batches = 1 if missing else scale.of(100 if device == "cuda" else 2, 1)
        given = [width, batches, "cpu" if missing else device]
        yield Row(
            f"ResNet-18, 32 x 32 images, batch {BATCH}, float32{', on a GPU' * (device == 'cuda')}",
            "plain torch loop with a DataLoader",
            functools.partial(elsewhere, "ours", *given),
            functools.partial(elsewhere, "plain", *given),
            goal=Goal(goal),
            unit="a batch",
            floor=Floor(BATCH * operations(width), device=device),
            most=3 if device == "cpu" else 100,
            hardware="no GPU here" if missing else "",
        )
        slow = device == "cpu" and not {"avx512_bf16", "amx_bf16"} & _instructions()
        if slow:  # it would be emulated, for minutes
            given = [2, 1, "cpu"]
        yield Row(
            f"the same in bfloat16 (`bfloat16: true`){', on a GPU' * (device == 'cuda')}",
            "ours in float32",
            functools.partial(elsewhere, "bfloat16", *given),
            functools.partial(elsewhere, "ours", *given),
            goal=Goal(2.0) if device == "cuda" else None,
            unit="a batch",
            floor=Floor(
                BATCH * operations(given[0]), dtype="bfloat16", device="cpu" if missing else device
            ),
            most=3 if device == "cpu" else 100,
            hardware="no GPU here" if missing else "no bfloat16 products here" if slow else "",
        )


def _instructions() -> set[str]:
    """Return what this processor is said to be able to do, in lower case; empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("flags") for word in line.split()}


def elsewhere(side: str, *given: object) -> float:
    """Return seconds a batch, in a process of its own."""
    wanted = dict(pair.split("=") for pair in MALLOC.split())
    environment = {name: value for name, value in os.environ.items() if name not in wanted}
    if side != "plain":
        environment |= wanted
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train_resnet", side]
    ended = subprocess.run(
        [*command, *map(str, given), chosen_clock()],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )
    return float(ended.stdout)


def operations(width: int) -> float:
    """Return the operations of training on one image."""
    stem = 9 * 3 * width * 32**2
    blocks, inputs, side = 0.0, width, 32
    for outputs, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        side //= stride
        shortcut = inputs * outputs if stride == 2 else 0
        blocks += side**2 * (9 * inputs * outputs + 3 * 9 * outputs**2 + shortcut)
        inputs = outputs
    return 3 * 2.0 * (stem + blocks) - 2.0 * stem


def network(width: int) -> Stages:
    generator = torch_generator("resnet")
    return resnet18.build((3, 32, 32), 10, resnet18.Settings(width=width), generator)


def ours(width: int, batches: int, device: str, *, bfloat16: bool = False) -> float:
    """Return seconds a batch: a task to warm up, and a task that counts."""
    data = random_images(2 * batches * BATCH, size=32, channels=3)
    benchmark = split.build(
        [data],
        split.Settings(tasks=2, scenario="class_incremental", mask="none"),
        name="images",
        seeds=[0],
        device=torch.device(device),
        dtype=torch.float32,
    )
    training = Training(
        benchmark,
        [network(width).to(device)],
        Strategy.from_entry({"parts": [{"component": "sgd", "settings": {}}]}),
        Settings(
            learning_rate=RATE,
            momentum=0.9,
            batch_size=BATCH,
            evaluate="current",
            checkpoints=(),
            reset_optimizer=False,
            bfloat16=bfloat16,
        ),
        name="images",
        seeds=[0],
        keep=lambda *_: None,
    )
    begun: list[float] = []

    def at_step() -> None:
        if training.phase == 1 and not begun:
            begun.append(ready(device))

    training.run(at_step)
    return (ready(device) - begun[0]) / batches


def plain(width: int, batches: int, device: str) -> float:
    """Return seconds a batch."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    images = random_images((batches + 1) * BATCH, size=32, channels=3)
    transform = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262)),
        ]
    )

    class Images(Dataset):
        def __len__(self) -> int:
            return len(images.train_images)

        def __getitem__(self, place: int):
            image = transform(Image.fromarray(images.train_images[place]))
            return image, int(images.train_labels[place])

    workers = 4 if device == "cuda" else 0
    loader = DataLoader(
        Images(), BATCH, shuffle=True, num_workers=workers, pin_memory=device == "cuda"
    )
    net = network(width).to(device).train()
    for stage in net.stages.values():
        for name, layer in stage.named_children():
            if isinstance(layer, ChannelsLast):
                setattr(stage, name, torch.nn.Identity())
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9)
    started = 0.0
    for place, (inputs, targets) in enumerate(loader):
        if place == 1:
            started = ready(device)
        inputs, targets = (t.to(device, non_blocking=True) for t in (inputs, targets))
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (ready(device) - started) / batches


def ready(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return now()


SIDES = {"ours": ours, "bfloat16": functools.partial(ours, bfloat16=True), "plain": plain}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=list(SIDES))
    parser.add_argument("width", type=int)
    parser.add_argument("batches", type=int)
    parser.add_argument("device")
    parser.add_argument("clock")
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    use_clock(given.clock)
    print(SIDES[given.side](given.width, given.batches, given.device))
