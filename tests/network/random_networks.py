"""What tests share: networks with random biases, their targets, one step, the distance of gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import gpubp
from gpubp.backends import Rows
from gpubp.backprop import backpropagate
from gpubp.kernels import ACTIVATIONS, Cost
from gpubp.kernels.typing import Array
from gpubp.workspace import Workspace

ELEMENTWISE = [name for name, activation in ACTIVATIONS.items() if not activation.rowwise]


def network(sizes: tuple[int, ...], **options: Any) -> gpubp.Network:
    """Make a float64 network with nonzero biases; an unmatched output and cost give no warning."""
    options = {"hidden": "tanh", "dtype": "float64", "backend": "numpy", "seed": 0} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        net = gpubp.Network(sizes, **options)
    rng = np.random.default_rng(100)
    for layer in net.layers:
        if layer.biases is not None:
            drawn = rng.normal(0, 0.3, layer.n_out).astype(net.dtype)
            layer.biases[...] = net.backend.asarray(drawn)
    return net


def host(net: gpubp.Network, array: Array) -> Array:
    return net.backend.to_numpy(array)


def relative_error(actual: Array, expected: Array) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def targets_for(cost: Cost, shape: tuple[int, int]) -> Array:
    """Draw targets. For costs with kinks they are far from the outputs, which are near 1/2."""
    rng = np.random.default_rng(4)
    if cost.targets == "class":
        return rng.dirichlet(np.ones(shape[1]), shape[0])
    if cost.targets == "unit":
        return rng.uniform(size=shape)
    if cost.targets == "nonnegative":
        return rng.integers(4, size=shape)
    return rng.choice([-2.0, 0.1, 0.9, 3.0], size=shape)


def run_step(
    net: gpubp.Network,
    x: Array,
    y: Array,
    *,
    limit: int | None = None,
    gradient: Array | None = None,
    dropout_seed: int | None = None,
) -> tuple[float, Array]:
    """Run a training step without its update; return cost and gradient, added to `gradient` if given."""
    backend = net.backend
    problem = net.problem(dropout_seed=dropout_seed)
    workspace = Workspace(problem, len(x), "train", labels=y.ndim == 1, limit=limit)
    flats = [backend.asarray(np.full(net.layout.size, np.nan, net.dtype)) for _ in workspace.shards]
    if gradient is not None:
        flats[0][...] = gradient
    costs = backend.zeros((len(flats), 1), np.float64)
    rows = Rows(backend.asarray(x), backend.asarray(y))
    views = [net.layout.views(flat) for flat in flats]
    beta = 0.0 if gradient is None else 1.0
    backpropagate(problem, workspace, rows, views, beta, costs)
    return float(host(net, costs).sum()), sum(host(net, flat) for flat in flats)
