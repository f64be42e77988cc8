"""Strategies: what a study compares, each a module of functions that the training loop calls.

A strategy file defines ``Settings`` and any of the hooks below; a hook it does not define costs
nothing, and neither does a FACT that no hook names among its keyword parameters. Those that do not
take ``net`` run on the host. All others are written for one network, with tensors
without a seed axis, and are mapped over the seeds of a pack: no random call, no ``.item()``, no
Python branch on a tensor inside (branches on settings are fine).

``phases(tasks, settings) -> list[Phase]``
    What is trained when; default: each task once, in order.
``start(net, settings) -> memory``
    The strategy's memory, a tree (dict) of tensors, before training.
``frozen(settings, *, stages, task) -> ensemble.Frozen``
    On the host, before a phase: what stays as it is during the phase. ``stages`` are the names of
    the stages that have parameters, from the input to the head.
``optimizer(settings) -> dict``
    What is added to the optimiser's settings: ``weight_decay``.
``before_task(net, memory, settings, *, task, FACTS) -> memory``
    Before a phase; ``params`` may be changed in place (a head that the benchmark clears is cleared
    afterwards). ``task`` is its number; facts: ``context``, the tensors of ``Context``; ``fresh``,
    the tensors of a newly initialised network by name; ``normal``, a standard normal number for
    every entry of every parameter, by name.
``start_plan(settings) -> memory`` and
``plan(memory, settings, *, indices, task, first_pass, generator) -> (indices, tasks)``
    On the host, for one seed: the samples (pool indices and their tasks) added to a batch whose
    new samples are ``indices``. Changes its own memory (a dict of CPU tensors) in place.
``loss(net, batch, logits, memory, settings, *, FACTS) -> dict[str, Tensor]``
    Terms added to the task's cross-entropy, by name. A term of strength zero is left out. Facts:
    ``context``; ``activations``, the output of every stage on the batch, by stage.
``loss_gradient(params, memory, settings) -> (float or None, dict[str, Gradient])``
    For steps of one sample that are written out, if the term depends on the parameters alone: its
    value (None: left out) and its gradient by parameter, that of a matrix as two vectors whose
    outer product it is, or whole. All are numpy arrays. ``loss`` defines the term; this says it
    faster.
``own_step(settings) -> OwnStep`` and
``own_loss(net, batch, memory, settings, *, context) -> Tensor``
    A gradient step apart from the optimiser's, on a loss (a scalar) of the strategy's own.
    ``batch`` are minibatches of the epoch together without what ``plan`` adds to them, shown as
    they are trained on (where images are augmented and ``plan`` adds some: augmented otherwise).
``after_step(net, memory, settings, *, FACTS) -> memory``
    After the optimiser's step. ``net.params`` (and the optimiser's ``slots``, by parameter name
    and slot) may be changed in place. Facts, mappings by parameter name unless said otherwise:
    ``before``, the parameters before the step; ``gradients``; ``slots``; ``activations``, the
    output of every stage on the batch, by stage; ``layer_inputs``, what every linear layer and
    convolution was given for it, by layer; ``batch``; ``context``; ``drawn``; ``step``, the
    number (int) of this step in the training, from 1.
``after_sample(params, memory, settings, *, network, activations, step)``
    What ``after_step`` does in a step of one sample for which ``draw`` drew nothing, and which is
    written out: on numpy arrays, activations (width,) by stage; ``memory`` is changed in place.
    ``network`` is for reading shapes only.
``draw(settings, *, FACTS) -> dict[str, Tensor]``
    On the host, for one seed, before every step: the fact ``drawn``. Facts: ``generator``, the
    seed's own, on the device of the weights; ``params`` by name or the module ``network``, both
    for reading shapes only; ``step`` as above.
``visits(settings) -> Visits`` and
``visit(net, memory, settings, *, batch, draws, context) -> memory``
    After a phase's last step its training images, or as many as asked for, pass by once more in
    batches, each with a number ``draws`` (B,), uniform in [0, 1), for what is left to chance.
``after_task(net, memory, settings, *, task, context) -> memory``
    After a phase.

A run that continues another's checkpoint after task 1 calls ``visit`` and ``after_task`` for task 1
on the weights it starts from; a strategy that has one of these is refused after a later task, since
the weights that the tasks before it ended with are not there. One whose memory cannot be had from
weights and images says so in a module constant, ``GATHERS_WHILE_TRAINING = True``, and is refused
after any. One that has no ``plan`` or ``visit`` and is for labelled images all the same says
``LABELS = True``, and is refused for agents.

Strategies compose: an entry with ``parts`` has the hooks of each part, each with its own memory;
loss terms add up.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from forgetting import specification
from forgetting.ensemble import Ensemble, Frozen, Net
from forgetting.errors import UserError
from forgetting.tasks import Batch, Inputs

Memory = dict[str, Any]
Array = NDArray[Any]
Arrays = Mapping[str, Array]
Gradient = Array | tuple[Array, Array]
"""A gradient, or a column and a row whose outer product is one."""
Written = tuple[dict[str, float], list[dict[str, Gradient]]]
"""Loss terms by name, and their gradients by parameter."""


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


class OwnStep(NamedTuple):
    """A separate plain gradient step, theta <- theta - rate * gradient of the part's own loss."""

    every: int
    """Minibatches of the epoch that it is taken on together; a shorter rest takes no part."""
    when: Literal["before", "after"]
    """Before the first of them is trained on, or after the last."""
    rate: float
    """Step size."""


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
            module = specification.component("strategies", part["component"])
            settings = specification.settings(
                module.Settings, part["settings"], at=part["component"]
            )
            parts.append(Part(part["component"], module, settings))
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
        self, net: Net, batch: Batch, logits: Tensor, memory: Memory, known: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Return the loss terms of all parts for one network."""
        terms: dict[str, Tensor] = {}
        for key, part, f in self._with("loss"):
            own = memory.get(key, {})
            terms |= f(net, batch, logits, own, part.settings, **_chosen(f, known))
        return terms

    @property
    def plain(self) -> bool:
        """Whether nothing is asked of a step but terms whose gradients are written out, and
        nothing is wanted after it that was not there without the framework's own step.
        """
        if any(self.has(hook) for hook in ("plan", "frozen")):
            return False
        if not self.facts("after_step") <= {"activations", "slots", "drawn", "step"}:
            return False
        return all(part.hook("loss_gradient") for _, part, _ in self._with("loss"))

    def loss_gradients(self, params: Arrays, memory: Memory) -> Written:
        """Return the loss terms of all parts by name, and their gradients, for one network."""
        terms, gradients = dict[str, float](), []
        for key, part, f in self._with("loss_gradient"):
            term, gradient = f(params, memory.get(key, {}), part.settings)
            if term is not None:
                terms[part.name] = term
                gradients.append(gradient)
        return terms, gradients

    def around_task(
        self, hook: str, ensemble: Ensemble, memory: Memory, *, task: int, known: Mapping[str, Any]
    ) -> Memory:
        """Run ``before_task`` or ``after_task`` of every part; return the new memory."""
        memory = dict(memory)
        for key, part, f in self._with(hook):

            def of_one(net: Net, own: Any, facts: Any, f: Any = f, part: Part = part) -> Any:
                return f(net, own, part.settings, task=task, **facts)

            with torch.no_grad():
                memory[key] = ensemble.map(of_one, memory.get(key, {}), _chosen(f, known))
        return memory

    def draw(
        self, ensemble: Ensemble, generators: Callable[[int, str], torch.Generator], step: int
    ) -> dict[str, Any]:
        """Return what every part draws for a step, for all seeds of the ensemble."""
        drawn = {}
        for key, part, f in self._with("draw"):
            of_seeds = []
            for seed in range(ensemble.size):
                params = {
                    name: p.detach()[seed] if ensemble.stacked else p.detach()
                    for name, p in (ensemble.params.items() if "params" in _keywords(f) else ())
                }
                known = {
                    "generator": generators(seed, key),
                    "params": params,
                    "network": ensemble.net(ensemble.params, ensemble.buffers).training,
                    "step": step,
                }
                of_seeds.append(f(part.settings, **_chosen(f, known)))
            drawn[key] = (
                tree_map(lambda *leaves: torch.stack(leaves), *of_seeds)
                if ensemble.stacked
                else of_seeds[0]
            )
        return drawn

    def after_step(
        self,
        ensemble: Ensemble,
        memory: Memory,
        known: Mapping[str, Any],
        drawn: Mapping[str, Any],
    ) -> Memory:
        """Run ``after_step`` of every part; return the new memory."""
        memory = dict(memory)
        for key, part, f in self._with("after_step"):

            def of_one(net: Net, own: Any, facts: Any, f: Any = f, part: Part = part) -> Any:
                return f(net, own, part.settings, **facts)

            facts = _chosen(f, {**known, "drawn": drawn.get(key, {})})
            memory[key] = ensemble.map(of_one, memory.get(key, {}), facts)
        return memory

    def after_sample(
        self, params: Arrays, memory: Memory, known: Mapping[str, Any], drawn: Mapping[str, Any]
    ) -> bool:
        """Run ``after_sample`` of every part, on one network's arrays, changed in place.

        Returns False, and has done nothing, where a part wants ``after_step`` instead.
        """
        calls = []
        for key, part, _ in self._with("after_step"):
            function = part.hook("after_sample")
            if function is None or drawn.get(key):
                return False
            calls.append((function, memory.get(key, {}), part.settings))
        for function, own, settings in calls:
            function(params, own, settings, **known)
        return True

    def optimizer(self) -> dict[str, float]:
        """Return what the parts add to the optimiser's settings: the sums by name."""
        total: dict[str, float] = {}
        for _, part, f in self._with("optimizer"):
            for name, value in f(part.settings).items():
                total[name] = total.get(name, 0.0) + value
        return total

    def own_steps(self) -> dict[str, OwnStep]:
        """Return the separate gradient steps of the parts, by part; one of rate 0 is left out."""
        asked = {key: f(part.settings) for key, part, f in self._with("own_step")}
        return {key: own for key, own in asked.items() if own.rate}

    def own_loss(
        self, key: str, ensemble: Ensemble, batch: Inputs, memory: Memory, context: Context
    ) -> Tensor:
        """Return the loss of the separate step of the part ``key``: a scalar, or (S,)."""
        ((part, function),) = [(p, f) for name, p, f in self._with("own_loss") if name == key]

        def of_one(net: Net, batch: Any, own: Any, around: Context) -> Tensor:
            return function(net, batch, own, part.settings, context=around)

        return ensemble.map(of_one, batch, memory.get(key, {}), context)

    def facts(self, hook: str) -> set[str]:
        """Return the names of all keyword parameters of a hook, of any part."""
        return {name for _, _, f in self._with(hook) for name in _keywords(f)}


@functools.cache
def _keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _chosen(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return those facts that a hook names."""
    return {name: known[name] for name in _keywords(function) if name in known}
