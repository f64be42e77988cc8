"""Layers without parameters that the networks of convolutions share."""

from torch import Tensor, nn


class ChannelsLast(nn.Module):
    """The same images with the channels innermost in memory, which the layers behind keep.

    On a CPU this makes training a resnet18 1.3 times as fast (width 16, one thread). It is written
    as a permutation because vmap knows that one; the parameters keep their plain layout.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), unchanged but for their strides."""
        if images.device.type != "cpu":
            return images
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A convolution of 1x1 without bias, safe on every CPU.

    With channels innermost and fewer than eight of them oneDNN's kernel for CPUs with AVX2 and no
    AVX-512 (``jit_avx2_1x1_convolution_bwd_weights``, as in PyTorch 2.12) writes behind the end of
    the weights' gradient: training of narrow networks ended in "double free or corruption".
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return super().forward(input.contiguous() if self.in_channels < 8 else input)


class GlobalAverage(nn.Module):
    """The mean over positions: (N, channels, H, W) to (N, channels)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average the positions away."""
        return maps.mean((2, 3))
