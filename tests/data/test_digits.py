"""Scikit-learn's digits."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from forgetting.data import digits
from forgetting.errors import UserError


def test_the_split_is_fixed_stratified_and_whole():
    dataset = digits.load(Path(), "digits", digits.Settings())
    assert dataset.stand_in
    assert dataset.train_images.shape == (1438, 8, 8, 1)
    assert dataset.test_images.shape == (359, 8, 8, 1)
    # Written down, so that another random generator would be noticed.
    assert np.bincount(dataset.test_labels).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert dataset.test_labels[:8].tolist() == [3, 5, 9, 1, 3, 6, 5, 5]
    together = np.concatenate([dataset.train_images, dataset.test_images])[..., 0]
    original = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, together)) == sorted(map(bytes, original))
    assert together.max() == 255


def test_images_keep_their_labels():
    dataset = digits.load(Path(), "digits", digits.Settings())
    bunch = load_digits()
    known = dict(zip(map(bytes, bunch.images.astype(np.uint8)), bunch.target, strict=True))
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        ink = np.rint(images[..., 0] * (16 / 255)).astype(np.uint8)
        assert [known[bytes(image)] for image in ink] == labels.tolist()


def test_other_digits_are_refused(monkeypatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    with pytest.raises(UserError, match="other digits"):
        digits.load(Path(), "digits", digits.Settings())
