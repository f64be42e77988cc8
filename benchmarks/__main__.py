"""Measure this package against what people would use instead; one table at the end.

    python -m benchmarks                     all rows
    python -m benchmarks train_mlp cka       some of them
    python -m benchmarks --out benchmarks/README.md --data-dir DATA

Rows already in the file stay there. A peer that is not installed is named with what to type.
"""

import argparse
import importlib
import os
import pkgutil
import sys
from pathlib import Path

# As a job of the workflow has it, unless said otherwise; before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import benchmarks
from benchmarks import _harness, _machine, _table
from forgetting.launch import MALLOC

NAMES = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name[0] != "_")


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"of {', '.join(NAMES)}; default all"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each row (default 5)")
    parser.add_argument("--quick", action="store_true", help="one turn of each row")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--data-dir", type=Path, help="holds MNIST/raw; default: random images")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.md"))
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: this process's own seconds, for a machine that is busy with other things",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(NAMES):
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    _harness.use_clock(arguments.clock)
    repeats = 1 if arguments.quick else arguments.repeats
    scale = _harness.Scale(repeats, arguments.tiny, arguments.data_dir)
    machine, rates = _machine.describe(), _machine.rates()
    print(f"{machine}\n{rates}", flush=True)
    for name in arguments.rows or NAMES:
        found = []
        for row in importlib.import_module(f"benchmarks.{name}").rows(scale):
            found.append(_harness.measure(row, repeats, _machine.seconds))
            print(_table.line(name, found[-1], _machine.moment()), flush=True)
        at = _machine.moment() + (", CPU seconds" if arguments.clock == "cpu" else "")
        # After every row: a suite that is stopped half-way keeps what it has.
        _table.write(arguments.out, {name: found}, machine=machine, rates=rates, at=at)


def as_a_job() -> None:
    """Begin again with the settings of memory that the workflow gives its jobs, for both sides."""
    wanted = dict(pair.split("=") for pair in MALLOC.split())
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})


if __name__ == "__main__":
    as_a_job()
    try:
        main()
    except _harness.NotMeasured as error:
        sys.exit(str(error))
