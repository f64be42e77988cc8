"""The training loop over an environment: a pack of agents, one environment each, by PPO.

All agents step together; after ``rollout`` steps they learn from what they met, and go on. A task
is a stretch of the environment's steps, so it may begin within a rollout: what was collected before
counts with the weights that it was collected with. Facts: ``return`` and the like of every episode
as means over a rollout, and over a task as its score.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from forgetting import ppo
from forgetting.architectures.actor_critic import acting
from forgetting.control import ControlBenchmark
from forgetting.ensemble import Tensors
from forgetting.errors import UserError
from forgetting.loop import AtStep, Loop
from forgetting.perceptron_pair import PerceptronPair
from forgetting.ppo import Transitions
from forgetting.randomness import numpy_generator
from forgetting.rollouts import Policy, Rollout, noise
from forgetting.stages import Stages
from forgetting.strategy import Context, Phase, Strategy
from forgetting.training_settings import Optimisation

EPISODE = ("return", "forward_return", "episode_length")
"""What is counted of every episode: rewards, those for moving on, steps."""


class Settings(Optimisation):
    """How agents collect experience, and what they learn from it."""

    rollout: Annotated[int, Field(ge=1)] = 2048
    """Steps of each environment between updates; ``epochs`` passes in minibatches of
    ``batch_size`` are made over them."""
    discount: Annotated[float, Field(ge=0, le=1)] = 0.99
    """gamma."""
    smoothing: Annotated[float, Field(ge=0, le=1)] = 0.95
    """lambda of generalised advantage estimation."""
    clip: Annotated[float, Field(gt=0)] = 0.2
    """How far the ratio of probabilities may leave 1."""
    clip_value: bool = False
    """Whether the value's change is clipped likewise."""
    value_coefficient: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the value's squared error."""
    entropy_coefficient: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the policy's entropy."""
    normalise_advantages: Literal["minibatch", "rollout", "none"] = "minibatch"
    """Over what advantages are made to have mean 0 and standard deviation 1."""
    cut_off: Literal["terminal", "bootstrap"] = "terminal"
    """What follows the last step of an episode that was cut off: nothing, or the value of the
    observation that it led to."""


