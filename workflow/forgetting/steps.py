"""One optimisation step of an ensemble: the loss, its gradient, the optimiser, what follows.

Also the separate gradient step that a strategy may take on a loss of its own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from forgetting.ensemble import Ensemble
from forgetting.gradients import Objective, WrittenOut, cross_entropy, gradients_for
from forgetting.online import Online, applies
from forgetting.optimizer import Optimizer
from forgetting.perceptron import Perceptron
from forgetting.recording import TOTAL
from forgetting.strategy import Arrays, Context, Memory, Strategy, Written
from forgetting.tasks import Inputs
from forgetting.training_settings import Optimisation


class Steps:
    """The optimiser of an ensemble under a strategy, step by step."""

    def __init__(
        self,
        ensemble: Ensemble,
        strategy: Strategy,
        settings: Optimisation,
        objective: Objective = cross_entropy,
        written_out: Callable[[Ensemble], WrittenOut | None] = Perceptron.of,
    ) -> None:
        self.ensemble, self.strategy, self.settings = ensemble, strategy, settings
        self._wanted = strategy.facts("after_step")
        self._gradients = gradients_for(
            ensemble, strategy, objective, bfloat16=settings.bfloat16, written_out=written_out
        )
        sgd = settings.optimizer == "sgd" and settings.momentum == 0 and settings.batch_size == 1
        on_cpu = next(iter(ensemble.params.values())).device.type == "cpu"
        looks = strategy.has("loss") or strategy.has("after_step")
        alone = not looks or (on_cpu and not (strategy.has("after_step") and ensemble.stacked))
        plain = strategy.plain and objective is cross_entropy and not settings.bfloat16
        online = plain and sgd and alone and applies(ensemble.network, on_cpu=on_cpu)
        self.online = Online(ensemble) if online else None
        """Steps written out, where nothing but plain steps of one sample is asked for."""
        self.restart()

    def restart(self) -> None:
        """Begin with a fresh optimiser."""
        settings = self.settings
        self.optimizer = Optimizer(
            self.ensemble.params,
            settings.optimizer,
            rate=settings.learning_rate,
            momentum=settings.momentum,
            betas=settings.betas,
            decay=settings.weight_decay + self.strategy.optimizer().get("weight_decay", 0.0),
        )

    def steps_of_one(
        self,
        inputs: Tensor,
        targets: Tensor,
        memory: Memory,
        drawn: Callable[[int], dict[str, Any]],
        number: int,
    ) -> tuple[Memory, dict[str, Tensor]]:
        """Take a step for each sample (S, n, ...) in order.

        Returns the strategy's memory and the steps' facts, each (n, S). ``memory`` may be changed
        in place. ``drawn`` returns what the strategy's parts draw for a step by its number, and
        ``number`` is that of the first step.
        """
        assert self.online is not None
        strategy, ensemble = self.strategy, self.ensemble
        arrays: dict[int, Any] = {}

        def own(seed: int) -> Any:
            """Return the memory of one network as arrays that share the storage of ``memory``."""
            if seed not in arrays:
                arrays[seed] = tree_map(
                    lambda leaf: (leaf[seed] if ensemble.stacked else leaf).numpy(), memory
                )
            return arrays[seed]

        def terms(seed: int, params: Arrays) -> Written:
            return strategy.loss_gradients(params, own(seed))

        slots = {name: self.optimizer.moments(name) for name in ensemble.params}

        def after(place: int, params: Arrays, outputs: Arrays) -> None:
            nonlocal memory
            step = number + place
            chance = drawn(step)
            known = {"network": ensemble.network, "activations": outputs, "step": step}
            if strategy.after_sample(params, own(0), known, chance):
                return
            activations = {stage: torch.from_numpy(o)[None] for stage, o in outputs.items()}
            known = {"activations": activations, "slots": slots, "step": step}
            memory = strategy.after_step(ensemble, memory, known, chance)
            arrays.clear()

        facts = self.online.run(
            inputs,
            targets,
            rate=self.optimizer.rate,
            decay=self.optimizer.decay,
            terms=terms if self.strategy.has("loss") else None,
            after=after if self.strategy.has("after_step") else None,
        )
        total = sum((f for n, f in facts.items() if n != "accuracy"), start=torch.zeros(()))
        return memory, {**facts, TOTAL: total}

    def step(
        self,
        batch: Inputs,
        new: int,
        memory: Memory,
        context: Context,
        drawn: dict[str, Any],
        number: int,
    ) -> tuple[Memory, dict[str, Tensor]]:
        """Train on a batch whose first ``new`` samples are the task's own.

        Returns the strategy's memory and the step's facts, each (S,). ``drawn`` is what the
        strategy's parts drew for this step, by part, and ``number`` the step's, from 1.
        """
        ensemble, strategy, wanted = self.ensemble, self.strategy, self._wanted
        terms, facts, seen = self._gradients(batch, new, memory, context)
        total: Any = sum(terms.values())
        known: dict[str, Any] = {"activations": seen, "layer_inputs": seen, "batch": batch}
        known["context"] = context
        known["step"] = number
        if "before" in wanted:
            known["before"] = {n: p.detach().clone() for n, p in ensemble.params.items()}
        self.optimizer.step()
        if strategy.has("after_step"):
            if "gradients" in wanted:
                gradients = {n: p.grad for n, p in ensemble.params.items() if p.grad is not None}
                known["gradients"] = gradients
            if "slots" in wanted:
                known["slots"] = {n: self.optimizer.moments(n) for n in ensemble.params}
            with torch.no_grad():
                memory = strategy.after_step(ensemble, memory, known, drawn)
        facts = {**terms, TOTAL: total, **facts}
        return memory, {name: ensemble.spread(f.detach()) for name, f in facts.items()}

    def own_step(
        self, key: str, rate: float, batch: Inputs, memory: Memory, context: Context
    ) -> None:
        """Take the separate gradient step of the strategy's part ``key``."""
        losses = self.strategy.own_loss(key, self.ensemble, batch, memory, context)
        leaves = [p for p in self.ensemble.params.values() if p.requires_grad]
        gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        with torch.no_grad():
            for leaf, gradient in zip(leaves, gradients, strict=True):
                if gradient is not None:
                    leaf.sub_(gradient, alpha=rate)
