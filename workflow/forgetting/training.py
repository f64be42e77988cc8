"""The training loop over labelled images: a pack of seeds through a sequence of tasks.

The loop is the same for every strategy and benchmark. Facts: accuracies of every task after every
task with row 0 before training, the online curve, and the weights at scheduled moments.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting.data_order import epoch_order
from forgetting.ensemble import Tensors
from forgetting.errors import UserError
from forgetting.evaluation import accuracies, validation_accuracy
from forgetting.gradients import cross_entropy
from forgetting.loop import AtStep, Loop
from forgetting.online import STRETCH
from forgetting.randomness import numpy_generator
from forgetting.stages import Stages
from forgetting.strategy import Context, Memory, Phase, Strategy
from forgetting.tasks import Batch, ImageBenchmark
from forgetting.training_settings import Optimisation

CHUNKS_PER_EPOCH = 10
ACCURACY = "accuracy"


class Settings(Optimisation):
    """How every task is trained."""

    stop_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None
    """A task is left after the first epoch in which the mean accuracy of its steps, each before
    it is taken, exceeds this; needs packs of one seed, since each seed stops at its own time."""
    restore_best: bool = False
    """Whether a task ends with the weights of the epoch that was best on its validation images, the
    first of equals, if the benchmark sets any aside (Dohare et al.'s early stopping). The optimiser
    goes on as it is."""
    milestones: tuple[int, ...] = ()
    """Epochs of every task after which the learning rate is multiplied by gamma."""
    gamma: Annotated[float, Field(gt=0)] = 0.1
    """Factor of the learning rate at a milestone."""
    evaluate: Literal["all", "seen", "current"] = "all"
    """Tasks whose accuracy is taken after each task: all, those trained so far, or the last."""
    checkpoint_epochs: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Moments within every task, in epochs (0.5: half way through the first), at which the weights
    are kept as well."""


class Training(Loop):
    """A training of one ensemble on the tasks of a benchmark."""

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
        """Prepare the training of networks on the benchmark's device; see ``Loop``."""
        super().__init__(
            networks,
            strategy,
            settings,
            cross_entropy,
            tasks=benchmark.tasks,
            name=name,
            seeds=seeds,
            keep=keep,
            start=start,
            fresh=fresh,
        )
        if settings.restore_best and not benchmark.validation_indices(1).size:
            raise UserError(
                f"training.restore_best: benchmark {name} has no validation images; set the "
                "benchmark's settings.validation (of component incremental), or restore_best: false"
            )
        self.benchmark, self.settings = benchmark, settings
        self._best: dict[str, Tensor] = {}  # weights, and under ACCURACY what they reached
        self.plan_memory: Memory = strategy.start_plan(len(self.seeds))
        self._generators: dict[str, np.random.Generator] = {}
        self._augments = type(benchmark).augment is not ImageBenchmark.augment

    # ---------------------------------------------------------------- the loop

    def train(self, phase: Phase, context: Context, at_step: AtStep) -> None:
        """Train a phase's epochs."""
        while self.epoch < self.settings.epochs and not self.finished:
            self._run_epoch(phase, context, at_step)
            if self.settings.restore_best:
                self._note_best(phase)
            if self._learned(phase):
                break
        if self._best:
            self.record.note_divergence(~self._weights_finite(), phase.task, self.steps_of(phase))
            self.ensemble.load(self._best)
            self._best = {}

    @property
    def share_done(self) -> float:
        """The share of the phase's epochs that is done."""
        return self.epoch / self.settings.epochs

    def context(self, task: int) -> Context:
        """Return the outputs of a task, and of those before it."""
        gather = self.ensemble.gather
        return Context(
            outputs=gather(self.benchmark.outputs_of(task)),
            old_groups=gather(self.benchmark.old_groups(task)),
        )

    def prepare(self) -> None:
        """Clear the head, where the benchmark wants it."""
        if self.benchmark.reset_head:
            self.ensemble.clear_head()

    def consolidate(self, phase: Phase, context: Context) -> None:
        """Let the strategy see the phase's images once more, and take stock of the task."""
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
                    torch.from_numpy(array[:, window]).to(self.device)
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
        super().consolidate(phase, context)

    def _batch(
        self, chosen: Tensor, tasks: Tensor | None, task: int, *, steps: Sequence[int] = ()
    ) -> Batch:
        """Return the samples (S, B) of a phase; ``tasks`` (S, B) where they are of several.

        Those of ``steps`` of the present epoch, one minibatch after the other, are augmented as
        they are trained on.
        """
        inputs, targets = self.benchmark.fetch(chosen, task if tasks is None else tasks)
        if steps and self._augments:
            # What a strategy adds to the one step that is taken belongs to its minibatch.
            size = self.settings.batch_size if len(steps) > 1 else inputs.shape[1]
            batches = zip(steps, inputs.split(size, dim=1), strict=True)
            inputs = torch.cat([self._augmented(x, task, step) for step, x in batches], dim=1)
        mask = self.benchmark.training_mask(task, tasks)
        gather = self.ensemble.gather
        return Batch(gather(inputs), gather(targets), None if mask is None else gather(mask))

    def _augmented(self, inputs: Tensor, task: int, step: int) -> Tensor:
        """Return the inputs (S, B, ...) of a step of the present epoch, transformed at random."""
        # A generator for each step has no state that a resumed training would need.
        path = ("augmentation", task, self.epoch, step)
        of_seeds = [numpy_generator(self.name, seed, *path) for seed in self.seeds]
        return self.benchmark.augment(inputs, of_seeds)

    def _run_epoch(self, phase: Phase, context: Context, at_step: AtStep) -> None:
        settings, benchmark = self.settings, self.benchmark
        indices, owners = epoch_order(
            benchmark,
            phase.data,
            name=self.name,
            seeds=self.seeds,
            task=phase.task,
            epoch=self.epoch,
        )
        steps = self.steps_of(phase)
        chunk = math.ceil(steps / CHUNKS_PER_EPOCH)
        moments = {max(1, round(epoch * steps)): epoch for epoch in settings.checkpoint_epochs}
        passed = sum(self.epoch >= milestone for milestone in settings.milestones)
        self.steps.optimizer.rate = settings.learning_rate * settings.gamma**passed
        resident = torch.from_numpy(indices).to(self.device)

        def several(first: int, last: int) -> Batch:
            window, own = slice(first * settings.batch_size, last * settings.batch_size), None
            if len(phase.data) > 1:
                own = torch.from_numpy(owners[:, window]).to(self.device)
            return self._batch(resident[:, window], own, phase.task, steps=range(first, last))

        plans = self.strategy.has("plan")
        # Samples' own tasks matter only where a batch can mix tasks.
        mixed = plans or len(phase.data) > 1
        everyone_competes = benchmark.mask == "none"
        plain = everyone_competes and not mixed and not self._augments
        written_out = self.steps.online is not None and plain
        while self.step < steps:
            at_step()
            self.own_steps(several, self.step, steps, context, "before")
            if written_out:
                count = self._undisturbed(steps, chunk, list(moments))
                window = resident[:, self.step : self.step + count]
                samples = benchmark.fetch(window, phase.task)
                self.memory, facts = self.steps.steps_of_one(
                    *samples, self.memory, self.drawn, self.taken + 1
                )
                self.record.add_steps(facts)
            else:
                self._one_step(phase, context, indices, owners, resident, mixed=mixed)
                count = 1
            self.taken += count
            self.step += count
            self.own_steps(several, self.step, steps, context, "after")
            moment = moments.get(self.epoch * steps + self.step)
            if moment is not None:
                self.checkpoint(phase.task, moment)
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

    def _note_best(self, phase: Phase) -> None:
        """Keep the weights of every seed that did better than in any epoch of the phase before."""
        reached = validation_accuracy(self.ensemble, self.benchmark, phase.task)
        now = {ACCURACY: reached, **self.ensemble.state()}
        better = reached > self._best.get(ACCURACY, torch.full_like(reached, -1))
        self._best = {
            name: torch.where(
                better.reshape(-1, *(1 for _ in new.shape[1:])), new, self._best.get(name, new)
            )
            for name, new in now.items()
        }

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
            self._batch(chosen, tasks, phase.task, steps=[self.step]),
            new,
            self.memory,
            context,
            self.drawn(self.taken + 1),
            self.taken + 1,
        )
        self.record.add_step(facts)

    def steps_of(self, phase: Phase) -> int:
        """Return the number of steps of one epoch."""
        images = self.benchmark.train_indices(phase.data).shape[1]
        return math.ceil(images / self.settings.batch_size)

    # ---------------------------------------------------------------- facts

    def evaluate(self, after: int) -> None:
        """Take the accuracies after a task."""
        everything = range(1, self.benchmark.tasks + 1)
        tasks = {
            "all": everything,
            "seen": everything if after == 0 else everything[:after],
            "current": everything[max(after - 1, 0) : max(after, 1)],
        }[self.settings.evaluate]
        self.record.add_accuracies(after, accuracies(self.ensemble, self.benchmark, after, tasks))

    def _generator(self, position: int, role: str) -> np.random.Generator:
        key = f"{position}/{role}"
        if key not in self._generators:
            self._generators[key] = numpy_generator(self.name, self.seeds[position], role)
        return self._generators[key]

    # ---------------------------------------------------------------- resume

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, and the facts so far."""
        return {
            **super().state(),
            "plan_memory": self.plan_memory,
            "best": self._best,
            "generators": {
                key: json.dumps(g.bit_generator.state) for key, g in self._generators.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a training where ``state`` was taken."""
        super().restore(state)
        self.plan_memory = state["plan_memory"]
        self._best = {name: tensor.to(self.device) for name, tensor in state["best"].items()}
        for key, text in state["generators"].items():
            self._generators[key] = np.random.Generator(np.random.PCG64())
            self._generators[key].bit_generator.state = json.loads(text)
