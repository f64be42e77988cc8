"""Strategies: what a study compares, each a module of functions that the training loop calls.

A strategy file defines ``Settings`` and any of the hooks below; a hook it does not define costs
nothing. All but ``phases``, ``start_plan`` and ``plan`` are written for one network, with tensors
without a seed axis, and are mapped over the seeds of a pack: no random call, no ``.item()``, no
Python branch on a tensor inside (branches on settings are fine).

``phases(tasks, settings) -> list[Phase]``
    What is trained when; default: each task once, in order.
``start(net, settings) -> memory``
    The strategy's memory, a tree (dict) of tensors, before training.
``frozen(settings, *, stages, task) -> ensemble.Frozen``
    On the host, before a phase: what stays as it is during the phase. ``stages`` are the names of
    the stages that have parameters, from the input to the head.
``before_task(net, memory, settings, *, task, context) -> memory``
    Before a phase. ``task`` is its number, ``context`` the tensors of ``Context``.
``start_plan(settings) -> memory`` and
``plan(memory, settings, *, indices, task, first_pass, generator) -> (indices, tasks)``
    On the host, for one seed: the samples (pool indices and their tasks) added to a batch whose
    new samples are ``indices``. Changes its own memory (a dict of CPU tensors) in place.
``loss(net, batch, logits, memory, settings, *, context) -> dict[str, Tensor]``
    Terms added to the task's cross-entropy, by name. A term of strength zero is left out.
``after_step(net, memory, settings, *, before, gradients, slots) -> memory``
    After the optimiser's step. ``net.params`` (and the optimiser's ``slots``, by parameter name
    and slot) may be changed in place; ``before`` and ``gradients`` map names to tensors.
``visits(settings) -> Visits`` and
``visit(net, memory, settings, *, batch, draws, context) -> memory``
    After a phase's last step its training images, or as many as asked for, pass by once more in
    batches, each with a number ``draws`` (B,), uniform in [0, 1), for what is left to chance.
``after_task(net, memory, settings, *, task, context) -> memory``
    After a phase.

A run that continues another's checkpoint after task 1 calls ``visit`` and ``after_task`` for task 1
on the weights it starts from. A strategy whose memory cannot be had from these weights and images
says so in a module constant, ``GATHERS_WHILE_TRAINING = True``, and is refused there.

Strategies compose: an entry with ``parts`` has the hooks of each part, each with its own memory;
loss terms add up.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from forgetting.ensemble import Ensemble, Frozen, Net
from forgetting.errors import UserError
from forgetting.tasks import Batch

Memory = dict[str, Any]


class Context(NamedTuple):
    """Tensors that describe the task at hand to a hook."""

    outputs: Tensor
    """(K,) bool: the outputs of the current task."""
    old_groups: Tensor
    """(G, K) bool: the groups of outputs of earlier tasks, each with a softmax of its own."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training whose end is a row of the accuracy matrix."""

    task: int
    """The row: accuracies are those after this task."""
    data: tuple[int, ...]
    """The tasks whose training images are trained on, together."""
    fresh: bool = False
    """Whether the phase starts from the initial weights instead of the present ones."""


class Visits(NamedTuple):
    """How the training images pass by after a phase."""

    images: int | None
    """At most how many of each seed, drawn from the seed tree; None: all."""
    batch: int
    """How many at a time."""


@dataclass(frozen=True)
class Part:
    """One strategy component with its settings."""

    name: str
    module: ModuleType
    settings: Any

    def hook(self, name: str) -> Callable[..., Any] | None:
        """Return the hook of that name, or None where the component does not define it."""
        return getattr(self.module, name, None)


