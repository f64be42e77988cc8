"""One online step, batch 1, of an MLP 784-W-W-W-10: ours against a plain torch loop, one thread.

Both train with SGD without momentum on the same random images, one at a time. The plain loop is
forward, cross-entropy, backward, ``SGD.step``, as anyone would write it; ours is what
``Training`` calls where nothing looks into the steps (``forgetting.online``). They alternate in
one process; the table gives medians and ratios.

    python -m benchmarks.online_step
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

import torch

from forgetting import online
from forgetting.architectures import mlp
from forgetting.ensemble import Ensemble
from forgetting.randomness import torch_generator

RATE = 0.01


def network(width: int) -> torch.nn.Module:
    settings = mlp.Settings(hidden=(width, width, width))
    return mlp.build((1, 28, 28), 10, settings, torch_generator("online", 0))


def ours(width: int, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return seconds a step."""
    steps = online.Online(Ensemble([network(width)]))
    started = time.perf_counter()
    steps.run(images[None], labels[None], rate=RATE, decay=0.0)
    return (time.perf_counter() - started) / len(images)


def plain(width: int, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return seconds a step."""
    net = network(width)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    started = time.perf_counter()
    for place in range(len(images)):
        logits = net(images[place : place + 1])
        loss = torch.nn.functional.cross_entropy(logits, labels[place : place + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - started) / len(images)


def main() -> None:
    """Alternate the two and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for width in arguments.widths:
        steps = 200_000 // width
        generator = torch_generator("stream")
        images = torch.rand(steps, 1, 28, 28, generator=generator)
        labels = torch.randint(10, (steps,), generator=generator)
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        for repeat in range(arguments.repeats + 1):
            for name, run in (("plain", plain), ("ours", ours)):
                seconds = run(width, images, labels)
                if repeat:  # the first round warms up
                    times[name].append(seconds)
        ratios = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
        medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
        print(
            f"3 x {width:5}   plain {medians['plain']:7.0f} us   ours {medians['ours']:7.0f} us   "
            f"ratio {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
