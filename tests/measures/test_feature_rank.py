"""Effective rank of features against numpy's singular values."""

import numpy as np
import pytest
import torch

from forgetting.measures import dead_units, feature_rank
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged


def rank(features: np.ndarray) -> float:
    sigma = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    share = sigma[sigma > 0] / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def test_every_stage_at_every_moment(growing: RunView) -> None:
    frame = feature_rank.measure(growing, feature_rank.Settings(images=20))
    assert list(frame.columns) == list(feature_rank.COLUMNS)
    for index, seed in enumerate(SEEDS):
        for task, moment, name in (
            (1, "init", "task-0"),
            (1, "end", "task-1"),
            (2, "end", "task-2"),
        ):
            own = frame[(frame.seed == seed) & (frame.task == task) & (frame.moment == moment)]
            inputs, _, _ = growing.probe("train", 20, task=task, seed_index=index)
            with torch.no_grad():
                outputs = growing.network(index, name).eval().activations(inputs)
            expected = {
                stage: rank(output.flatten(1).numpy())
                for stage, output in outputs.items()
                if stage != "head"
            }
            expected["all"] = sum(expected.values())
            assert own.set_index("layer").value.to_dict() == pytest.approx(expected, rel=1e-6)
            assert set(own.samples) == {20}
    sizes = frame.drop_duplicates("layer").set_index("layer").units
    assert sizes["all"] == sizes.drop("all").sum()


def test_maps_are_flattened_and_the_head_is_no_feature(shift: RunView) -> None:
    settings = feature_rank.Settings(images=12, moments=("end",), tasks=(2,))
    frame = feature_rank.measure(shift, settings)
    inputs, _, _ = shift.probe("train", 12, task=2, seed_index=0)
    with torch.no_grad():
        outputs = shift.network(0, "task-2").eval().activations(inputs)
    own = frame[frame.seed == SEEDS[0]].set_index("layer")
    assert set(own.index) == {*outputs, "all"} - {"head"}
    stem = outputs["stem"].flatten(1).numpy()
    assert stem.shape[1] == own.units["stem"] > outputs["stem"].shape[1]
    assert own.value["stem"] == pytest.approx(rank(stem), rel=1e-5)


def test_the_last_stage_is_not_that_of_dead_units(shift: RunView) -> None:
    for measure, last in ((feature_rank, "features"), (dead_units, "stage4")):
        settings = measure.Settings(images=12, moments=("end",), tasks=(2,), layers=1)
        assert set(measure.measure(shift, settings).layer) == {last, "all"}


def test_a_diverged_seed_has_no_rows_from_then_on(growing: RunView) -> None:
    ended = diverged(growing, SEEDS[0], 2)
    frame = feature_rank.measure(ended, feature_rank.Settings(images=10))
    after = frame[(frame.task == 2) & (frame.moment == "end")]
    assert set(after.seed) == set(SEEDS[1:])
