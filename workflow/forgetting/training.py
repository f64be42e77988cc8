"""The training loop: a pack of seeds through a sequence of tasks, step by step.

The loop is the same for every strategy and benchmark. What it guarantees:

* no host synchronisation inside a step; losses are looked at once a *chunk* of steps;
* its whole state is a tree of tensors and plain values (``Training.state``), complete at every
  step boundary, so that a run that was killed ends as if it had not been;
* raw facts come out: accuracies of every task after every task with row 0 before training, the
  online curve, and the weights at scheduled moments.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils._pytree import tree_map

from forgetting import checkpoints
from forgetting.data_order import epoch_order
from forgetting.ensemble import Ensemble, Tensors
from forgetting.evaluation import accuracies
from forgetting.online import STRETCH
from forgetting.randomness import numpy_generator, torch_generator
from forgetting.recording import Record
from forgetting.settings import Settings as Base
from forgetting.stages import Stages
from forgetting.steps import Steps
from forgetting.strategy import Context, Memory, Phase, Strategy
from forgetting.tasks import Batch, ImageBenchmark

CHUNKS_PER_EPOCH = 10


class Every(Base):
    """A schedule over tasks."""

    every: Annotated[int, Field(ge=1)]
    """After every so many tasks, and before the first."""


class Settings(Base):
    """How every task is trained."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """Stochastic gradient descent or Adam."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    """Step size."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of sgd (heavy ball); adam ignores it."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of adam's moments; sgd ignores them."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """L2 coefficient, added to the gradient as torch.optim does."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """New samples in a batch; the last batch of an epoch may be smaller."""
    epochs: Annotated[int, Field(ge=1)] = 1
    """Passes over each task's training images."""
    stop_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None
    """A task is left after the first epoch in which the mean accuracy of its steps, each before
    it is taken, exceeds this; needs packs of one seed, since each seed stops at its own time."""
    milestones: tuple[int, ...] = ()
    """Epochs of every task after which the learning rate is multiplied by gamma."""
    gamma: Annotated[float, Field(gt=0)] = 0.1
    """Factor of the learning rate at a milestone."""
    reset_optimizer: bool = True
    """Whether each task starts with a fresh optimiser state."""
    evaluate: Literal["all", "seen", "current"] = "all"
    """Tasks whose accuracy is taken after each task: all, those trained so far, or the last."""
    checkpoints: Literal["all"] | tuple[int, ...] | Every = "all"
    """Tasks after which the weights are kept (0: before training)."""
    checkpoint_epochs: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Moments within every task, in epochs (0.5: half way through the first), at which the weights
    are kept as well."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of weights and inputs."""


