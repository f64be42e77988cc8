"""The procedural shapes: what they are, that they never change, and how hard they are."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from forgetting import datasets
from forgetting.data import _outlines, shapes
from forgetting.datasets import Dataset


def draw(**settings) -> Dataset:
    return shapes.load(Path(), "shapes", shapes.Settings(**settings))


@pytest.fixture(scope="module")
def few() -> Dataset:
    return draw(train_images=3, test_images=2)


def test_classes_and_counts(few):
    assert few.train_images.shape == (300, 16, 16, 3)
    assert few.test_images.shape == (200, 16, 16, 3)
    assert np.bincount(few.train_labels).tolist() == [3] * 100
    np.testing.assert_array_equal(few.train_coarse_labels, few.train_labels // 5)
    np.testing.assert_array_equal(few.test_coarse_labels, few.test_labels // 5)
    assert len(set(few.label_names)) == 100
    assert few.coarse_label_names == [*_outlines.ANGULAR, *_outlines.ROUNDED]
    assert len(_outlines.ANGULAR) == len(_outlines.ROUNDED) == 10
    assert few.stand_in
    defaults = shapes.Settings()
    assert (defaults.size, defaults.train_images) == (16, 100)


def test_a_class_is_a_texture_and_a_palette_of_a_shape():
    for coarse in range(20):
        palettes = {shapes.palette_of(coarse, fine) for fine in range(5)}
        assert palettes == set(range(5))
    for fine in range(5):
        assert len({shapes.palette_of(coarse, fine) for coarse in range(20)}) == 5


def test_drawing_is_deterministic(few):
    again = draw(train_images=3, test_images=2)
    assert datasets.checksum(again) == datasets.checksum(few)
    # The mean pixel rather than the bytes: the last bit of a sine differs between machines.
    assert few.train_images.mean() == pytest.approx(117.6435, abs=0.01)


def test_more_images_keep_the_earlier_ones(few):
    more = draw(train_images=5, test_images=2)
    first = datasets.first_per_class(more, train=3, test=None)
    np.testing.assert_array_equal(first.train_images, few.train_images)
    np.testing.assert_array_equal(first.test_images, few.test_images)


def test_seeds_parts_and_images_differ(few):
    other = draw(train_images=3, test_images=2, seed=1)
    assert (other.train_images != few.train_images).any(axis=(1, 2, 3)).all()
    everything = np.concatenate([few.train_images, few.test_images, other.train_images])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)


@pytest.mark.parametrize("size", [8, 21, 32])
def test_sizes(size):
    assert draw(size=size, train_images=1, test_images=1).train_images.shape == (100, size, size, 3)


def test_every_shape_is_of_moderate_size_inside_its_frame():
    ticks = np.linspace(-1.25, 1.25, 251)
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    masks = {name: shape(x, y) for name, shape in _outlines.SHAPES.items()}
    for name, mask in masks.items():
        area = mask.mean() * 2.5**2
        assert 0.7 < area < 3.2, name
        assert not mask[abs(x) > 1.13].any(), name
        assert not mask[abs(y) > 1.13].any(), name
    names = list(masks)
    for i, one in enumerate(names):
        for other in names[:i]:
            shared = (masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum()
            assert shared < 0.85, (one, other, shared)


@pytest.mark.parametrize(
    ("hue", "colour"),
    [(0, [1, 0, 0]), (1 / 3, [0, 1, 0]), (2 / 3, [0, 0, 1]), (0.5, [0, 1, 1]), (1, [1, 0, 0])],
)
def test_colours(hue, colour):
    found = shapes._colour(np.array(hue), 1.0, np.array(1.0))
    np.testing.assert_allclose(found, colour, atol=1e-12)
    assert shapes._colour(np.array(hue), 0.0, np.array(0.7)).tolist() == [0.7, 0.7, 0.7]


@pytest.mark.slow
def test_a_linear_model_fails_and_a_small_resnet_succeeds():
    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, stride: int):
            super().__init__()
            self.first = nn.Conv2d(channels, outputs, 3, stride, 1, bias=False)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norms = nn.ModuleList([nn.BatchNorm2d(outputs) for _ in range(3)])
            self.skip = nn.Conv2d(channels, outputs, 1, stride, bias=False)

        def forward(self, x):
            inner = F.relu(self.norms[0](self.first(x)))
            return F.relu(self.norms[1](self.second(inner)) + self.norms[2](self.skip(x)))

    dataset = draw()
    train, test = (
        torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)
        for images in (dataset.train_images, dataset.test_images)
    )
    labels, wanted = torch.from_numpy(dataset.train_labels), torch.from_numpy(dataset.test_labels)

    flat = train.flatten(1)
    mean, std = flat.mean(0), flat.std(0)
    # The best of the strengths 0.001, 0.01, 0.1; further iterations only overfit.
    linear = LogisticRegression(C=0.01, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear.fit((flat - mean) / std, labels)
    assert linear.score((test.flatten(1) - mean) / std, wanted) < 0.25

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), Block(16, 16, 1), Block(16, 32, 2),
            Block(32, 64, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 100),
        )  # fmt: skip
        optimizer = torch.optim.SGD(
            network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        epochs, batch = 6, 100
        steps = epochs * len(train) // batch
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, steps)
        for _ in range(epochs):
            for indices in torch.randperm(len(train)).split(batch):
                loss = F.cross_entropy(network(train[indices] - 0.5), labels[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        network.eval()
        with torch.no_grad():
            accuracy = (network(test - 0.5).argmax(1) == wanted).float().mean().item()
    assert accuracy > 0.6
