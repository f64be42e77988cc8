"""The convolutional GRU that ``convgru`` and ``bi_convgru`` share (Ballas et al. 2016).

With * a "same" convolution and . the elementwise product (arXiv 1511.06432, section 3):

    z = sigmoid(Wz * x + Uz * h)        update
    r = sigmoid(Wr * x + Ur * h)        reset
    c = tanh(W * x + U * (r . h))       candidate
    h' = (1 - z) . h + z . c,           h = 0 before the first step

The common implementation convolves x and h concatenated; this is the same map, computed apart:
the convolutions of the inputs do not wait for the state, so those of all gates and all steps are
one call, those of the state for z and r another. At the first step the state is zero and its
convolutions are left out.

How an image becomes a sequence is not known from the paper that uses these networks (Zhu & Jin
2026, arXiv 2603.04580) and there is no standard, so it is a setting: horizontal strips read from
top to bottom, or the whole image read again at every step.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from forgetting.errors import UserError
from forgetting.stages import Layer

GATES = ("update", "reset", "candidate")


def state_shape(
    input_shape: tuple[int, int, int], channels: int, *, sequence: str, steps: int
) -> tuple[int, int, int]:
    """The shape (channels, rows, columns) of the state; an error where strips do not fit."""
    _, rows, columns = input_shape
    if sequence == "repeat":
        return channels, rows, columns
    if rows % steps:
        fitting = [number for number in range(1, rows + 1) if rows % number == 0]
        raise UserError(
            f"an image of {rows} rows cannot be cut into {steps} equal strips: "
            f"set the architecture's `steps` to one of {fitting}"
        )
    return channels, rows // steps, columns


class ImageSequence(nn.Module):
    """An image (N, C, H, W) as a sequence (N, C, steps, rows, columns).

    A repeated image is given once, as a sequence of one step: the cell, which knows the number of
    steps, need not convolve the same image again.
    """

    def __init__(self, sequence: str, steps: int) -> None:
        super().__init__()
        self.steps = 1 if sequence == "repeat" else steps

    def forward(self, images: Tensor) -> Tensor:
        """Cut the image into strips, top first, or give it a time axis of one step."""
        return images.unflatten(2, (self.steps, -1))


class ConvGRU(Layer):
    """One recurrent layer over a sequence, with its own weights for all steps.

    Initial values (a documented choice, after public implementations of this cell): for every
    gate the matrix of the concatenated convolution, hidden x ((inputs + hidden) * k * k), is
    orthogonal where it can be, all its singular values being one; biases are zero. A gate's
    effective rank therefore starts at its maximum.
    """

    def __init__(self, inputs: int, hidden: int, *, kernel: int, steps: int) -> None:
        super().__init__()
        self.inputs, self.hidden, self.steps = inputs, hidden, steps
        self.input_weight = nn.Parameter(torch.empty(3 * hidden, inputs, kernel, kernel))
        self.state_weight = nn.Parameter(torch.empty(2 * hidden, hidden, kernel, kernel))
        self.candidate_weight = nn.Parameter(torch.empty(hidden, hidden, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(3 * hidden))

    def initialise(self, generator: torch.Generator) -> None:
        """Orthogonal weights for each gate, zero biases."""
        kernel = self.input_weight.shape[-2:]
        weights = []
        for _ in GATES:
            weight = self.input_weight.new_empty(self.hidden, self.inputs + self.hidden, *kernel)
            weights.append(nn.init.orthogonal_(weight, generator=generator))
        parts = [weight.split([self.inputs, self.hidden], dim=1) for weight in weights]
        self.input_weight.copy_(torch.cat([of_input for of_input, _ in parts]))
        states = torch.cat([of_state for _, of_state in parts])
        self.state_weight.copy_(states[: 2 * self.hidden])
        self.candidate_weight.copy_(states[2 * self.hidden :])
        self.bias.zero_()

    def matrices(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each gate the matrix hidden x ((inputs + hidden) * k * k) of its convolution.

        The input's and the state's weights stand side by side because a gate acts on both at
        once, as in the concatenated form of the cell: this is the matrix whose rank limits what
        the gate can respond to. The order of columns does not matter to singular values.
        """
        of_input = tensors["input_weight"].flatten(-3).chunk(3, dim=-2)
        of_state = [
            *tensors["state_weight"].flatten(-3).chunk(2, dim=-2),
            tensors["candidate_weight"].flatten(-3),
        ]
        pairs = zip(GATES, of_input, of_state, strict=True)
        return {gate: torch.cat([left, right], dim=-1) for gate, left, right in pairs}

    def forward(self, sequence: Tensor, backwards: bool = False) -> list[Tensor]:
        """The states after every step, in the order of reading.

        Args:
            sequence: (N, inputs, T, H, W); one step stands for the same input at all steps.
            backwards: Read the sequence from its end.

        Returns:
            ``steps`` states (N, hidden, H, W).
        """
        driven = self._convolve_inputs(sequence)
        if backwards:
            driven = driven[::-1]
        states: list[Tensor] = []
        for inputs in driven:
            of_gates, of_candidate = inputs.split([2 * self.hidden, self.hidden], dim=1)
            if not states:
                update, _ = of_gates.sigmoid().chunk(2, dim=1)
                states.append(update * of_candidate.tanh())
                continue
            state = states[-1]
            gates = (of_gates + _same(state, self.state_weight)).sigmoid()
            update, reset = gates.chunk(2, dim=1)
            candidate = (of_candidate + _same(reset * state, self.candidate_weight)).tanh()
            states.append(torch.lerp(state, candidate, update))
        return states

    def _convolve_inputs(self, sequence: Tensor) -> list[Tensor]:
        """Wz * x, Wr * x and W * x with biases, (N, 3 hidden, H, W) for each step, in one call."""
        steps = sequence.shape[2]
        folded = sequence.permute(2, 0, 1, 3, 4).flatten(0, 1)
        driven = _same(folded, self.input_weight, self.bias).unflatten(0, (steps, -1)).unbind(0)
        return list(driven) * (self.steps if steps == 1 else 1)


class Readout(nn.Module):
    """The final state (N, channels, H, W) as features (N, channels) or (N, channels * H * W)."""

    def __init__(self, readout: str) -> None:
        super().__init__()
        self.readout = readout

    def forward(self, state: Tensor) -> Tensor:
        """Average over positions, or flatten."""
        return state.mean((2, 3)) if self.readout == "pool" else state.flatten(1)


def _same(maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.conv2d(maps, weight, bias, padding="same")