class Training(Loop):
    """A training of one ensemble of actors and critics."""

    def __init__(
        self,
        benchmark: ControlBenchmark,
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
        """Prepare the training; see ``Loop``.

        Raises:
            UserError: The strategy needs labelled images.
        """
        _refuse(strategy, benchmark.tasks)
        super().__init__(
            networks,
            strategy,
            settings,
            ppo.objective(settings),
            written_out=PerceptronPair.of,
            tasks=benchmark.tasks,
            name=name,
            seeds=seeds,
            keep=keep,
            start=start,
            fresh=fresh,
        )
        self.benchmark, self.settings = benchmark, settings
        self.environment = benchmark.start()
        self.rollout = Rollout(len(self.seeds), settings.rollout, benchmark.input_shape[0])
        self.rollouts = 0  # before the present one
        self._episode = torch.zeros(len(self.seeds), len(EPISODE), dtype=torch.float64)
        # Episodes that ended, (seed's place, facts): since the last update, and in this task.
        self._ended: list[tuple[int, list[float]]] = []
        self._of_task: list[tuple[int, list[float]]] = []
        self._policy: Policy | None = None
        self._noise: np.ndarray | None = None

    # ---------------------------------------------------------------- the loop

    def context(self, task: int) -> Context:
        """Return a context in which all outputs belong to the only group."""
        size, outputs = len(self.seeds), 2 * self.benchmark.outputs + 1
        gather = self.ensemble.gather
        return Context(
            outputs=gather(torch.ones(size, outputs, dtype=torch.bool, device=self.device)),
            old_groups=gather(torch.ones(size, 0, outputs, dtype=torch.bool, device=self.device)),
        )

    def begin(self, phase: Phase, context: Context) -> None:
        """Begin a task: the friction changes; what was collected counts with the old weights."""
        self._judge()
        if phase.fresh:  # of another policy
            self._begin_rollout()
        started = self.phase == 0
        self.benchmark.enter(self.environment, phase.task, at_once=True if started else None)
        super().begin(phase, context)
        self._policy = None

    def train(self, phase: Phase, context: Context, at_step: AtStep) -> None:
        """Step the environments for as long as a task lasts, and learn from every rollout."""
        while self.step < self.benchmark.steps and not self.finished:
            at_step()
            self._collect()
            self.step += 1
            if self.rollout.full:
                self._learn(phase, context)

    def steps_of(self, phase: Phase) -> int:
        """Return the steps of the environment in a task."""
        return self.benchmark.steps

    @property
    def share_done(self) -> float:
        """The share of the task's steps that is done."""
        return self.step / self.benchmark.steps

    def _begin_rollout(self) -> None:
        self.rollout.clear()
        self.rollouts += 1
        self._policy = self._noise = None

    def _collect(self) -> None:
        """Take a step in every environment."""
        if self._policy is None:
            self._policy = acting(self.ensemble.network, self.ensemble.state())
        if self._noise is None:
            draws = [self._generator(seed, "actions") for seed in self.seeds]
            self._noise = np.stack([noise(each, self.settings.rollout) for each in draws])
        observations = self.environment.observations.copy()
        means, deviations = self._policy(observations)
        actions = means + deviations * self._noise[:, self.rollout.filled]
        outcome = self.environment.step(actions.astype(np.float64))
        self.rollout.add(observations, actions, outcome)
        episode = self._episode.numpy()
        episode += np.stack([outcome.rewards, outcome.forward, np.ones(len(episode))], axis=1)
        for place in np.flatnonzero(outcome.terminated | outcome.truncated).tolist():
            self._ended.append((place, episode[place].tolist()))
            self._of_task.append(self._ended[-1])
            episode[place] = 0

    def _judge(self) -> None:
        """Note what the present weights make of the steps collected with them."""

        def outputs(observations: Tensor) -> Tensor:
            inputs = observations.to(self.device, self.benchmark.dtype)
            return self.ensemble.spread(self.ensemble.predict(self.ensemble.gather(inputs)))

        self.rollout.judge(outputs, self.settings)

    def _generator(self, seed: int, role: str, *path: int) -> np.random.Generator:
        """Return a generator for one use in the present rollout, so none has a state to resume."""
        return numpy_generator(self.name, seed, role, self.rollouts, *path)

    def _learn(self, phase: Phase, context: Context) -> None:
        """Update the networks with a full rollout, and begin the next."""
        self._judge()
        settings = self.settings
        everything = [
            values.to(self.device, self.benchmark.dtype)
            for values in self.rollout.transitions(settings)
        ]
        steps = math.ceil(settings.rollout / settings.batch_size)
        rows = torch.arange(len(self.seeds), device=self.device)[:, None]
        for number in range(settings.epochs):
            draws = [self._generator(seed, "minibatches", number) for seed in self.seeds]
            order = np.stack([each.permutation(settings.rollout) for each in draws])
            places = torch.from_numpy(order).to(self.device)
            shuffled = [values[rows, places] for values in everything]

            def several(first: int, last: int, shuffled: list[Tensor] = shuffled) -> Transitions:
                window = slice(first * settings.batch_size, last * settings.batch_size)
                return Transitions(*(self.ensemble.gather(x[:, window]) for x in shuffled))

            for step in range(steps):
                self.own_steps(several, step, steps, context, "before")
                batch, drawn = several(step, step + 1), self.drawn(self.taken + 1)
                self.memory, facts = self.steps.step(
                    batch, settings.batch_size, self.memory, context, drawn, self.taken + 1
                )
                self.record.add_step(facts)
                self.taken += 1
                self.own_steps(several, step + 1, steps, context, "after")
        self.epoch += 1
        taken = self.phase * self.benchmark.steps + self.step
        self.record.close_chunk(task=phase.task, epoch=self.epoch, step=taken, at_once=True)
        friction = enumerate(self.environment.friction.tolist())
        met = [*_means(self._ended), *((place, "friction", value) for place, value in friction)]
        self.record.add_facts(phase.task, self.epoch, taken, met)
        self._ended = []
        self._begin_rollout()

    # ---------------------------------------------------------------- facts

    def evaluate(self, after: int) -> None:
        """Write down the means of the episodes that ended in a task."""
        ended, self._of_task = self._of_task, []
        if after == self.first_task:
            return
        for name in EPISODE[:2]:
            found = {place: value for place, each, value in _means(ended) if each == name}
            values = [found.get(place, np.nan) for place in range(len(self.seeds))]
            self.record.add_accuracies(after, [(after, name, values)])

    # ---------------------------------------------------------------- resume

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, and the facts so far."""
        return {
            **super().state(),
            "environment": self.environment.state(),
            "rollout": self.rollout.state(),
            "rollouts": self.rollouts,
            "episode": self._episode,
            "ended": [self._ended, self._of_task],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a training where ``state`` was taken."""
        super().restore(state)
        self.environment.restore(state["environment"])
        self.rollout.restore(state["rollout"])
        self.rollouts = state["rollouts"]
        self._episode.copy_(state["episode"])
        self._ended, self._of_task = ([(p, list(v)) for p, v in each] for each in state["ended"])
        self._policy = self._noise = None


def _means(ended: Sequence[tuple[int, list[float]]]) -> list[tuple[int, str, float]]:
    """Return (seed's place, fact, mean over its episodes)."""
    return [
        (place, name, float(np.mean([facts[index] for at, facts in ended if at == place])))
        for place in sorted({place for place, _ in ended})
        for index, name in enumerate(EPISODE)
    ]


def _refuse(strategy: Strategy, tasks: int) -> None:
    """Refuse what only makes sense with labelled images.

    Raises:
        UserError: A part asks for them.
    """
    asks = [
        part.name
        for part in strategy.parts
        if any(part.hook(name) for name in ("plan", "visit")) or hasattr(part.module, "LABELS")
    ]
    if asks or any(phase.data != (phase.task,) for phase in strategy.phases(tasks)):
        what = asks[0] if asks else ", ".join(part.name for part in strategy.parts)
        raise UserError(
            f"strategy {what} needs labelled images of every task, which an environment has not; "
            "take another for runs of benchmarks with the metric return"
        )


def experience(
    benchmark: ControlBenchmark,
    network: Stages,
    task: int,
    steps: int,
    role: str,
    settings: Settings,
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Let a network act in a task, from the start of an episode on, and return what it is shown.

    Args:
        benchmark: Of one seed.
        network: Its network.
        task: The task, from 1.
        steps: How many.
        role: Tells draws apart.
        settings: As it was trained.

    Returns:
        Observations (steps, d), targets (steps, ...), and the loss of training as the sum over
        some of them: (outputs (b, K), targets (b, ...)) -> scalar. Advantages are normalised over
        all the steps, where settings have them normalised over anything.
    """
    (seed,) = benchmark.members
    environment = benchmark.start(role, task)
    benchmark.enter(environment, task, at_once=True)
    state = {name: tensor[None] for name, tensor in network.state_dict().items()}
    policy, rollout = acting(network, state), Rollout(1, steps, benchmark.input_shape[0])
    added = noise(numpy_generator(benchmark.name, seed, "measured", role, task), steps)
    for each in added:
        observations = environment.observations.copy()
        means, deviations = policy(observations)
        actions = means + deviations * each
        rollout.add(observations, actions, environment.step(actions.astype(np.float64)))
    # Like the weights: on their device, and of their type.
    like = next(network.parameters())
    rollout.judge(lambda x: network(x[0].to(like))[None], settings)
    met = Transitions(*(values[0].to(like) for values in rollout.transitions(settings)))
    if settings.normalise_advantages == "minibatch":
        met = met._replace(advantages=ppo.normalised(met.advantages))
    inputs, actions, *numbers = met
    targets = torch.cat([actions, torch.stack(numbers, dim=1)], dim=1)
    objective = ppo.objective(settings.model_copy(update={"normalise_advantages": "none"}))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        actions, numbers = targets.split(
            [benchmark.outputs, targets.shape[1] - benchmark.outputs], 1
        )
        batch = Transitions(outputs, actions, *numbers.unbind(1))  # inputs are not looked at
        terms, _ = objective(outputs, batch, len(outputs))
        return len(outputs) * torch.stack(list(terms.values())).sum()

    return inputs, targets, loss
