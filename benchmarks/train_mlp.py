"""Training an MLP 784-400-400-10 on Split MNIST, batch 64, against avalanche-lib.

Plain SGD, replay, learning without forgetting and elastic weight consolidation, five tasks of two
digits, one epoch, one CPU thread. Avalanche runs in its default form (``SplitMNIST`` with its
default transforms and its own data loader), and once more fed from tensors that are in memory,
already normalised. Settings that change how much there is to do are equal: 2,000 stored samples
of which 64 join a batch from the second task on; a quadratic penalty for every earlier task.

The floor counts matrix products only: three for a layer and a sample, two for the first layer;
one more for a teacher; and another pass for the Fisher information.
"""

import contextlib
import functools
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from benchmarks._harness import Floor, Goal, NotMeasured, Row, Scale, now
from benchmarks._images import mnist, write_mnist
from forgetting.architectures import mlp
from forgetting.benchmarks import split
from forgetting.datasets import Dataset
from forgetting.randomness import torch_generator
from forgetting.strategy import Strategy
from forgetting.training import Settings, Training

BATCH, RATE, TASKS, STORED = 64, 0.01, 5, 2000
OURS = {
    "sgd": {},
    "experience_replay": {"buffer": STORED, "replay_from": "earlier_tasks"},
    "lwf": {"alpha": 1.0, "temperature": 2.0},
    "ewc": {"strength": 1.0, "batch": 500},
}
THEIRS = {
    "sgd": ("Naive", {}),
    "experience_replay": ("Replay", {"mem_size": STORED}),
    "lwf": ("LwF", {"alpha": 1.0, "temperature": 2.0}),
    "ewc": ("EWC", {"ewc_lambda": 0.5}),
}
GOALS = {"sgd": 3.2, "experience_replay": 3.4, "lwf": 2.8, "ewc": 6.5}


def rows(scale: Scale) -> Iterator[Row]:
    images = scale.of(60_000 if scale.repeats > 1 else 12_000, 400)
    width = scale.of(400, 8)
    data = mnist(scale.data_dir, images)
    batches = sum(-(-int(sum(data.train_labels // 2 == task)) // BATCH) for task in range(TASKS))
    for strategy, goal in GOALS.items():
        ours = functools.partial(by_ours, strategy, data, width, batches)
        floor = Floor(operations(strategy, width) * len(data.train_labels) / batches)
        name = THEIRS[strategy][0]
        for fed, against in ((False, "default form"), (True, "fed from tensors")):
            yield Row(
                f"train an MLP 784-{width}-{width}-10, Split MNIST, batch {BATCH}: {strategy}",
                f"avalanche-lib `{name}`, {against}",
                ours,
                functools.partial(by_avalanche, strategy, data, width, batches, fed=fed),
                goal=None if fed else Goal(goal),
                unit="a batch",
                floor=floor,
            )


def operations(strategy: str, width: int) -> float:
    """Return the operations of matrix products for every sample of the stream."""
    layers = [784 * width, width * width, width * 10]
    forward = 2.0 * sum(layers)
    step = 3 * forward - 2.0 * layers[0]
    later = (TASKS - 1) / TASKS  # the first task has nothing to keep
    return {
        "sgd": step,
        "experience_replay": (1 + later) * step,
        "lwf": step + later * forward,
        "ewc": 2 * step,
    }[strategy]


def by_ours(strategy: str, data: Dataset, width: int, batches: int) -> float:
    """Return seconds a batch of new samples."""
    benchmark = split.build(
        [data],
        split.Settings(tasks=TASKS, scenario="class_incremental", mask="none"),
        name="split-mnist",
        seeds=[0],
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    network = mlp.build(
        benchmark.input_shape,
        benchmark.outputs,
        mlp.Settings(hidden=(width, width)),
        torch_generator("split-mnist", 0, "initialisation"),
    )
    training = Training(
        benchmark,
        [network],
        Strategy.from_entry({"parts": [{"component": strategy, "settings": OURS[strategy]}]}),
        Settings(learning_rate=RATE, batch_size=BATCH, evaluate="current"),
        name="split-mnist",
        seeds=[0],
        keep=lambda *_: None,
    )
    started = now()
    training.run()
    return (now() - started) / batches


def by_avalanche(strategy: str, data: Dataset, width: int, batches: int, *, fed: bool) -> float:
    """Return seconds a batch of new samples."""
    stream = avalanche_stream(data, fed=fed)
    from avalanche.training import supervised

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )
    name, settings = THEIRS[strategy]
    trained = getattr(supervised, name)(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        evaluator=None,
        **settings,
    )
    started = now()
    # Its bars and warnings stay out of the table.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for experience in stream:
            trained.train(experience)
    return (now() - started) / batches


_streams: dict = {}


def avalanche_stream(data: Dataset, *, fed: bool) -> list:
    """Return Avalanche's experiences of the images.

    Raises:
        NotMeasured: Avalanche is not installed.
    """
    if fed in _streams:
        return _streams[fed]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from avalanche.benchmarks import nc_benchmark
            from avalanche.benchmarks.classic import SplitMNIST
        except ImportError as error:
            raise NotMeasured(
                f"avalanche-lib cannot be imported ({error}): "
                "pip install -c envs/constraints.txt -e '.[benchmarks]'"
            ) from None
        order = list(range(10))
        if fed:
            scenario = nc_benchmark(
                *(tensors(data, part) for part in ("train", "test")),
                n_experiences=TASKS,
                task_labels=False,
                fixed_class_order=order,
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                write_mnist(data, Path(folder))
                scenario = SplitMNIST(
                    n_experiences=TASKS, fixed_class_order=order, dataset_root=folder
                )
    _streams[fed] = list(scenario.train_stream)
    return _streams[fed]


def tensors(data: Dataset, part: str) -> TensorDataset:
    """Return normalised images and labels as Avalanche takes them."""
    images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).sub(0.1307).div(0.3081)
    found = TensorDataset(inputs, torch.from_numpy(labels))
    found.targets = labels.tolist()
    return found
