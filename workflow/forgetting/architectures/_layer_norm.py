"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv 1607.06450) for vectors and maps alike."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forgetting.stages import Layer


class LayerNorm(nn.LayerNorm, Layer):
    """Normalise each sample over its units; maps at every position over their channels.

    With a scale and a shift for every unit. Between a layer and its nonlinearity, and with the
    small constant 1e-6 of Flax, as in the code of Prakash et al. (2025, arXiv 2509.22335).
    """

    def __init__(self, units: int) -> None:
        super().__init__(units, eps=1e-6)

    def initialise(self, generator: torch.Generator) -> None:
        """Scale 1 and shift 0; draws nothing."""
        self.reset_parameters()

    def matrices(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """No weight matrix."""
        return {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (N, units) or (N, channels, H, W), normalised over axis 1."""
        return super().forward(inputs.movedim(1, -1)).movedim(-1, 1)
