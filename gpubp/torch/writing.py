"""PyTorch's modules of a network."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils import skip_init

from ..layers import Layer
from ..network import Network
from .activations import module_of
from .function import as_tensor, check_network

__all__ = ["to_module"]


def to_module(network: Network, *, copy: bool = True) -> nn.Sequential:
    """Make an ``nn.Sequential`` that computes what a network computes.

    Parameters
    ----------
    network : Network
        The network.
    copy : bool, default True
        Whether the modules get copies of the weights. Without copies their parameters are the network's
        memory: PyTorch's optimizers then train the network, until the modules are moved or converted.

    Returns
    -------
    torch.nn.Sequential
        Linear layers, activations, and Dropout after hidden layers that have it, in training mode, in the
        network's dtype and on its device. Operands are not rounded, whatever the network's precision.

    Raises
    ------
    TypeError
        If it is no network.
    ValueError
        If an activation is a custom one.

    See Also
    --------
    from_module : Does the reverse.
    Module : A module that computes with the network itself.

    Examples
    --------
    >>> import gpubp.torch
    >>> network = gpubp.Network((4, 8, 3), hidden="silu", output="softmax", backend="numpy")
    >>> gpubp.torch.to_module(network)
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): SiLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
      (3): Softmax(dim=-1)
    )
    """
    layers = check_network(network).layers
    return nn.Sequential(
        *(module for k, layer in enumerate(layers) for module in _modules(layer, k, copy))
    )


def _modules(layer: Layer, number: int, copy: bool) -> Iterator[nn.Module]:
    activation = module_of(layer.activation, f"layers[{number}]")
    linear = skip_init(nn.Linear, layer.n_in, layer.n_out, bias=layer.biases is not None)
    for name, array in (("weight", layer.weights), ("bias", layer.biases)):
        if array is not None:
            tensor = as_tensor(array)
            setattr(linear, name, nn.Parameter(tensor.clone() if copy else tensor))
    yield linear
    if not layer.activation.is_identity:
        yield activation
    if layer.dropout:
        yield nn.Dropout(layer.dropout)
