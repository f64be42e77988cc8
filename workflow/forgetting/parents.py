"""The run that another one continues: its weights to start from, and its rows from before.

A run may continue another of its benchmark, or of one whose tasks up to the start are the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from forgetting import building, checkpoints, parquet, specification
from forgetting.ensemble import Ensemble, Tensors
from forgetting.errors import UserError
from forgetting.moments import name as moment_name
from forgetting.recording import ACCURACY, HISTORY
from forgetting.tasks import Benchmark


@dataclass(frozen=True)
class Parent:
    """A finished run that another one continues."""

    path: Path
    """Its run.json."""
    record: dict[str, Any]
    """What that holds."""

    @classmethod
    def read(cls, path: Path) -> "Parent":
        """Read it.

        Raises:
            UserError: It is not there, or not a run.json that a training wrote.
        """
        if not path.exists():
            raise UserError(f"{path}: not there; train the run that this one starts from again")
        return cls(path, specification.read(path))

    def check(self, spec: dict[str, Any], mine: Benchmark, sidecars: Sequence[Path]) -> None:
        """See that the run of this specification and benchmark can continue it.

        Raises:
            UserError: It is of another network, other seeds or other images, or of another
                benchmark whose tasks up to the start are not the run's.
        """
        for part in ("architecture", "seeds"):
            if self.record["spec"][part] != spec[part]:
                raise UserError(
                    f"{self.path}: its {part} is not that of the run that is to continue it; name "
                    "another one with --start"
                )
        given = [about["checksum"] for about in building.read_sidecars(sidecars)]
        if [about.get("checksum") for about in self.record["datasets"]] != given:
            raise UserError(
                f"{self.path}: was trained on other images than {', '.join(map(str, sidecars))}; "
                f"start the workflow again with --forcerun {self.path}, or by hand name the images "
                "that it was trained on with --data"
            )
        if self.record["spec"]["benchmark"] == spec["benchmark"]:
            return
        first = spec["strategy"]["starts_from"]["task"]
        theirs = building.benchmark(
            self.record["spec"], sidecars, seeds=spec["seeds"], device=mine.device
        )
        if theirs.outputs != mine.outputs or not all(
            mine.same_task(theirs, task) for task in range(1, first + 1)
        ):
            names = [each["benchmark"]["name"] for each in (spec, self.record["spec"])]
            raise UserError(
                f"strategies.{spec['strategy']['name']}.starts_from: {names[0]} cannot continue "
                f"{names[1]}, whose tasks up to {first} or number of outputs are others"
            )

    def start(
        self, spec: dict[str, Any], mine: Benchmark, positions: Sequence[int]
    ) -> tuple[int, Tensors]:
        """Return the task to start after, and weights (S, ...) of the seeds at these positions.

        Not a number where all seeds had diverged by then: such a run kept no weights.

        Raises:
            UserError: The run kept no checkpoint of the start, or that is damaged.
        """
        start = spec["strategy"]["starts_from"]
        moment = moment_name(start["task"], start.get("epoch"))
        if moment in self.record["checkpoints"]:
            path = self.path.parent / "checkpoints" / f"{moment}.safetensors"
            tensors, _ = checkpoints.read(path, expected=self.record["checkpoints"][moment])
            return start["task"], {name: tensor[positions] for name, tensor in tensors.items()}
        if any(about["status"] != "diverged" for about in self.record["seeds"].values()):
            raise UserError(
                f"{self.path}: kept no checkpoint {moment} to start from; there are "
                f"{', '.join(self.record['checkpoints'])}"
            )
        seeds = [spec["seeds"][position] for position in positions]
        state = Ensemble(building.networks(spec, mine, seeds=seeds)).state()
        return start["task"], {
            name: torch.full_like(t, torch.nan) if t.is_floating_point() else t
            for name, t in state.items()
        }

    def facts(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return its rows from before the start, which are the run's too, as a group's facts.

        If it diverged before the start there are no weights to start from: so has the run. (Whether
        one that starts within a task did is seen by the weights.)
        """
        task, epoch = (spec["strategy"]["starts_from"].get(part) for part in ("task", "epoch"))
        folder = self.path.parent
        accuracy = parquet.read(folder / "accuracy.parquet").to_pylist()
        history = parquet.read(folder / "history.parquet").to_pylist()
        # A parent of another benchmark shares the tasks up to the start and no later ones.
        same = self.record["spec"]["benchmark"] == spec["benchmark"]
        until = epoch or math.inf
        return {
            "accuracy": [
                [row[name] for name in ACCURACY]
                for row in accuracy
                if row["after_task"] < task and (same or row["task"] <= task)
            ],
            "history": [
                [row[name] for name in HISTORY]
                for row in history
                if row["task"] < task or (row["task"] == task and row["epoch"] <= until)
            ],
            "diverged": {
                seed: [about["task"], about["step"]]
                for seed, about in self.record["seeds"].items()
                if about["status"] == "diverged" and about["task"] <= task - (epoch is not None)
            },
            "usage": {},
        }
