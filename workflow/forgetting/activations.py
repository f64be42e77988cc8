"""What a network's stages put out on a probe, as matrices: a row a sample, a column a feature.

How feature maps become a matrix (the *layout*) decides what a number computed from it means, so
every measure says which one it used.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from forgetting.devices import forward_batch
from forgetting.stages import Stages


def arrange(output: Tensor, layout: str) -> Tensor:
    """A stage's output (N, channels, *positions) as a matrix of samples x features.

    Without positions it is that matrix already. Otherwise ``pooled``: the average
    over positions (images x channels); ``flattened``: every position a feature (images x channels
    * positions); ``positions``: every position a sample (images * positions x channels).
    """
    if output.dim() == 2:
        return output
    maps = output.flatten(2)
    if layout == "pooled":
        return maps.mean(2)
    return maps.flatten(1) if layout == "flattened" else maps.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def activation_matrices(
    network: Stages, images: Tensor, *, layout: str, only: Sequence[str] | None = None
) -> Iterator[tuple[str, str, Tensor]]:
    """Every stage's name, layout and activation matrix on the images, in order.

    The layout is ``units`` where a stage has no positions. In eval mode, in batches. ``only``
    leaves out all stages but those.
    """
    network.eval()
    wanted = network.stage_names if only is None else only
    parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
    layouts = {}
    for batch in images.split(forward_batch(images.device)):
        outputs = network.activations(batch)
        for name in wanted:
            layouts[name] = "units" if outputs[name].dim() == 2 else layout
            parts[name].append(arrange(outputs[name], layout))
    for name in wanted:
        yield name, layouts[name], torch.cat(parts.pop(name))
