"""What every training has in common: phases, the strategy around them, a state to resume from.

``training`` is the loop over labelled images, ``reinforcement`` the one over environments. Both
guarantee:

* no host synchronisation inside a step of the optimiser; losses are looked at once a *chunk*;
* the whole state is a tree of tensors and plain values (``Loop.state``), complete whenever
  ``at_step`` is called, so that a run that was killed ends as if it had not been;
* raw facts come out (``Record``), and the weights at scheduled moments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from forgetting import moments
from forgetting.ensemble import Ensemble, Tensors
from forgetting.errors import UserError
from forgetting.gradients import Objective, WrittenOut
from forgetting.perceptron import Perceptron
from forgetting.randomness import torch_generator
from forgetting.recording import Record
from forgetting.stages import Stages
from forgetting.steps import Steps
from forgetting.strategy import Context, Memory, Phase, Strategy
from forgetting.training_settings import Every, Optimisation

AtStep = Callable[[], None]


class Loop:
    """A training of one ensemble, from its first step to its last; ``record`` has the facts.

    What a phase consists of is a subclass's: ``context``, ``train``, ``share_done``, ``evaluate``.
    """

    def __init__(
        self,
        networks: Sequence[Stages],
        strategy: Strategy,
        settings: Optimisation,
        objective: Objective,
        *,
        written_out: Callable[[Ensemble], WrittenOut | None] = Perceptron.of,
        tasks: int,
        name: str,
        seeds: Sequence[int],
        keep: Callable[[str, int, float, Tensors], None],
        start: tuple[int, Tensors] | None = None,
        fresh: Callable[[int], Tensors] = lambda task: {},
    ) -> None:
        """Prepare the training.

        Args:
            networks: One initialised network per seed, on the device of the training.
            strategy: The strategy.
            settings: Training settings.
            objective: The loss of a task.
            written_out: Returns networks of which this is written out; see ``gradients_for``.
            tasks: Number of tasks.
            name: The benchmark's name: the root of the seed tree.
            seeds: The seeds.
            keep: Called with (checkpoint name, task, epoch, tensors with a leading seed axis);
                epoch 0 stands for the end of the task.
            start: Task after which to start, and the weights to start from.
            fresh: Returns newly initialised weights (S, ...) for a task, other ones each time.
        """
        self.strategy, self.name, self.seeds, self._keep = strategy, name, list(seeds), keep
        self._scheduled, self._reset_optimizer = settings.checkpoints, settings.reset_optimizer
        self.ensemble = Ensemble(networks)
        self.device = next(iter(self.ensemble.params.values())).device
        self.first_task = 0 if start is None else start[0]
        self.phases = [p for p in strategy.phases(tasks) if p.task > self.first_task]
        self._initial = (
            {n: t.clone() for n, t in self.ensemble.state().items()}
            if any(phase.fresh for phase in self.phases)
            else {}
        )
        if start is not None:
            self.ensemble.load(start[1])
        self.steps = Steps(self.ensemble, strategy, settings, objective, written_out)
        self.memory: Memory = strategy.start(self.ensemble)
        self._draws: dict[str, torch.Generator] = {}
        self._fresh, self._own = fresh, strategy.own_steps()
        self._draws_chance = strategy.has("draw")
        self.record = Record(seeds)
        # Where the training stands: the phase, whether it has begun, the next epoch and step.
        self.phase, self.begun, self.epoch, self.step = -1, False, 0, 0
        self.taken = 0  # steps of all phases together

    # ---------------------------------------------------------------- a subclass's part

    def context(self, task: int) -> Context:
        """Return what a strategy is told of a task."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Do to the weights what the benchmark wants at the start of a phase, at the very last."""

    def train(self, phase: Phase, context: Context, at_step: AtStep) -> None:
        """Train a phase from where it stands to its end, or until every seed diverged."""
        raise NotImplementedError

    def steps_of(self, phase: Phase) -> int:
        """Return the number of steps of a phase's epoch."""
        raise NotImplementedError

    @property
    def share_done(self) -> float:
        """The share of the present phase that is done."""
        raise NotImplementedError

    def evaluate(self, after: int) -> None:
        """Take stock after a task; 0 and the task that a run starts after count as one."""
        raise NotImplementedError

    def consolidate(self, phase: Phase, context: Context) -> None:
        """Let the strategy take stock of a phase."""
        self.memory = self.strategy.around_task(
            "after_task", self.ensemble, self.memory, task=phase.task, known={"context": context}
        )

    # ---------------------------------------------------------------- the loop

    def run(self, at_step: AtStep = lambda: None) -> None:
        """Train to the end; ``at_step`` is called at every step boundary and may raise."""
        if self.phase < 0:
            if self.first_task:
                self.record.note_divergence(~self._weights_finite(), self.first_task, 0)
                start = Phase(self.first_task, (self.first_task,))
                self.consolidate(start, self.context(start.task))
            self.evaluate(self.first_task)
            self.checkpoint(self.first_task, 0)
            self.phase = 0
        while self.phase < len(self.phases) and not self.finished:
            phase = self.phases[self.phase]
            context = self.context(phase.task)
            if not self.begun:
                self.begin(phase, context)
            self.train(phase, context, at_step)
            if not self.finished:
                self._end(phase, context)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: all phases done, or every seed diverged."""
        return self.phase >= len(self.phases) or self.record.all_diverged

    @property
    def progress(self) -> float:
        """The share of the training that is done, phases weighed alike."""
        if self.finished or not self.phases:
            return 1.0
        return (max(self.phase, 0) + self.share_done) / len(self.phases)

    def begin(self, phase: Phase, context: Context) -> None:
        """Begin a phase: what starts anew does, and the strategy has its turn."""
        if phase.fresh:
            self.ensemble.load(self._initial)
        if self._reset_optimizer or phase.fresh:
            self.steps.restart()
        self._freeze(phase)
        known: dict[str, Any] = {"context": context}
        wanted = self.strategy.facts("before_task")
        for fact, drawn in (("fresh", self._fresh), ("normal", self._normal)):
            if fact in wanted:
                known[fact] = {n: self.ensemble.gather(t) for n, t in drawn(phase.task).items()}
        self.memory = self.strategy.around_task(
            "before_task", self.ensemble, self.memory, task=phase.task, known=known
        )
        self.prepare()  # last, so that a cleared head is clear whatever the strategy did
        self.begun = True

    def _normal(self, task: int) -> Tensors:
        """Return standard normal numbers in the shape of the parameters, others for each task."""
        params = {n: self.ensemble.spread(p) for n, p in self.ensemble.params.items()}
        generators = [
            torch_generator(self.name, seed, "normal", task, device=self.device)
            for seed in self.seeds
        ]
        return {
            name: torch.stack(
                [
                    torch.randn(p.shape[1:], dtype=p.dtype, device=p.device, generator=generator)
                    for generator in generators
                ]
            )
            for name, p in params.items()
        }

    def _freeze(self, phase: Phase) -> None:
        stages = self.ensemble.trainable_stages
        self.ensemble.freeze(self.strategy.frozen(stages, phase.task))

    def _end(self, phase: Phase, context: Context) -> None:
        self.record.note_divergence(~self._weights_finite(), phase.task, self.steps_of(phase))
        self.consolidate(phase, context)
        self.evaluate(phase.task)
        self.checkpoint(phase.task, 0)
        self.phase, self.begun, self.epoch, self.step = self.phase + 1, False, 0, 0

    def own_steps(
        self, batch: Callable[[int, int], Any], step: int, steps: int, context: Context, when: str
    ) -> None:
        """Take the separate steps of the strategy that are due before or after a step.

        ``batch(first, last)`` returns the samples of some of the epoch's minibatches together,
        ``step`` is the number of steps taken of the epoch's ``steps``.

        Raises:
            UserError: An epoch is too short for such a step ever to be taken.
        """
        for key, own in self._own.items():
            if own.every > steps:
                raise UserError(
                    f"strategy {key.partition('-')[2]}: takes a step of its own every {own.every} "
                    f"steps, but an epoch has {steps}, so it never would; set every to at most "
                    f"{steps}"
                )
            first = step if when == "before" else step - own.every
            if own.when != when or first % own.every or not 0 <= first <= steps - own.every:
                continue
            of = batch(first, first + own.every)
            self.steps.own_step(key, own.rate, of, self.memory, context)

    def drawn(self, step: int) -> dict[str, Any]:
        """Return what the strategy draws for a step, with a leading seed axis if stacked."""
        if not self._draws_chance:
            return {}
        return self.strategy.draw(self.ensemble, self._torch_generator, step)

    def _torch_generator(self, position: int, role: str) -> torch.Generator:
        key = f"{position}/{role}"
        if key not in self._draws:
            seed = self.seeds[position]
            self._draws[key] = torch_generator(self.name, seed, role, device=self.device)
        return self._draws[key]

    def _weights_finite(self) -> Tensor:
        floats = [t for t in self.ensemble.state().values() if t.is_floating_point()]
        return torch.stack([t.flatten(1).isfinite().all(dim=1) for t in floats]).all(dim=0)

    def checkpoint(self, task: int, epoch: float) -> None:
        """Keep the weights, if scheduled; epoch 0 stands for the end of the task."""
        scheduled = self._scheduled
        if isinstance(scheduled, Every):
            kept = task % scheduled.every == 0
        else:
            kept = scheduled == "all" or task in scheduled
        if epoch or kept:
            self._keep(moments.name(task, epoch), task, epoch, self.ensemble.state())

    # ---------------------------------------------------------------- resume

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, and the facts so far."""
        return {
            "weights": self.ensemble.state(),
            "optimizer": self.steps.optimizer.state,
            "memory": self.memory,
            "draws": {key: generator.get_state() for key, generator in self._draws.items()},
            "position": [self.phase, int(self.begun), self.epoch, self.step, self.taken],
            "record": self.record.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a training where ``state`` was taken."""
        self.ensemble.load(state["weights"])
        self.steps.optimizer.load(state["optimizer"])
        self.memory = tree_map(lambda tensor: tensor.to(self.device), state["memory"])
        for key, drawn in state["draws"].items():
            position, _, role = key.partition("/")
            self._torch_generator(int(position), role).set_state(drawn)
        self.phase, begun, self.epoch, self.step, self.taken = state["position"]
        self.begun = bool(begun)
        if self.begun:
            self._freeze(self.phases[self.phase])
        self.record.restore(state["record"], self.device)
