"""Random flips, shifts and rotations of training images, a whole batch at a time.

The three transformations of Dohare et al. (2024, Nature 632, 768-774) for CIFAR-100, in their
order: a horizontal flip; a window of the image's size, anywhere in the image padded by its own
reflection; a rotation about the centre, counter-clockwise, in which every pixel is the nearest
one of the unrotated image (torchvision's default; theirs is not known to us) and what comes from
outside is zero.

All three move pixels without mixing them, so together they are one look-up. The draws are made on
the host, so that they are the same on every device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Draws(NamedTuple):
    """What happens to each of N images."""

    flipped: np.ndarray
    """(N,) bool."""
    windows: np.ndarray
    """(N, 2) int64: top row and left column of the window in the padded image."""
    angles: np.ndarray
    """(N,) float64, degrees counter-clockwise."""


def draw(
    images: int, generator: np.random.Generator, *, flip: float, padding: int, rotation: float
) -> Draws:
    """Draw the transformations of ``images`` images; a setting changes its own draws alone.

    Args:
        images: Number of images N.
        generator: Where the draws come from.
        flip: Probability of a flip.
        padding: Pixels added on every side.
        rotation: Largest angle in degrees; the smallest is 0.
    """
    places = generator.random((4, images))
    return Draws(
        flipped=places[0] < flip,
        windows=np.floor((2 * padding + 1) * places[1:3].T).astype(np.int64),
        angles=rotation * places[3],
    )


def transform(images: Tensor, draws: Draws, *, padding: int) -> Tensor:
    """Return images (N, C, H, W) flipped, shifted and rotated; ``padding`` < H, W."""
    height, width = images.shape[-2:]
    flipped, windows, angles = (torch.from_numpy(array).to(images.device) for array in draws)
    angles = angles.deg2rad()[:, None, None]
    y = torch.arange(height, dtype=torch.float64, device=images.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64, device=images.device) - (width - 1) / 2
    rows = (angles.sin() * x + angles.cos() * y + (height - 1) / 2).round().long()
    columns = (angles.cos() * x - angles.sin() * y + (width - 1) / 2).round().long()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows = _reflect(rows.clamp(0, height - 1) + windows[:, 0, None, None] - padding, height)
    columns = _reflect(columns.clamp(0, width - 1) + windows[:, 1, None, None] - padding, width)
    columns = torch.where(flipped[:, None, None], width - 1 - columns, columns)
    places = (rows * width + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, places).view_as(images)
    return moved.masked_fill(~inside[:, None], 0)


def augmentations(
    inputs: Tensor,
    generators: Sequence[np.random.Generator],
    *,
    flip: float,
    padding: int,
    rotation: float,
) -> Tensor:
    """Return inputs (S, B, C, H, W), each transformed at random: ``generators`` are the seeds'."""
    settings = {"flip": flip, "rotation": rotation}
    drawn = [draw(inputs.shape[1], g, padding=padding, **settings) for g in generators]
    together = Draws(*(np.concatenate(arrays) for arrays in zip(*drawn, strict=True)))
    return transform(inputs.flatten(0, 1), together, padding=padding).view_as(inputs)


def _reflect(places: Tensor, size: int) -> Tensor:
    """Fold places outside 0 to size - 1 back in, the border pixel not repeated."""
    return (size - 1) - ((size - 1) - places.abs()).abs()
