"""Training samples per second of an MLP on Split MNIST, against avalanche-lib's ``Naive``.

Both train 784-400-400-10 (ReLU) with plain SGD on five tasks of two digits, batch 64, one epoch,
on one CPU thread. Avalanche runs in its default form: ``SplitMNIST`` with its default transforms
and its own data loader. The two alternate in one process; the table gives medians and the ratio.

    pip install -c envs/constraints.txt -e '.[benchmarks]'
    python -m benchmarks.train_mlp --data-dir DATA      (DATA/MNIST/raw holds the four files)
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

HIDDEN, BATCH, LEARNING_RATE, TASKS = 400, 64, 0.01, 5


def ours(data_dir: Path) -> float:
    """Return the samples per second of this package."""
    from forgetting import datasets, sources
    from forgetting.architectures import mlp
    from forgetting.benchmarks import split
    from forgetting.randomness import torch_generator
    from forgetting.strategy import Strategy
    from forgetting.training import Settings, Training

    cpu, float32 = torch.device("cpu"), torch.float32
    # Neither side evaluates: ours always does, so it gets next to nothing to evaluate.
    mnist = _loaded.get("ours") or datasets.first_per_class(
        sources.load(sources.resolve("mnist", data_dir), data_dir), train=None, test=1
    )
    _loaded["ours"] = mnist
    benchmark = split.build(
        [mnist],
        split.Settings(tasks=TASKS, scenario="class_incremental", mask="none"),
        name="split-mnist",
        seeds=[0],
        device=cpu,
        dtype=float32,
    )
    network = mlp.build(
        benchmark.input_shape,
        benchmark.outputs,
        mlp.Settings(hidden=[HIDDEN, HIDDEN]),
        torch_generator("split-mnist", 0, "initialisation"),
    )
    training = Training(
        benchmark,
        [network],
        Strategy.from_entry({"parts": [{"component": "sgd", "settings": {}}]}),
        Settings(learning_rate=LEARNING_RATE, batch_size=BATCH, evaluate="current"),
        name="split-mnist",
        seeds=[0],
        keep=lambda *_: None,
    )
    samples = sum(benchmark.train_indices([task]).shape[1] for task in range(1, TASKS + 1))
    started = time.perf_counter()
    training.run()
    return samples / (time.perf_counter() - started)


def avalanche(data_dir: Path) -> float:
    """Return the samples per second of Avalanche's ``Naive`` in its default form."""
    import torch.nn as nn
    from avalanche.benchmarks.classic import SplitMNIST
    from avalanche.training.supervised import Naive

    benchmark = _loaded.get("avalanche") or SplitMNIST(
        n_experiences=TASKS, fixed_class_order=list(range(10)), dataset_root=data_dir
    )
    _loaded["avalanche"] = benchmark
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 10),
    )
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=LEARNING_RATE),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        evaluator=None,
    )
    samples = sum(len(experience.dataset) for experience in benchmark.train_stream)
    started = time.perf_counter()
    for experience in benchmark.train_stream:
        strategy.train(experience)
    return samples / (time.perf_counter() - started)


_loaded: dict = {}


def main() -> None:
    """Alternate the two and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {"forgetting": [], "avalanche": []}
    for repeat in range(arguments.repeats + 1):
        for name, run in (("forgetting", ours), ("avalanche", avalanche)):
            rate = run(arguments.data_dir)
            if repeat:  # the first round warms up
                rates[name].append(rate)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(
            f"{name:12} {medians[name]:9.0f} samples/s  ({', '.join(f'{v:.0f}' for v in values)})"
        )
    pairs = [a / b for a, b in zip(rates["forgetting"], rates["avalanche"], strict=True)]
    print(f"ratio        {statistics.median(pairs):9.2f}  ({', '.join(f'{p:.2f}' for p in pairs)})")


if __name__ == "__main__":
    main()
