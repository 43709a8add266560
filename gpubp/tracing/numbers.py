"""The numbers of a trace.

`Network.backprop` computes z, a, δ and the gradients. What it does not return is computed by NumPy twins of
the kernels' tables (σ′, ∂C/∂a, the terms of the cost), and by the NumPy backend's matmul (the error that is
propagated). Nothing here knows a formula.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Rows, get_backend
from ..kernels import OutputHead
from ..kernels.blocks import Scratch
from ..kernels.row_block import RowBlock, Targets
from ..kernels.softmax import softmax_cross_entropy_numpy
from ..kernels.typing import Array
from ..network.results import Backprop

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["cost_terms", "numbers_of"]


def numbers_of(network: Network, x: Array, y: Array, learning_rate: float | None) -> dict[str, Any]:
    """Compute everything that a trace shows.

    Parameters
    ----------
    network : Network
        The network.
    x : NumPy array of shape (1, n_in)
        The inputs.
    y : NumPy array of shape (1,) or (1, n_out)
        The target: a label or a row.
    learning_rate : float or None
        The rate of a gradient descent step; None for no step.

    Returns
    -------
    dict of str
        NumPy arrays of shape (n,) or (n_out, n_in), the costs as float, and None for what does not exist.
    """
    with np.errstate(all="ignore"):  # weights may be anything; inf and nan are shown
        found = network.backprop(x, y)
        values: dict[str, Any] = {"x": found.a[0][0], "y": _targets(network, x, y)}
        values["cost"] = found.cost
        to_numpy = network.backend.to_numpy
        for k, (weights, layer) in enumerate(zip(_operands(network), network.layers, strict=True)):
            weight_gradient, bias_gradient = found.weight_gradients[k], found.bias_gradients[k]
            values |= {
                f"w{k + 1}": weights,
                f"b{k + 1}": None if layer.biases is None else to_numpy(layer.biases).copy(),
                f"z{k + 1}": found.z[k][0],
                f"a{k + 1}": found.a[k + 1][0],
                f"delta{k + 1}": found.deltas[k][0],
                f"weight_gradient{k + 1}": to_numpy(weight_gradient),
                f"bias_gradient{k + 1}": None if bias_gradient is None else to_numpy(bias_gradient),
            }
        values |= _derivatives(network, values)
        values["input_gradient"] = None if found.input_gradient is None else found.input_gradient[0]
        if learning_rate is not None:
            values |= _after_a_step(network, x, y, found, learning_rate)
    return values


def _targets(network: Network, x: Array, y: Array) -> Array:
    """Return the row that the cost compares with the outputs: one-hot, and smoothed, as kernels read it."""
    host, head, n_out = get_backend("numpy"), network.output_head, network.sizes[-1]
    smoothing = head.cost.label_smoothing
    row, labels = np.empty((1, n_out), network.dtype), None
    if y.ndim == 1:
        labels = np.empty(1, np.int64)
    block = RowBlock(Rows(x, y), np.zeros(2, np.int64), 0, 1)
    targets = Targets(block, row, labels, 1 - smoothing, smoothing / n_out)
    weights = np.empty((n_out, network.sizes[-2]), network.dtype)
    host.gather_targets(targets, head, weights, None, True)
    return row[0]


def _operands(network: Network) -> list[Array]:
    """Return the weights that products read, on the host: with a precision, the rounded ones."""
    backend, plain = network.backend, []
    with backend.use():
        problem = network.problem()
        problem.round_weights()
        for k, layer in enumerate(problem.layers):
            plain.append(backend.empty(layer.weights.shape, network.dtype))
            backend.convert(problem.weights(k), plain[-1])
        return [backend.to_numpy(weights).copy() for weights in plain]


def _derivatives(network: Network, values: Mapping[str, Any]) -> dict[str, Any]:
    """Compute σ′ of each layer, ∂C/∂a, and the errors that are propagated to hidden layers."""
    head, depth, host = network.output_head, len(network.layers), get_backend("numpy")
    more: dict[str, Any] = {"cost_derivative": None}
    if not head.is_canonical:
        a, y = values[f"a{depth}"], values["y"]
        more["cost_derivative"] = _twin(head.cost.numpy_derivative, head.cost, a, y)
    for k, layer in enumerate(network.layers, 1):
        sigma = layer.activation
        unused = k == depth and (head.is_canonical or sigma.rowwise)
        v = values[f"{sigma.reads}{k}"]
        more[f"slope{k}"] = None if unused else _twin(sigma.numpy_derivative, sigma, v)
        if k < depth:
            after, weights = values[f"delta{k + 1}"], values[f"w{k + 1}"]
            product = np.empty((1, weights.shape[1]), network.dtype)
            host.matmul(np.ascontiguousarray(after[None]), weights, product)
            more[f"propagated{k}"] = product[0]
    return more


def _twin(function: Callable[..., None] | None, entry: Any, *arrays: Array) -> Array:
    """Call a table entry's twin on vectors."""
    assert function is not None
    out, *scratch = np.empty((3, *arrays[0].shape), arrays[0].dtype)
    function(*arrays, out, tuple(scratch), **entry.parameters)
    return out


def cost_terms(head: OutputHead, z: Array, a: Array, y: Array) -> Array:
    """Compute the term of each output in the cost, as the kernels do.

    Parameters
    ----------
    head : OutputHead
        The output's activation and the cost.
    z, a, y : arrays of shape (n_out,)
        z and a of the output layer, and the target.

    Returns
    -------
    array of shape (n_out,)
        The terms; the cost is their sum.
    """
    with np.errstate(all="ignore"):
        if not head.is_fused:
            function = (head.is_canonical and head.cost.canonical_numpy) or head.cost.numpy
            return _twin(function, head.cost, z, a, y)
        # The fused kernel adds the terms of a row. A row for each term, in which y has only this one, has
        # the term as its cost.
        terms = np.zeros_like(z)
        scale, cost = np.ones(1, z.dtype), np.empty(1, z.dtype)
        for j in np.flatnonzero(y):
            only = np.zeros_like(y)
            only[j] = y[j]
            rows = z[None].copy(), only[None]
            softmax_cross_entropy_numpy(*rows, scale, None, cost, Scratch(z.dtype))()
            terms[j] = cost[0]
        return terms


def _after_a_step(
    network: Network, x: Array, y: Array, found: Backprop, learning_rate: float
) -> dict[str, Any]:
    """Take one step of plain gradient descent on a copy: its weights and biases, and the cost after it."""
    after, rate = copy.deepcopy(network), network.dtype.type(learning_rate)
    with network.backend.use():
        after.parameters[...] = network.parameters - rate * found.gradient
    values: dict[str, Any] = {"new_cost": after.cost(x, y)}
    for k, layer in enumerate(after.layers, 1):
        values[f"new_w{k}"] = after.backend.to_numpy(layer.weights).copy()
        biases = None if layer.biases is None else after.backend.to_numpy(layer.biases).copy()
        values[f"new_b{k}"] = biases
    return values
