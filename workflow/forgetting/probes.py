"""Which images are looked at when a network is probed.

A probe is drawn once and used for every seed, checkpoint and strategy, so that numbers which grow
with the sample, as effective rank does, stay comparable.
"""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def choose(available: int, images: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw which images of a split form the probe.

    Args:
        available: How many images there are; they are counted from 0.
        images: How many are wanted; all are taken where there are not as many.
        generator: From a node of the seed tree that names neither seed nor run.

    Returns:
        Distinct indices in ascending order.
    """
    if images >= available:
        return np.arange(available)
    return np.sort(generator.choice(available, size=images, replace=False))


def describe(split: str, inputs: "Tensor", indices: "Tensor") -> dict[str, Any]:
    """What identifies a probe: split, number, indices, and a hash of the normalised inputs.

    Args:
        split: The part of the data they come from.
        inputs: (n, C, H, W), normalised.
        indices: (n,), of the benchmark's images.
    """
    digest = hashlib.sha256(inputs.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    return {
        "split": split,
        "images": len(indices),
        "sha256": digest,
        "indices": indices.tolist(),
    }
