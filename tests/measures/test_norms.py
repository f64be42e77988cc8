"""Norms of weights and gradients against the tensors themselves."""

import numpy as np
import pytest
import torch

from forgetting.measures import norms
from forgetting.runs import RunView
from two_task_runs import SEEDS, diverged


def test_every_layer_at_every_moment(growing: RunView) -> None:
    frame = norms.measure(growing, norms.Settings(images=20, batch_size=7))
    assert list(frame.columns) == list(norms.COLUMNS)
    looked_at = ((1, "init", "task-0"), (1, "end", "task-1"), (2, "init", "task-1"))
    for index, seed in enumerate(SEEDS):
        for task, moment, name in looked_at:
            own = frame[(frame.seed == seed) & (frame.task == task) & (frame.moment == moment)]
            network = growing.network(index, name).requires_grad_(True)
            inputs, targets, _ = growing.probe("train", 20, task=task, seed_index=index)
            outputs = growing.benchmark.outputs_until(task)[index]
            logits = network(inputs).masked_fill(~outputs, -torch.inf)
            torch.nn.functional.cross_entropy(logits, targets).backward()
            tensors = dict(network.named_parameters())
            layers = {
                "hidden1.linear": [tensors["stages.hidden1.linear.weight"]],
                "hidden2.linear": [tensors["stages.hidden2.linear.weight"]],
                "head": [tensors["stages.head.weight"]],
                "all": list(tensors.values()),
            }
            for layer, parameters in layers.items():
                weights, slopes = (
                    np.concatenate([t.detach().numpy().ravel() for t in each])
                    for each in (parameters, [p.grad for p in parameters])
                )
                rows = own[own.layer == layer].set_index("statistic")
                expected = {
                    "weight_norm": np.sqrt((weights**2).sum()),
                    "weight_mean_magnitude": np.abs(weights).mean(),
                    "gradient_norm": np.sqrt((slopes**2).sum()),
                }
                assert rows.value.to_dict() == pytest.approx(expected, rel=1e-10)
                assert set(rows.parameters) == {weights.size}
                assert rows.split.to_dict() == {
                    **dict.fromkeys(expected, ""),
                    "gradient_norm": "train",
                }
                assert rows.samples["gradient_norm"] == 20


def test_a_run_with_convolutions(shift: RunView) -> None:
    given = norms.Settings(images=10, splits=("held_out",), tasks=(2,), seeds=1)
    frame = norms.measure(diverged(shift, SEEDS[0], 2), given)
    assert set(frame.moment) == {"init"}
    kernel = shift.network(0, "task-1").get_parameter("stages.stem.conv.weight")
    row = frame[(frame.layer == "stem.conv") & (frame.statistic == "weight_norm")]
    assert row.value.item() == pytest.approx(float(kernel.norm()))
    assert (frame[frame.statistic == "gradient_norm"].split == "held_out").all()
    assert frame.value.notna().all()
