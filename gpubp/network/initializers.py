"""Initial weights. They are drawn on the host in float64, so every backend starts with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import as_array
from ..backends import get_backend
from ..data_validation import check_finite, check_fits
from ..kernels import Activation
from ..layers import Layout
from ..memory import allocated

__all__ = ["INITIALIZERS", "Initializer", "default_initializer", "initial_parameters"]

Initializer = Callable[[np.random.Generator, tuple[int, int]], Any]
"""A function (rng, (n_out, n_in)) -> weights of that shape."""


def _normal(variance: Callable[[int, int], float]) -> Initializer:
    def initialize(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        n_out, n_in = shape
        return rng.normal(0.0, variance(n_in, n_out) ** 0.5, shape)

    return initialize


def _uniform(variance: Callable[[int, int], float]) -> Initializer:
    def initialize(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        n_out, n_in = shape
        bound = (3 * variance(n_in, n_out)) ** 0.5
        return rng.uniform(-bound, bound, shape)

    return initialize


def _he(n_in: int, n_out: int) -> float:
    return 2 / n_in


def _glorot(n_in: int, n_out: int) -> float:
    return 2 / (n_in + n_out)


def _lecun(n_in: int, n_out: int) -> float:
    return 1 / n_in


def _orthogonal(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    # Saxe et al. 2014. The signs make Q uniformly distributed over orthogonal matrices (Mezzadri 2007).
    n_out, n_in = shape
    q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    q = q * np.sign(np.diagonal(r))
    return q if n_out >= n_in else q.T


def _zeros(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return np.zeros(shape)


INITIALIZERS: Mapping[str, Initializer] = {
    "he_normal": _normal(_he),  # He et al. 2015
    "he_uniform": _uniform(_he),
    "glorot_normal": _normal(_glorot),  # Glorot and Bengio 2010
    "glorot_uniform": _uniform(_glorot),
    "lecun_normal": _normal(_lecun),  # LeCun et al. 1998
    "lecun_uniform": _uniform(_lecun),
    "orthogonal": _orthogonal,
    "zeros": _zeros,
}

_SATURATING = {"sigmoid", "tanh", "softmax", "identity", "hard_sigmoid", "hard_tanh", "sine"}


def default_initializer(activation: Activation) -> str:
    """Return the name of an activation's default initializer.

    It is lecun_normal for selu, glorot_uniform for identity and for activations that saturate, and
    he_normal for all others.
    """
    if activation.name == "selu":
        return "lecun_normal"
    return "glorot_uniform" if activation.name in _SATURATING else "he_normal"


def initial_parameters(
    layout: Layout,
    initializers: Sequence[Initializer],
    rng: np.random.Generator,
    dtype: np.dtype[Any],
) -> Any:
    """Draw the weights of each layer in turn; biases are 0.

    Parameters
    ----------
    layout : Layout
        The places of the parameters in the flat array.
    initializers : sequence of Initializer
        One initializer for each layer except the input.
    rng : numpy.random.Generator
        The generator that the initializers draw from.
    dtype : dtype
        The dtype of the parameters.

    Returns
    -------
    numpy.ndarray of shape (layout.size,)
        The parameters.

    Raises
    ------
    ValueError
        If an initializer returns a wrong shape, or numbers that are not finite or too large for `dtype`.
    MemoryError
        If the parameters have no room in memory.
    """
    largest = max(n * m for n, m in pairwise(layout.sizes))
    return allocated(
        lambda: _drawn(layout, initializers, rng, dtype),
        f"a network of sizes {layout.sizes}",
        layout.size * dtype.itemsize + largest * np.dtype(np.float64).itemsize,
        get_backend("numpy"),
    )


def _drawn(
    layout: Layout,
    initializers: Sequence[Initializer],
    rng: np.random.Generator,
    dtype: np.dtype[Any],
) -> Any:
    values = np.zeros(layout.size, dtype)
    for (weights, _), initialize in zip(layout.views(values), initializers, strict=True):
        drawn = as_array("what initializer gave", initialize(rng, weights.shape))
        if drawn.shape != weights.shape:
            raise ValueError(
                f"initializer gave shape {drawn.shape}, expected {weights.shape} (n_out, n_in)"
            )
        check_finite("what initializer gave", drawn)
        check_fits("what initializer gave", drawn, dtype)
        weights[...] = drawn
    return values
