import numpy as np
import torch

from forgetting.probes import choose, describe


def draw(available: int, images: int, seed: int = 0) -> list[int]:
    return choose(available, images, np.random.default_rng(seed)).tolist()


def test_distinct_ascending_and_as_many_as_asked_for() -> None:
    chosen = draw(10_000, 2000)
    assert len(chosen) == len(set(chosen)) == 2000
    assert chosen == sorted(chosen)
    assert min(chosen) >= 0
    assert max(chosen) < 10_000


def test_all_where_there_are_not_as_many() -> None:
    assert draw(300, 2000) == draw(300, 300) == list(range(300))


def test_decided_by_the_generator() -> None:
    assert draw(100, 10) == draw(100, 10)
    assert draw(100, 10) != draw(100, 10, seed=1)


def test_a_description_tells_probes_apart() -> None:
    images = torch.arange(12.0).reshape(3, 1, 2, 2)
    about = describe("test", images, torch.tensor([4, 7, 9]))
    assert (about["split"], about["images"], about["indices"]) == ("test", 3, [4, 7, 9])
    assert about == describe("test", images.clone(), torch.tensor([4, 7, 9]))
    other = images.clone()
    other[0, 0, 0, 0] = 1e-6
    assert about["sha256"] != describe("test", other, torch.tensor([4, 7, 9]))["sha256"]
