"""The shapes and textures of the data set ``shapes``: functions of the place in the plane.

Coordinates are the object's own: x to the right, y downwards, about -1 to 1 across the object.
"""

from collections.abc import Callable

import numpy as np

Coordinates = np.ndarray
Mask = np.ndarray


def _box(x: Coordinates, y: Coordinates, width: float, height: float) -> Mask:
    return (abs(x) < width) & (abs(y) < height)


def disc(x: Coordinates, y: Coordinates, radius: float | np.ndarray) -> Mask:
    """Return the inside of a disc about the origin."""
    return x**2 + y**2 < radius**2


def _triangle(x: Coordinates, y: Coordinates) -> Mask:
    return (y < 0.8) & (y > 1.9 * abs(x) - 1.0)


def _star(x: Coordinates, y: Coordinates) -> Mask:
    angle = (np.arctan2(x, -y) / (2 * np.pi) * 5 + 0.5) % 1 - 0.5
    return np.hypot(x, y) * (0.42 + 1.25 * abs(angle)) < 0.46


def _heart(x: Coordinates, y: Coordinates) -> Mask:
    lobes = disc(abs(x) - 0.45, y + 0.35, 0.5)
    return lobes | ((y > -0.35) & (abs(x) + 0.85 * (y + 0.1) < 0.86) & (abs(x) < 0.95))


def _drop(x: Coordinates, y: Coordinates) -> Mask:
    return disc(x, y - 0.35, 0.6) | ((y < 0.25) & (y > 2.0 * abs(x) - 1.05))


def _crescent(x: Coordinates, y: Coordinates) -> Mask:
    return disc(x, y, 0.95) & ~disc(x - 0.5, y, 0.8)


def _flower(x: Coordinates, y: Coordinates) -> Mask:
    return np.hypot(x, y) < 0.6 + 0.4 * np.sin(3 * np.arctan2(y, x))


def _wave(x: Coordinates, y: Coordinates) -> Mask:
    return (abs(y - 0.5 * np.sin(3.4 * x)) < 0.33) & (abs(x) < 1.0)


Shape = Callable[[Coordinates, Coordinates], Mask]
ANGULAR: dict[str, Shape] = {
    "triangle": _triangle,
    "square": lambda x, y: _box(x, y, 0.75, 0.75),
    "bar": lambda x, y: _box(x, y, 1.05, 0.34),
    "cross": lambda x, y: _box(x, y, 0.95, 0.3) | _box(x, y, 0.3, 0.95),
    "ell": lambda x, y: _box(x + 0.45, y, 0.3, 0.9) | _box(x, y - 0.6, 0.75, 0.3),
    "tee": lambda x, y: _box(x, y + 0.6, 0.9, 0.3) | _box(x, y, 0.3, 0.9),
    "star": _star,
    "frame": lambda x, y: _box(x, y, 0.85, 0.85) & ~_box(x, y, 0.4, 0.4),
    "hourglass": lambda x, y: (abs(x) < 0.12 + 0.85 * abs(y)) & (abs(y) < 0.9),
    "chevron": lambda x, y: (abs(y + 0.3 - 0.9 * abs(x)) < 0.38) & (abs(x) < 0.95),
}
ROUNDED: dict[str, Shape] = {
    "disc": lambda x, y: disc(x, y, 0.8),
    "ring": lambda x, y: disc(x, y, 0.95) & ~disc(x, y, 0.45),
    "ellipse": lambda x, y: disc(x, y / 0.45, 1.05),
    "crescent": _crescent,
    "half": lambda x, y: disc(x, y - 0.4, 1.0) & (y < 0.4),
    "heart": _heart,
    "drop": _drop,
    "dumbbell": lambda x, y: disc(abs(x) - 0.6, y, 0.42) | _box(x, y, 0.6, 0.15),
    "flower": _flower,
    "wave": _wave,
}
SHAPES = {**ANGULAR, **ROUNDED}


def _stripes(x: Coordinates, y: Coordinates) -> np.ndarray:
    return np.sin(2 * np.pi * 1.5 * y) > 0


def _checks(x: Coordinates, y: Coordinates) -> np.ndarray:
    return np.sin(2 * np.pi * 1.0 * x) * np.sin(2 * np.pi * 1.0 * y) > 0


def _dots(x: Coordinates, y: Coordinates) -> np.ndarray:
    return disc((x / 0.7) % 1 - 0.5, (y / 0.7) % 1 - 0.5, 0.33)


def _gradient(x: Coordinates, y: Coordinates) -> np.ndarray:
    return np.clip(x / 1.4 + 0.5, 0, 1)


def _solid(x: Coordinates, y: Coordinates) -> np.ndarray:
    return np.zeros_like(x)


# Each gives the share of the palette's second colour, 0 to 1.
TEXTURES = {
    "striped": _stripes,
    "checked": _checks,
    "dotted": _dots,
    "graded": _gradient,
    "solid": _solid,
}
