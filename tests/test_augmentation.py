"""Augmentations of a batch against torchvision's of one image."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import functional

from forgetting.augmentation import Draws, augmentations, draw, transform


def images(n, height=9, width=9):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 3, height, width, generator=generator, dtype=torch.float64) + 1


def by_torchvision(image, flipped, window, angle, *, padding):
    image = functional.hflip(image) if flipped else image
    height, width = image.shape[-2:]
    padded = functional.pad(image, padding, padding_mode="reflect")
    cut = functional.crop(padded, *window.tolist(), height, width)
    return functional.rotate(cut, float(angle))


@pytest.mark.parametrize("shape", [(32, 32), (7, 12)])
def test_every_image_is_what_torchvision_makes_of_it(shape):
    n, padding = 40, 4
    drawn = draw(n, np.random.default_rng(3), flip=0.5, padding=padding, rotation=170)
    ours = transform(images(n, *shape), drawn, padding=padding)
    for image, result, *chosen in zip(images(n, *shape), ours, *drawn, strict=True):
        assert torch.equal(result, by_torchvision(image, *chosen, padding=padding))
    assert 0 < drawn.flipped.sum() < n
    assert (ours == 0).any()  # corners from outside


def test_rotation_is_scipys_nearest_neighbour():
    image = images(1, 15, 15)
    drawn = Draws(np.array([False]), np.array([[2, 2]]), np.array([37.3]))
    ours = transform(image, drawn, padding=2)
    theirs = ndimage.rotate(image[0].numpy(), 37.3, axes=(1, 2), reshape=False, order=0)
    # Scipy counts the outer half of the border pixels as outside; no pixel of the image is 0.
    inside = theirs != 0
    assert inside.mean() > 0.7
    np.testing.assert_array_equal(ours[0].numpy()[inside], theirs[inside])


def test_a_quarter_turn_by_hand():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    turned = transform(
        image, Draws(np.array([False]), np.zeros((1, 2), int), np.array([90.0])), padding=0
    )
    assert torch.equal(turned, torch.rot90(image, dims=(2, 3)))


def test_nothing_drawn_changes_nothing():
    inputs = images(6).view(2, 3, 3, 9, 9)
    generators = [np.random.default_rng(seed) for seed in range(2)]
    same = augmentations(inputs, generators, flip=0.0, padding=0, rotation=0.0)
    assert torch.equal(same, inputs)


def test_draws_are_uniform_and_switch_off_one_by_one():
    drawn = draw(20_000, np.random.default_rng(0), flip=0.3, padding=2, rotation=15)
    assert drawn.flipped.mean() == pytest.approx(0.3, abs=0.02)
    for axis in (0, 1):
        counts = np.bincount(drawn.windows[:, axis], minlength=5) / 20_000
        np.testing.assert_allclose(counts, 0.2, atol=0.015)
    assert abs(np.corrcoef(drawn.windows.T)[0, 1]) < 0.03
    assert 0 <= drawn.angles.min() < 0.01
    assert 14.99 < drawn.angles.max() < 15
    assert drawn.angles.mean() == pytest.approx(7.5, abs=0.15)
    again = draw(20_000, np.random.default_rng(0), flip=0, padding=2, rotation=15)
    assert not again.flipped.any()
    assert np.array_equal(again.windows, drawn.windows)
    assert np.array_equal(again.angles, drawn.angles)


def test_seeds_of_a_pack_are_transformed_as_alone():
    inputs = images(10).view(2, 5, 3, 9, 9)
    settings = {"flip": 0.5, "padding": 3, "rotation": 15.0}
    together = augmentations(inputs, [np.random.default_rng(s) for s in (0, 1)], **settings)
    for seed in (0, 1):
        alone = augmentations(inputs[seed : seed + 1], [np.random.default_rng(seed)], **settings)
        assert torch.equal(together[seed], alone[0])
    assert not torch.equal(together, inputs)
