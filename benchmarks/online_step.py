"""One online step, batch 1, of an MLP 784-W-W-W-10 against a plain torch loop.

Both train with SGD without momentum on the same random images, one at a time. The plain loop is
forward, cross-entropy, backward, ``SGD.step``, as anyone would write it; ours is what ``Training``
calls where nothing looks into the steps (``forgetting.online``).

The floor reads every weight three times (forward, backward, update) and writes it once, at the
speed of memory of the weights' size. On a GPU five networks are trained together, so that they do
not fit into its cache: there the floor is what is judged.
"""

import functools
from collections.abc import Iterator

import torch

from benchmarks._harness import Floor, Goal, Row, Scale, now
from forgetting.architectures import mlp
from forgetting.ensemble import Ensemble
from forgetting.online import Online
from forgetting.randomness import torch_generator

RATE = 0.01


def rows(scale: Scale) -> Iterator[Row]:
    for width, more, goal in (
        (100, {}, 3.0),
        (1000, {}, 2.0),
        (100, {"layer_norm": True}, None),
        (1000, {"decay": 1e-3}, None),
    ):
        steps = scale.of(200_000 // width, 5)
        extra = {"width": width, "steps": steps, **more}
        named = {"layer_norm": ", layer norm", "decay": ", L2"}
        yield Row(
            f"one online step (batch 1, SGD), MLP 3 x {width}{''.join(map(named.get, more))}",
            "plain torch loop",
            functools.partial(ours, **extra),
            functools.partial(plain, **extra),
            goal=goal and Goal(goal),
            unit="a step",
            floor=floor(width),
        )
    gpu = torch.cuda.is_available()
    width, steps = (1000, scale.of(2000, 100)) if gpu else (10, 5)
    extra = {"width": width, "seeds": 5, "steps": steps, "device": "cuda" if gpu else "cpu"}
    for value, goal in (("over floor", Goal(2.0, "at most")), ("ratio", None)):
        yield Row(
            "the same on a GPU, 5 seeds x 3 x 1000 in a pack",
            "the memory floor" if goal else "plain torch loop, eager",
            functools.partial(ours, **extra),
            functools.partial(plain, **extra) if goal is None else None,
            goal=goal,
            value=value,
            unit="a step of the pack",
            floor=floor(width, seeds=5, device=extra["device"]),
            hardware="" if gpu else "no GPU here",
        )


def floor(width: int, *, seeds: int = 1, device: str = "cpu") -> Floor:
    weights = 4.0 * seeds * (784 * width + 2 * width * width + 10 * width)
    return Floor(bytes=4 * weights, among=weights, device=device)


def network(width: int, layer_norm: bool = False) -> torch.nn.Module:
    settings = mlp.Settings(hidden=(width, width, width), layer_norm=layer_norm)
    return mlp.build((1, 28, 28), 10, settings, torch_generator("online", 0))


def stream(seeds: int, steps: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch_generator("stream")
    images = torch.rand(seeds, steps, 1, 28, 28, generator=generator).to(device)
    return images, torch.randint(10, (seeds, steps), generator=generator).to(device)


def ours(
    *,
    width: int,
    steps: int,
    seeds: int = 1,
    device: str = "cpu",
    layer_norm: bool = False,
    decay: float = 0.0,
) -> float:
    """Return seconds a step of all seeds."""
    online = Online(Ensemble([network(width, layer_norm).to(device) for _ in range(seeds)]))
    images, labels = stream(seeds, steps, device)
    if device == "cuda":  # captures the graph, once in a training
        online.run(images, labels, rate=RATE, decay=decay)
    started = ready(device)
    online.run(images, labels, rate=RATE, decay=decay)
    return (ready(device) - started) / steps


def plain(
    *,
    width: int,
    steps: int,
    seeds: int = 1,
    device: str = "cpu",
    layer_norm: bool = False,
    decay: float = 0.0,
) -> float:
    """Return seconds a step of all seeds, one network after the other."""
    networks = [network(width, layer_norm).to(device) for _ in range(seeds)]
    images, labels = stream(seeds, steps, device)
    started = ready(device)
    for seed, net in enumerate(networks):
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, weight_decay=decay)
        for place in range(steps):
            logits = net(images[seed, place : place + 1])
            target = labels[seed, place : place + 1]
            loss = torch.nn.functional.cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (ready(device) - started) / steps


def ready(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return now()
