"""What the tests of exports share: networks, rows, and the distance of outputs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import gpubp
from gpubp.kernels import ACTIVATIONS

DTYPES = ("float32", "float64")
PARAMETERS: dict[str, dict[str, float]] = {
    "leaky_relu": {"slope": 0.3},
    "elu": {"alpha": 2.5},
    "selu": {"scale": 1.3, "alpha": 0.7},
}
"""Parameters other than the defaults, for each activation that has some."""
ACTIVATION_CASES = [
    *((name, {}) for name in ACTIVATIONS),
    *((name, parameters) for name, parameters in PARAMETERS.items()),
]
EDGES = [
    0.0,
    1e-38,
    1e-20,
    1e-3,
    0.1,
    1.0,
    2.9,
    3.0,
    3.1,
    5.0,
    10.0,
    17.0,
    30.0,
    87.0,
    89.0,
    709.0,
    1e4,
]
HIDDEN = [name for name in ACTIVATIONS if name not in ("softmax", "exponential")]


def made(sizes: tuple[int, ...], **options: Any) -> gpubp.Network:
    """Make a network with random biases; an unmatched output and cost give no warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        net = gpubp.Network(sizes, **{"backend": "numpy", "seed": 0, **options})
    rng = np.random.default_rng(1)
    for layer in net.layers:
        if layer.biases is not None:
            layer.biases = rng.normal(size=layer.n_out)
    return net


def only(name: str, parameters: dict[str, float], dtype: str) -> gpubp.Network:
    """Make a network with two inputs, whose outputs are σ of them to the last bit."""
    net = made((2, 2), output=gpubp.get_activation(name, **parameters), dtype=dtype)
    net.layers[0].weights, net.layers[0].biases = np.eye(2), np.zeros(2)
    return net


def edges(dtype: str) -> Any:
    """Rows of two numbers up to 1e4 in magnitude, of both signs."""
    one = np.array([sign * edge for edge in EDGES for sign in (1, -1)], dtype)
    return np.stack([one, np.roll(one, 3)], axis=1)


def drawn(seed: int) -> tuple[gpubp.Network, Any]:
    """Draw a network of one to four layers, and rows for it."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 5))
    sizes = tuple(int(n) for n in rng.integers(1, 40, depth + 1))
    net = made(
        sizes,
        hidden=[str(name) for name in rng.choice(HIDDEN, depth - 1)],
        output=str(rng.choice(list(ACTIVATIONS))),
        dtype=str(rng.choice(DTYPES)),
        biases=[bool(b) for b in rng.integers(0, 2, depth)],
        dropout=[float(rate) for rate in rng.choice([0, 0.5], depth - 1)],
        seed=seed,
    )
    rows = int(rng.choice([1, 2, 33]))
    return net, rng.normal(size=(rows, sizes[0])).astype(net.dtype)


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Compare outputs relative to the largest of their row, or to 1 if that is smaller."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    scale = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)
