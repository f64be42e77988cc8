"""The layers that networks of convolutions share."""

import pytest
import torch
from torch import nn

from forgetting.architectures._layers import ChannelsLast, Pointwise


@pytest.mark.parametrize(("inputs", "stride"), [(3, 1), (4, 2), (7, 2), (8, 2), (12, 1)])
def test_a_pointwise_convolution_is_a_product_at_every_place(inputs: int, stride: int) -> None:
    layer = Pointwise(inputs, 6, stride).double()
    images = torch.randn(5, inputs, 8, 8, dtype=torch.float64)
    found = layer(ChannelsLast()(images))
    places = images[:, :, ::stride, ::stride]
    weight = layer.weight.detach()[:, :, 0, 0]
    torch.testing.assert_close(found, torch.einsum("oi,nihw->nohw", weight, places))
    slope = torch.randn_like(found)
    found.backward(slope)
    expected = torch.einsum("nohw,nihw->oi", slope, places)
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], expected)


@pytest.mark.parametrize("inputs", [3, 7, 8, 16])
def test_few_channels_are_not_innermost_in_memory(inputs: int, monkeypatch) -> None:
    """With fewer than eight oneDNN writes behind the end of the gradient on some CPUs."""
    seen = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, maps: seen.append(maps.stride(1)))
    Pointwise(inputs, 8, 2)(ChannelsLast()(torch.randn(2, inputs, 4, 4)))
    assert (seen == [1]) == (inputs >= 8)
