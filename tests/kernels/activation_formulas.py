"""Each activation and its derivative in float64, written from its definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from gpubp.kernels.typing import Array

erfc, expit, exp = special.erfc, special.expit, np.exp


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def density(z: Array) -> Array:
    return exp(-z * z / 2) / math.sqrt(2 * math.pi)


def distribution(z: Array) -> Array:
    return erfc(-z / math.sqrt(2)) / 2


def elu(z: Array, alpha: float) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_slope(z: Array, alpha: float) -> Array:
    return np.where(z > 0, 1, alpha * exp(np.minimum(z, 0)))


def tanh_slope(t: Array) -> Array:
    return np.cosh(np.minimum(np.abs(t), 300)) ** -2.0


def gelu_argument(z: Array) -> Array:
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


def gelu_tanh_slope(z: Array) -> Array:
    u = gelu_argument(z)
    inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
    return (1 + np.tanh(u)) / 2 + z / 2 * tanh_slope(u) * inner


def log1p_exp(z: Array) -> Array:
    return np.logaddexp(0, z)


def mish_slope(z: Array) -> Array:
    s = log1p_exp(z)
    return np.tanh(s) + z * expit(z) * tanh_slope(s)


def squareplus(z: Array) -> Array:
    root = np.hypot(z, 2)
    return np.where(z > 0, (z + root) / 2, 2 / (root + np.abs(z)))


def hard(z: Array) -> Array:
    return np.clip(z / 6 + 0.5, 0, 1)


def hard_swish_slope(z: Array) -> Array:
    return np.select([z <= -3, z >= 3], [0.0, 1.0], z / 3 + 0.5)


FORMULAS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, tanh_slope),
    "relu": (lambda z: np.where(z > 0, z, 0), lambda z: np.where(z > 0, 1, 0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "elu": (lambda z: elu(z, 1), lambda z: elu_slope(z, 1)),
    "selu": (
        lambda z: SELU_SCALE * elu(z, SELU_ALPHA),
        lambda z: SELU_SCALE * elu_slope(z, SELU_ALPHA),
    ),
    "gelu": (lambda z: z * distribution(z), lambda z: distribution(z) + z * density(z)),
    "gelu_tanh": (lambda z: z / 2 * (1 + np.tanh(gelu_argument(z))), gelu_tanh_slope),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
    "mish": (lambda z: z * np.tanh(log1p_exp(z)), mish_slope),
    "softplus": (log1p_exp, expit),
    "squareplus": (squareplus, lambda z: squareplus(z) / np.hypot(z, 2)),
    "sine": (np.sin, np.cos),
    "exponential": (exp, exp),
    "hard_sigmoid": (hard, lambda z: np.where(np.abs(z) < 3, 1 / 6, 0)),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: np.where(np.abs(z) < 1, 1, 0)),
    "hard_swish": (lambda z: z * hard(z), hard_swish_slope),
}
