"""The weights of a network as matrices, one for each layer.

Apart from the networks themselves, so that measuring weights in another way trains nothing anew.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from forgetting.stages import Layer


def weight_matrices(
    network: nn.Module, tensors: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Every layer's weight as a matrix, named after its layer, in order of depth.

    Linear: outputs x inputs. Convolution: outputs x (inputs * kernel rows * kernel columns). A
    recurrent layer: one matrix for each gate (see the layer). Biases and norms are left out.

    Args:
        network: The network that says which tensor is what.
        tensors: Values by state-dict name; default the network's own parameters. Axes in front of
            a parameter's own, such as seeds, are kept in front of the matrix.
    """
    tensors = dict(network.named_parameters()) if tensors is None else tensors
    matrices = {}
    for name, module in network.named_modules():
        layer = name.removeprefix("stages.")
        if isinstance(module, Layer):
            own = {key: tensors[f"{name}.{key}"] for key, _ in module.named_parameters()}
            for part, matrix in module.matrices(own).items():
                matrices[f"{layer}.{part}"] = matrix
        elif isinstance(module, nn.Linear):
            matrices[layer] = tensors[f"{name}.weight"]
        elif isinstance(module, nn.Conv2d):
            matrices[layer] = tensors[f"{name}.weight"].flatten(-3)
        elif any(parameter.dim() > 1 for parameter in module.parameters(recurse=False)):
            raise TypeError(f"no weight matrix is defined for {name} ({type(module).__name__})")
    return matrices