class Training:
    """A training of one ensemble, from its first step to its last; ``record`` has the facts."""

    def __init__(
        self,
        benchmark: ImageBenchmark,
        networks: Sequence[Stages],
        strategy: Strategy,
        settings: Settings,
        *,
        name: str,
        seeds: Sequence[int],
        keep: Callable[[str, int, float, Tensors], None],
        start: tuple[int, Tensors] | None = None,
        fresh: Callable[[int], Tensors] = lambda task: {},
    ) -> None:
        """Prepare the training.

        Args:
            benchmark: The tasks, for these seeds.
            networks: One initialised network per seed, on the benchmark's device.
            strategy: The strategy.
            settings: Training settings.
            name: The benchmark's name: the root of the seed tree.
            seeds: The seeds.
            keep: Called with (checkpoint name, task, epoch, tensors with a leading seed axis);
                epoch 0 stands for the end of the task.
            start: Task after which to start, and the weights to start from.
            fresh: Returns newly initialised weights (S, ...) for a task, other ones each time.
        """
        self.benchmark, self.strategy, self.settings = benchmark, strategy, settings
        self.name, self.seeds, self._keep = name, list(seeds), keep
        self.ensemble = Ensemble(networks)
        self.first_task = 0 if start is None else start[0]
        self.phases = [p for p in strategy.phases(benchmark.tasks) if p.task > self.first_task]
        self._initial = (
            {n: t.clone() for n, t in self.ensemble.state().items()}
            if any(phase.fresh for phase in self.phases)
            else {}
        )
        if start is not None:
            self.ensemble.load(start[1])
        self.steps = Steps(self.ensemble, strategy, settings)
        self.memory: Memory = strategy.start(self.ensemble)
        self.plan_memory: Memory = strategy.start_plan(len(self.seeds))
        self._generators: dict[str, np.random.Generator] = {}
        self._draws: dict[str, torch.Generator] = {}
        self._fresh, self._own = fresh, strategy.own_steps()
        self._draws_chance = strategy.has("draw")
        self._augments = type(benchmark).augment is not ImageBenchmark.augment
        self.record = Record(seeds)
        # Where the training stands: the phase, whether it has begun, the next epoch and step.
        self.phase, self.begun, self.epoch, self.step = -1, False, 0, 0
        self.taken = 0  # steps of all phases together

    # ---------------------------------------------------------------- the loop

    def run(self, at_step: Callable[[], None] = lambda: None) -> None:
        """Train to the end; ``at_step`` is called at every step boundary and may raise."""
        if self.phase < 0:
            if self.first_task:
                self.record.note_divergence(~self._weights_finite(), self.first_task, 0)
                self._consolidate(Phase(self.first_task, (self.first_task,)))
            self._evaluate(self.first_task)
            self._checkpoint(self.first_task, 0)
            self.phase = 0
        while self.phase < len(self.phases) and not self.finished:
            phase = self.phases[self.phase]
            context = self._context(phase.task)
            if not self.begun:
                self._begin(phase, context)
            while self.epoch < self.settings.epochs and not self.finished:
                self._run_epoch(phase, context, at_step)
                if self._learned(phase):
                    break
            if not self.finished:
                self._end(phase)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: all phases done, or every seed diverged."""
        return self.phase >= len(self.phases) or self.record.all_diverged

    @property
    def progress(self) -> float:
        """The share of the training that is done, phases weighed alike."""
        if self.finished or not self.phases:
            return 1.0
        return (max(self.phase, 0) + self.epoch / self.settings.epochs) / len(self.phases)

    def _context(self, task: int) -> Context:
        gather = self.ensemble.gather
        return Context(
            outputs=gather(self.benchmark.outputs_of(task)),
            old_groups=gather(self.benchmark.old_groups(task)),
        )

    def _begin(self, phase: Phase, context: Context) -> None:
        if phase.fresh:
            self.ensemble.load(self._initial)
        if self.settings.reset_optimizer or phase.fresh:
            self.steps.restart()
        if self.benchmark.reset_head:
            self.ensemble.clear_head()
        self._freeze(phase)
        known: dict[str, Any] = {"context": context}
        if "fresh" in self.strategy.facts("before_task"):
            known["fresh"] = {
                n: self.ensemble.gather(t) for n, t in self._fresh(phase.task).items()
            }
        self.memory = self.strategy.around_task(
            "before_task", self.ensemble, self.memory, task=phase.task, known=known
        )
        self.begun = True

    def _freeze(self, phase: Phase) -> None:
        stages = self.ensemble.trainable_stages
        self.ensemble.freeze(self.strategy.frozen(stages, phase.task))

    def _consolidate(self, phase: Phase) -> None:
        """Let the strategy see the phase's images once more, and take stock of the task."""
        context, device = self._context(phase.task), self.benchmark.pool.images.device
        for key, wanted in self.strategy.visits().items():
            order = [
                numpy_generator(self.name, seed, "visits", phase.task, key) for seed in self.seeds
            ]
            indices = self.benchmark.train_indices(phase.data)
            places = np.stack([g.permutation(indices.shape[1])[: wanted.images] for g in order])
            owners = self.benchmark.task_numbers(phase.data)
            indices, owners = (np.take_along_axis(x, places, 1) for x in (indices, owners))
            draws = np.stack([g.random(indices.shape[1]) for g in order])
            for start in range(0, indices.shape[1], wanted.batch):
                window = slice(start, start + wanted.batch)
                chosen, own, drawn = (
                    torch.from_numpy(array[:, window]).to(device)
                    for array in (indices, owners, draws)
                )
                self.memory = self.strategy.visit(
                    key,
                    self.ensemble,
                    self.memory,
                    batch=self._batch(chosen, own if len(phase.data) > 1 else None, phase.task),
                    draws=self.ensemble.gather(drawn.to(self.benchmark.pool.mean.dtype)),
                    context=context,
                )
        self.memory = self.strategy.around_task(
            "after_task", self.ensemble, self.memory, task=phase.task, known={"context": context}
        )

    def _batch(
        self, chosen: Tensor, tasks: Tensor | None, task: int, *, augmented: bool = False
    ) -> Batch:
        """Return the samples (S, B) of a phase; ``tasks`` (S, B) where they are of several."""
        inputs, targets = self.benchmark.fetch(chosen, task if tasks is None else tasks)
        if augmented and self._augments:
            # A generator for each step has no state that a resumed training would need.
            path = ("augmentation", task, self.epoch, self.step)
            of_seeds = [numpy_generator(self.name, seed, *path) for seed in self.seeds]
            inputs = self.benchmark.augment(inputs, of_seeds)
        mask = self.benchmark.training_mask(task, tasks)
        gather = self.ensemble.gather
        return Batch(gather(inputs), gather(targets), None if mask is None else gather(mask))

    def _end(self, phase: Phase) -> None:
        self.record.note_divergence(~self._weights_finite(), phase.task, self._steps(phase))
        self._consolidate(phase)
        self._evaluate(phase.task)
        self._checkpoint(phase.task, 0)
        self.phase, self.begun, self.epoch, self.step = self.phase + 1, False, 0, 0

    def _run_epoch(self, phase: Phase, context: Context, at_step: Callable[[], None]) -> None:
        settings, benchmark = self.settings, self.benchmark
        indices, owners = epoch_order(
            benchmark,
            phase.data,
            name=self.name,
            seeds=self.seeds,
            task=phase.task,
            epoch=self.epoch,
        )
        steps = self._steps(phase)
        chunk = math.ceil(steps / CHUNKS_PER_EPOCH)
        moments = {max(1, round(epoch * steps)): epoch for epoch in settings.checkpoint_epochs}
        passed = sum(self.epoch >= milestone for milestone in settings.milestones)
        self.steps.optimizer.rate = settings.learning_rate * settings.gamma**passed
        device = benchmark.pool.images.device
        resident = torch.from_numpy(indices).to(device)
        plans = self.strategy.has("plan")
        # Samples' own tasks matter only where a batch can mix tasks.
        mixed = plans or len(phase.data) > 1
        everyone_competes = benchmark.mask == "none"
        plain = everyone_competes and not mixed and not self._augments
        written_out = self.steps.online is not None and plain
        while self.step < steps:
            at_step()
            self._own_steps(resident, steps, phase, context, when="before")
            if written_out:
                count = self._undisturbed(steps, chunk, list(moments))
                window = resident[:, self.step : self.step + count]
                facts = self.steps.steps_of_one(*benchmark.fetch(window, phase.task))
                self.record.add_steps(facts)
            else:
                self._one_step(phase, context, indices, owners, resident, mixed=mixed)
                count = 1
            self.taken += count
            self.step += count
            self._own_steps(resident, steps, phase, context, when="after")
            moment = moments.get(self.epoch * steps + self.step)
            if moment is not None:
                self._checkpoint(phase.task, moment)
            if self.step % chunk == 0 or self.step == steps:
                self.record.close_chunk(task=phase.task, epoch=self.epoch + 1, step=self.step)
                if self.finished:
                    return
        self.epoch, self.step = self.epoch + 1, 0

    def _learned(self, phase: Phase) -> bool:
        """Whether the epoch just trained was accurate enough to leave the task at that."""
        enough = self.settings.stop_accuracy
        if enough is None or self.finished:
            return False
        return self.record.training_accuracy(phase.task, self.epoch) > enough

    def _undisturbed(self, steps: int, chunk: int, moments: list[int]) -> int:
        """Return how many steps may be taken at once before something else is due."""
        done = self.epoch * steps + self.step
        due = [STRETCH, steps - self.step, chunk - self.step % chunk]
        due += [moment - done for moment in moments if moment > done]
        due += [own.every - self.step % own.every for own in self._own.values()]
        return min(due)

    def _one_step(
        self,
        phase: Phase,
        context: Context,
        indices: np.ndarray,
        owners: np.ndarray,
        resident: Tensor,
        *,
        mixed: bool,
    ) -> None:
        """Train on the next batch; indices, tasks and resident indices (S, n) are the epoch's."""
        size, device = self.settings.batch_size, resident.device
        window = slice(self.step * size, (self.step + 1) * size)
        chosen, tasks = resident[:, window], None
        new = chosen.shape[1]
        if mixed:
            own = owners[:, window]
            added = self.strategy.plan(
                self.plan_memory,
                indices=indices[:, window],
                task=phase.task,
                first_pass=self.epoch == 0,
                generators=self._generator,
            )
            if added is not None:
                chosen = torch.cat([chosen, torch.from_numpy(added[0]).to(device)], dim=1)
                own = np.concatenate([own, added[1]], axis=1)
            tasks = torch.from_numpy(own).to(device)
        self.memory, facts = self.steps.step(
            self._batch(chosen, tasks, phase.task, augmented=True),
            new,
            self.memory,
            context,
            self._drawn(),
            self.taken + 1,
        )
        self.record.add_step(facts)

    def _own_steps(
        self, resident: Tensor, steps: int, phase: Phase, context: Context, *, when: str
    ) -> None:
        """Take the separate steps of the strategy that are due before or after a step."""
        size = self.settings.batch_size
        for key, own in self._own.items():
            first = self.step if when == "before" else self.step - own.every
            if own.when != when or first % own.every or not 0 <= first <= steps - own.every:
                continue
            window = resident[:, first * size : (first + own.every) * size]
            batch = self._batch(window, None, phase.task)
            self.steps.own_step(key, own.rate, batch, self.memory, context)

    def _drawn(self) -> dict[str, Any]:
        """Return what the strategy draws for a step, with a leading seed axis if stacked."""
        if not self._draws_chance:
            return {}
        return self.strategy.draw(self.ensemble, self._torch_generator, self.taken + 1)

    def _torch_generator(self, position: int, role: str) -> torch.Generator:
        key = f"{position}/{role}"
        if key not in self._draws:
            device = self.benchmark.pool.images.device
            self._draws[key] = torch_generator(self.name, self.seeds[position], role, device=device)
        return self._draws[key]

    def _steps(self, phase: Phase) -> int:
        """Return the number of steps of one epoch."""
        images = self.benchmark.train_indices(phase.data).shape[1]
        return math.ceil(images / self.settings.batch_size)

    # ---------------------------------------------------------------- facts

    def _weights_finite(self) -> Tensor:
        floats = [t for t in self.ensemble.state().values() if t.is_floating_point()]
        return torch.stack([t.flatten(1).isfinite().all(dim=1) for t in floats]).all(dim=0)

    def _evaluate(self, after: int) -> None:
        everything = range(1, self.benchmark.tasks + 1)
        tasks = {
            "all": everything,
            "seen": everything if after == 0 else everything[:after],
            "current": everything[max(after - 1, 0) : max(after, 1)],
        }[self.settings.evaluate]
        self.record.add_accuracies(after, accuracies(self.ensemble, self.benchmark, after, tasks))

    def _checkpoint(self, task: int, epoch: float) -> None:
        """Keep the weights, if scheduled; epoch 0 stands for the end of the task."""
        scheduled = self.settings.checkpoints
        if isinstance(scheduled, Every):
            kept = task % scheduled.every == 0
        else:
            kept = scheduled == "all" or task in scheduled
        if epoch or kept:
            self._keep(checkpoints.name(task, epoch), task, epoch, self.ensemble.state())

    def _generator(self, position: int, role: str) -> np.random.Generator:
        key = f"{position}/{role}"
        if key not in self._generators:
            self._generators[key] = numpy_generator(self.name, self.seeds[position], role)
        return self._generators[key]

    # ---------------------------------------------------------------- resume

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, and the facts so far."""
        return {
            "weights": self.ensemble.state(),
            "optimizer": self.steps.optimizer.state,
            "memory": self.memory,
            "plan_memory": self.plan_memory,
            "generators": {
                key: json.dumps(g.bit_generator.state) for key, g in self._generators.items()
            },
            "draws": {key: generator.get_state() for key, generator in self._draws.items()},
            "position": [self.phase, int(self.begun), self.epoch, self.step, self.taken],
            "record": self.record.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a training where ``state`` was taken."""
        self.ensemble.load(state["weights"])
        self.steps.optimizer.load(state["optimizer"])
        device = self.benchmark.pool.images.device
        self.memory = tree_map(lambda tensor: tensor.to(device), state["memory"])
        self.plan_memory = state["plan_memory"]
        for key, text in state["generators"].items():
            self._generators[key] = np.random.Generator(np.random.PCG64())
            self._generators[key].bit_generator.state = json.loads(text)
        for key, drawn in state["draws"].items():
            position, _, role = key.partition("/")
            self._torch_generator(int(position), role).set_state(drawn)
        self.phase, begun, self.epoch, self.step, self.taken = state["position"]
        self.begun = bool(begun)
        if self.begun:
            self._freeze(self.phases[self.phase])
        self.record.restore(state["record"], device)
