"""Dense layers of another library, and the network that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import as_array, to_host
from ..backends import Backend
from ..kernels import Activation, Cost
from ..kernels.messages import shown
from ..layers import assign
from ..network import Network
from ..network.arguments import activation_of_each, check_dtype

__all__ = ["DenseLayer", "network_of", "numbers", "with_activations", "with_output"]

FLOATS = ("float32", "float64")


@dataclass
class DenseLayer:
    """A dense layer.

    Attributes
    ----------
    place : str
        The layer's name in error messages.
    weights : array of shape (n_out, n_in)
        Its weights, on the host.
    biases : array of shape (n_out,), or None
        Its biases, on the host.
    activation : str or Activation or None
        Its activation; None if it has none yet, which is the identity.
    dropout : float or None
        Probability with which training drops an activation; None if nothing says so.
    """

    place: str
    weights: Any
    biases: Any
    activation: str | Activation | None = None
    dropout: float | None = None


def numbers(name: str, values: Any, ndim: int) -> Any:
    """Convert an array of any library to a NumPy array with so many dimensions, or say what is wrong."""
    array = to_host(as_array(name, values))
    if array.ndim != ndim or not array.size:
        expected = "(inputs, outputs)" if ndim == 2 else "(outputs,)"
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    return array


def network_of(
    name: str,
    layers: Sequence[DenseLayer],
    *,
    cost: str | Cost | None,
    dtype: Any,
    backend: str | Backend,
) -> Network:
    """Make a network of layers.

    Parameters
    ----------
    name : str
        The name of what the layers come from, in error messages.
    layers : sequence of DenseLayer
        The layers, of which the last is the output.
    cost, backend
        As in `Network`.
    dtype : str, dtype or None
        As in `Network`; None is the dtype of the weights.

    Returns
    -------
    Network
        The network, with copies of the weights.

    Raises
    ------
    ValueError
        If the layers do not fit each other, or do not make a network.
    """
    if not layers:
        raise ValueError(f"{name} has no dense layer, expected at least one")
    if layers[-1].dropout:
        raise ValueError(f"{name} ends with a Dropout, expected none after the output layer")
    for before, layer in pairwise(layers):
        n_in, n_out = layer.weights.shape[1], before.weights.shape[0]
        if n_in != n_out:
            raise ValueError(
                f"{layer.place} has {n_in} inputs, expected {n_out}, as {before.place} has outputs"
            )
    for layer in layers:
        n_out = layer.weights.shape[0]
        if layer.biases is not None and len(layer.biases) != n_out:
            raise ValueError(
                f"{layer.place} has {len(layer.biases)} biases, expected {n_out}, one for each output"
            )
    network = Network(
        (layers[0].weights.shape[1], *(layer.weights.shape[0] for layer in layers)),
        hidden=[layer.activation or "identity" for layer in layers[:-1]],
        output=layers[-1].activation or "identity",
        cost=cost,
        dtype=_dtype_of(name, layers) if dtype is None else check_dtype(dtype),
        backend=backend,
        biases=[layer.biases is not None for layer in layers],
        dropout=[layer.dropout or 0.0 for layer in layers[:-1]],
        initializer="zeros",
    )
    for made, layer in zip(network.layers, layers, strict=True):
        assign(f"the weights of {layer.place}", made.weights, layer.weights)
        assign(f"the biases of {layer.place}", made.biases, layer.biases)
    return network


def _dtype_of(name: str, layers: Sequence[DenseLayer]) -> np.dtype[Any]:
    """Return the dtype that all arrays have, if a network may have it."""
    arrays = [a for layer in layers for a in (layer.weights, layer.biases) if a is not None]
    found = sorted({str(array.dtype) for array in arrays})
    if len(found) > 1 or found[0] not in FLOATS:
        raise ValueError(
            f"{name} has weights of dtype {' and '.join(found)}, expected float32 or float64;"
            " dtype='float32' converts them"
        )
    dtype: np.dtype[Any] = arrays[0].dtype
    return dtype


def with_output(
    name: str, layers: list[DenseLayer], output: str | Activation | None
) -> list[DenseLayer]:
    """Give the last layer the argument `output`, if what the layers come from has no output activation."""
    if output is not None and layers:
        if layers[-1].activation is not None:
            raise ValueError(
                f"output is {shown(output)}, expected None, because {name} ends with an activation"
            )
        layers[-1].activation = output
    return layers


def with_activations(
    layers: list[DenseLayer],
    hidden: str | Activation | Sequence[str | Activation],
    output: str | Activation,
) -> list[DenseLayer]:
    """Give the layers the activations of arguments that are those of `Network`."""
    if layers:
        activations = activation_of_each(hidden, output, len(layers))
        for layer, activation in zip(layers, activations, strict=True):
            layer.activation = activation
    return layers