class Strategy:
    """The parts of a strategy entry, applied to an ensemble."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._keys = [f"{position}-{part.name}" for position, part in enumerate(self.parts)]

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> "Strategy":
        """Build it from an entry's ``parts``: a list of {component, settings}."""
        parts = []
        for part in entry["parts"]:
            module = importlib.import_module(f"forgetting.strategies.{part['component']}")
            parts.append(Part(part["component"], module, module.Settings(**part["settings"])))
        return cls(parts)

    def _with(self, hook: str) -> list[tuple[str, Part, Callable[..., Any]]]:
        return [
            (key, part, function)
            for key, part in zip(self._keys, self.parts, strict=True)
            if (function := part.hook(hook)) is not None
        ]

    def has(self, hook: str) -> bool:
        """Whether any part defines the hook."""
        return bool(self._with(hook))

    def phases(self, tasks: int) -> list[Phase]:
        """Return what is trained when."""
        planned = self._with("phases")
        if len(planned) > 1:
            names = ", ".join(part.name for _, part, _ in planned)
            raise UserError(f"strategies {names} each order the tasks in their own way: take one")
        for _, part, function in planned:
            return function(tasks, part.settings)
        return [Phase(task, (task,)) for task in range(1, tasks + 1)]

    def frozen(self, stages: Sequence[str], task: int) -> list[Frozen]:
        """Return what every part holds fixed in a phase."""
        return [
            f(part.settings, stages=list(stages), task=task) for _, part, f in self._with("frozen")
        ]

    def visits(self) -> dict[str, Visits]:
        """Return what the parts want to see of the training images after a phase, by part."""
        return {key: f(part.settings) for key, part, f in self._with("visits")}

    def visit(
        self,
        key: str,
        ensemble: Ensemble,
        memory: Memory,
        *,
        batch: Batch,
        draws: Tensor,
        context: Context,
    ) -> Memory:
        """Show a batch to the part ``key``; return the new memory of all."""
        ((part, function),) = [(p, f) for name, p, f in self._with("visit") if name == key]

        def of_one(net: Net, own: Any, batch: Batch, draws: Tensor, around: Context) -> Any:
            return function(net, own, part.settings, batch=batch, draws=draws, context=around)

        seen = ensemble.map(of_one, memory.get(key, {}), batch, draws, context)
        return {**memory, key: seen}

    def start(self, ensemble: Ensemble) -> Memory:
        """Return the memory of every part, keyed by part."""
        return {
            key: ensemble.map(lambda net, f=f, p=p: f(net, p.settings))
            for key, p, f in self._with("start")
        }

    def start_plan(self, seeds: int) -> Memory:
        """Return the host-side memory of every part: a list over seeds."""
        return {
            key: {str(seed): f(part.settings) for seed in range(seeds)}
            for key, part, f in self._with("start_plan")
        }

    def plan(
        self,
        memory: Memory,
        *,
        indices: np.ndarray,
        task: int,
        first_pass: bool,
        generators: Callable[[int, str], np.random.Generator],
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the samples added to a batch (S, B) of pool indices: indices and tasks, (S, R)."""
        added: list[tuple[np.ndarray, np.ndarray]] = []
        for key, part, f in self._with("plan"):
            rows = [
                f(
                    memory[key][str(seed)],
                    part.settings,
                    indices=row,
                    task=task,
                    first_pass=first_pass,
                    generator=generators(seed, key),
                )
                for seed, row in enumerate(indices)
            ]
            added.append((np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])))
        if not added or not sum(chosen.shape[1] for chosen, _ in added):
            return None
        return (
            np.concatenate([chosen for chosen, _ in added], axis=1),
            np.concatenate([tasks for _, tasks in added], axis=1),
        )

    def loss(
        self, net: Net, batch: Batch, logits: Tensor, memory: Memory, context: Context
    ) -> dict[str, Tensor]:
        """Return the loss terms of all parts for one network."""
        terms: dict[str, Tensor] = {}
        for key, part, f in self._with("loss"):
            terms |= f(net, batch, logits, memory.get(key, {}), part.settings, context=context)
        return terms

    def around_task(
        self, hook: str, ensemble: Ensemble, memory: Memory, *, task: int, context: Context
    ) -> Memory:
        """Run ``before_task`` or ``after_task`` of every part; return the new memory."""
        memory = dict(memory)
        for key, part, f in self._with(hook):

            def of_one(net: Net, own: Any, around: Context, f: Any = f, part: Part = part) -> Any:
                return f(net, own, part.settings, task=task, context=around)

            memory[key] = ensemble.map(of_one, memory.get(key, {}), context)
        return memory

    def after_step(
        self,
        ensemble: Ensemble,
        memory: Memory,
        *,
        before: dict[str, Tensor],
        gradients: dict[str, Tensor],
        slots: dict[str, dict[str, Tensor]],
    ) -> Memory:
        """Run ``after_step`` of every part; return the new memory."""
        memory = dict(memory)
        for key, part, f in self._with("after_step"):

            def of_one(
                net: Net, own: Any, b: Any, g: Any, s: Any, f: Any = f, part: Part = part
            ) -> Any:
                return f(net, own, part.settings, before=b, gradients=g, slots=s)

            memory[key] = ensemble.map(of_one, memory.get(key, {}), before, gradients, slots)
        return memory
