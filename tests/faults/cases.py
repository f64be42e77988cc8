"""The trainings that are disturbed: every kind of loop, and strategies that keep much in mind."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trainings
from forgetting import checkpoints

ONLINE = {
    "name": "stream",
    "component": "split",
    "settings": {**trainings.BENCHMARK["settings"], "mask": "none"},
}
AGENTS = {
    "name": "ant",
    "component": "slippery_ant",
    "settings": {"tasks": 2, "steps": 150, "episode": 40, "frictions": [0.3, 1.2]},
}
ACTOR = {"name": "actor", "component": "actor_critic", "settings": {"hidden": [9, 8]}}


@dataclass(frozen=True)
class Case:
    """A training."""

    parts: dict[str, dict[str, Any]]
    """Components of the strategy with their settings."""
    architecture: str = "mlp"
    """An MLP's seeds are trained as one batch, a ResNet's one after the other."""
    training: dict[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1)

    def command(self, data: Path, out: Path, *more: str, **training: Any) -> list[str]:
        """Return its command line."""
        parts = [{"component": name, "settings": about} for name, about in self.parts.items()]
        return trainings.command(
            data,
            out,
            strategy={"name": "-".join(self.parts), "parts": parts},
            seeds=self.seeds,
            architecture=self.architecture,
            more=(*self.more, *more),
            **{**self.training, **training},
        )


EPOCHS = {"epochs": 12, "momentum": 0.9, "checkpoint_epochs": [0.5, 6]}
FEW = {"epochs": 2, "momentum": 0.9, "checkpoint_epochs": [0.5]}
BY_ONE = {
    "batch_size": 1,
    "epochs": 8,
    "checkpoint_epochs": [0.5, 4],
}
ON_STREAM = ("--benchmark", json.dumps(ONLINE))
CASES = {
    "sgd, packed": Case({"sgd": {}}, training=EPOCHS),
    "replay, packed": Case({"experience_replay": {"buffer": 40}}, training=EPOCHS),
    "ewc, packed": Case({"ewc": {"strength": 10.0, "batch": 20}}, training=EPOCHS),
    "l2 and effective rank, packed": Case(
        {"l2": {"strength": 0.01}, "effective_rank": {"rate": 1e-3, "every": 2}}, training=EPOCHS
    ),
    "continual backprop, packed": Case(
        {"continual_backprop": {"rate": 0.05, "maturity": 3}},
        training={**EPOCHS, "momentum": 0.0, "optimizer": "adam", "learning_rate": 0.01},
    ),
    "lwf, in turn": Case({"lwf": {"alpha": 1.0}}, architecture="resnet18", training=FEW),
    "replay, in turn": Case(
        {"experience_replay": {"buffer": 40}}, architecture="resnet18", training=FEW
    ),
    "shrink and perturb, one by one": Case(
        {"shrink_perturb": {"noise": 0.01}}, training={**BY_ONE, "epochs": 1}, more=ON_STREAM
    ),
    "l2, one by one, written out": Case(
        {"l2": {"strength": 0.01}}, training=BY_ONE, more=ON_STREAM
    ),
    "sgd, agents": Case(
        {"sgd": {}},
        training={
            "optimizer": "adam", "learning_rate": 0.01, "rollout": 24, "batch_size": 6, "epochs": 2
        },
        more=(
            "--benchmark", json.dumps(AGENTS), "--architecture", json.dumps(ACTOR), "--data",
        ),
    ),
}  # fmt: skip


def result(out: Path) -> tuple[Any, ...]:
    """Return all that a finished run holds; its folder must hold nothing else.

    The record without time and place, both tables to the byte, and every checkpoint to the byte.
    """
    record = json.loads((out / "run.json").read_text())
    files = {path.stem: checkpoints.checksum(path) for path in (out / "checkpoints").iterdir()}
    assert files == record["checkpoints"]
    assert {path.name for path in out.iterdir()} == {
        ".resume", "accuracy.parquet", "checkpoints", "history.parquet", "run.json"
    }  # fmt: skip
    (state,) = (path for path in (out / ".resume").iterdir() if path.is_dir())
    left = {path.name for path in (out / ".resume").iterdir()} - {"lock", state.name}
    assert not left
    kept = {"accuracy.parquet", "history.parquet", "run.json"}
    assert {path.name for path in state.iterdir()} == kept
    return trainings.facts(out)
