"""Procedural colour images: 100 fine classes in 20 coarse ones, for work without a network.

A coarse class is a shape, seen at a random place, size and angle; its five fine classes are five
textures of that shape, each with a palette of its own (two opposite hues). The first ten shapes
are angular, the last ten rounded: the two super-groups. Backgrounds are dark or bright and
uneven, with coloured specks, and brightness and noise vary, so that no single pixel tells much.

Image i of a class depends on the seed, the size, the class and i alone: asking for more images
keeps the earlier ones.

Measured at the defaults (3,000 test images, fine classes): scikit-learn's LogisticRegression on
standardised pixels 13.7 % at its best C of 0.01; a ResNet of three blocks with 16, 32 and 64
channels 83 % after 5 epochs and 95 % after 15; a perceptron with two hidden layers of 400 51 %
after 20.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from forgetting.content import Digest, Found
from forgetting.data._outlines import SHAPES, TEXTURES, disc
from forgetting.datasets import Dataset
from forgetting.settings import Settings as Base

STAND_IN = True
FINE = 5
PALETTES = ("red-cyan", "orange-azure", "yellow-blue", "lime-purple", "green-magenta")
# Rays per pixel and axis, averaged against jagged edges.
SAMPLES = 3
# Ranges of chance. Lengths are in half-widths of the image, angles in radians, hues in turns.
SCALE = (0.5, 0.8)
TURN = 0.5
SHIFT = 0.3
PHASE = 0.3
HUE = 0.02
BRIGHTNESS = (0.5, 1.0)
SWAP = 0.25
SPECKS = 3
NOISE = 0.06
DRAWS = 13 + 5 * SPECKS


class Settings(Base):
    """How many images, how large, and which."""

    size: Annotated[int, Field(ge=8, le=128)] = 16
    """Height and width in pixels."""
    train_images: Annotated[int, Field(ge=1)] = 100
    """Training images of each fine class."""
    test_images: Annotated[int, Field(ge=1)] = 30
    """Test images of each fine class."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Which images are drawn."""
    grey: bool = False
    """One channel, the mean of the three, instead of colours."""


def palette_of(coarse: int, fine: int) -> int:
    """Return the palette of the fine class (0 to 4) of a shape; every shape deals them anew."""
    return (fine * (1 + coarse % 4) + coarse // 4) % FINE


def find(data_dir: Path, name: str, digest: Digest) -> Found:
    """Return the identity of the images: our code makes them, so they are always there."""
    return Found((), "made by forgetting.data.shapes", 0)


def wanted(data_dir: Path, name: str) -> list[str]:
    """Return the files to put where: none."""
    return ["nothing: the images are made by the workflow"]


def load(data_dir: Path, name: str, settings: Settings) -> Dataset:
    """Draw the images, (N, size, size, 3), class by class."""
    coarse = np.repeat(np.arange(len(SHAPES)), FINE)
    arrays: dict[str, Any] = {}
    for part, count in (("train", settings.train_images), ("test", settings.test_images)):
        arrays[f"{part}_images"] = np.concatenate(
            [_draw(label, part, count=count, settings=settings) for label in range(len(coarse))]
        )
        if settings.grey:
            mean = arrays[f"{part}_images"].mean(axis=3, keepdims=True)
            arrays[f"{part}_images"] = np.rint(mean).astype(np.uint8)
        arrays[f"{part}_labels"] = np.repeat(np.arange(len(coarse)), count)
        arrays[f"{part}_coarse_labels"] = np.repeat(coarse, count)
    return Dataset(
        name=name,
        label_names=[
            f"{texture} {PALETTES[palette_of(number, fine)]} {shape}"
            for number, shape in enumerate(SHAPES)
            for fine, texture in enumerate(TEXTURES)
        ],
        coarse_label_names=list(SHAPES),
        stand_in=STAND_IN,
        **arrays,
    )


def _draw(label: int, part: str, *, count: int, settings: Settings) -> np.ndarray:
    """Return ``count`` images of a fine class, (count, size, size, 3) uint8."""
    coarse, fine = divmod(label, FINE)
    size = settings.size
    root = [settings.seed, label, ("train", "test").index(part)]
    # One row of numbers per image, and the noise apart, so that more images only add rows.
    chance = np.random.default_rng([*root, 0]).random((count, DRAWS))
    noise = np.random.default_rng([*root, 1]).standard_normal((count, size, size, 3))
    column = iter(chance.T[:, :, None, None])

    def uniform(low: float, high: float) -> np.ndarray:
        return low + (high - low) * next(column)

    ticks = (np.arange(size * SAMPLES) + 0.5) / (size * SAMPLES) * 2 - 1
    grid_y, grid_x = np.meshgrid(ticks, ticks, indexing="ij")

    # The object, in coordinates of its own that span about -1 to 1.
    scale, angle = uniform(*SCALE), uniform(-TURN, TURN)
    x = (grid_x - uniform(-SHIFT, SHIFT)) / scale
    y = (grid_y - uniform(-SHIFT, SHIFT)) / scale
    x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = list(SHAPES.values())[coarse](x, y)[..., None]
    share = np.asarray(
        list(TEXTURES.values())[fine](x + uniform(-PHASE, PHASE), y + uniform(-PHASE, PHASE)), float
    )[..., None]
    hue = palette_of(coarse, fine) / (2 * FINE) + uniform(-HUE, HUE)
    strength = uniform(*BRIGHTNESS)
    # Now and then the two colours change places, which hides the palette from colour averages.
    swapped = 0.5 * (uniform(0, 1) < SWAP)
    first, second = (_colour(hue + swapped + turn, 0.9, strength) for turn in (0, 0.5))
    surface = (1 - share) * first + share * second

    # The background: dark or bright, faintly coloured, with a slope and specks of any colour.
    bright = uniform(0, 1)
    level = np.where(bright < 0.5, 0.05 + 0.5 * bright, 0.45 + 0.5 * bright)
    back = _colour(uniform(0, 1), 0.25, level)
    slope = uniform(-0.15, 0.15) * grid_x + uniform(-0.15, 0.15) * grid_y
    picture = back + slope[..., None]
    for _ in range(SPECKS):
        there = disc(grid_x - uniform(-1, 1), grid_y - uniform(-1, 1), uniform(0.06, 0.2))
        picture = np.where(there[..., None], _colour(uniform(0, 1), 0.8, uniform(0.4, 1)), picture)
    picture = np.where(inside, surface, picture)

    pixels = picture.reshape(count, size, SAMPLES, size, SAMPLES, 3).mean(axis=(2, 4))
    return np.rint(np.clip(pixels + NOISE * noise, 0, 1) * 255).astype(np.uint8)


def _colour(hue: np.ndarray, saturation: float, value: np.ndarray) -> np.ndarray:
    """Return RGB, with a last axis of 3, of hue (in turns), saturation and value."""
    third = (hue[..., None] * 6 + np.array([5, 3, 1])) % 6
    return value[..., None] * (1 - saturation * np.clip(np.minimum(third, 4 - third), 0, 1))
