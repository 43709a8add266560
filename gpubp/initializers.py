"""Initial weights, drawn on the host in float64 so that every backend starts from the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .kernels import Activation

__all__ = ["INITIALIZERS", "Initializer", "default_initializer"]

Initializer = Callable[[np.random.Generator, tuple[int, int]], Any]
"""(rng, (n_out, n_in)) -> weights of that shape."""


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
    # Saxe et al. 2014; the signs make Q uniform over orthogonal matrices (Mezzadri 2007).
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
    """The initializer made for an activation: lecun_normal for selu, glorot_uniform for the
    saturating ones and identity, he_normal for the rest."""
    if activation.name == "selu":
        return "lecun_normal"
    return "glorot_uniform" if activation.name in _SATURATING else "he_normal"
