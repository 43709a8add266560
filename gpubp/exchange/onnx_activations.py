"""The activations as ONNX nodes.

An entry is a function (graph, z, **parameters) -> a. z and a are names of tensors, and `graph.node` adds a
node. ONNX Runtime has LeakyRelu, Elu, Selu, Softplus, HardSigmoid and Erf for float32 alone. In float64 the
formula takes their place, and float32's Erf that of float64's.

Like the kernels, every entry is finite for |z| up to 1e4. Runtimes approximate Sigmoid and Tanh to an
absolute error of some 1e-8, which a factor of -1e4 would make 1e-4. So z σ(z) is z / (1 + exp(-z)), with a
cap on -z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..kernels.activations import exponential_limit
from .onnx_graph import FLOAT, Graph

__all__ = ["ONNX_ACTIVATIONS", "Builder"]

Builder = Callable[..., str]
"""The type of an entry, and of a user's function for a custom activation."""


def _identity(graph: Graph, z: str) -> str:
    return z


def _sigmoid(graph: Graph, z: str) -> str:
    return graph.node("Sigmoid", z)


def _tanh(graph: Graph, z: str) -> str:
    return graph.node("Tanh", z)


def _relu(graph: Graph, z: str) -> str:
    return graph.node("Relu", z)


def _leaky_relu(graph: Graph, z: str, *, slope: float) -> str:
    if not graph.is_double:
        return graph.node("LeakyRelu", z, alpha=slope)
    return graph.node("Max", z, graph.node("Mul", z, graph.constant(slope)))


def _elu(graph: Graph, z: str, *, alpha: float) -> str:
    if not graph.is_double:
        return graph.node("Elu", z, alpha=alpha)
    exponential = graph.node("Exp", graph.node("Min", z, graph.constant(0.0)))
    negative = graph.node("Sub", exponential, graph.constant(1.0))
    scaled = graph.node("Mul", negative, graph.constant(alpha))
    return graph.node("Add", graph.node("Relu", z), scaled)


def _selu(graph: Graph, z: str, *, scale: float, alpha: float) -> str:
    if not graph.is_double:
        return graph.node("Selu", z, alpha=alpha, gamma=scale)
    return graph.node("Mul", _elu(graph, z, alpha=alpha), graph.constant(scale))


def _gelu(graph: Graph, z: str) -> str:
    erf = graph.node("Mul", z, graph.constant(math.sqrt(0.5)))
    if graph.is_double:
        single = graph.node("Cast", erf, to=FLOAT)
        erf = graph.node("Cast", graph.node("Erf", single), to=graph.onnx_type)
    else:
        erf = graph.node("Erf", erf)
    half = graph.node("Mul", z, graph.constant(0.5))
    return graph.node("Mul", half, graph.node("Add", erf, graph.constant(1.0)))


def _exponential(graph: Graph, z: str) -> str:
    limit = exponential_limit(np.empty(0, graph.dtype))
    return graph.node("Exp", graph.node("Min", z, graph.constant(limit)))


def _times_logistic(graph: Graph, z: str, minus_u: str) -> str:
    """Add nodes for z σ(u) = z / (1 + exp(-u))."""
    denominator = graph.node("Add", _exponential(graph, minus_u), graph.constant(1.0))
    return graph.node("Div", z, denominator)


def _gelu_tanh(graph: Graph, z: str) -> str:
    # (1 + tanh(u)) / 2 = σ(2u)
    c = -2 * math.sqrt(2 / math.pi)
    cubic = graph.node("Mul", graph.node("Mul", z, z), graph.constant(0.044715 * c))
    factor = graph.node("Add", cubic, graph.constant(c))
    return _times_logistic(graph, z, graph.node("Mul", z, factor))


def _silu(graph: Graph, z: str) -> str:
    return _times_logistic(graph, z, graph.node("Neg", z))


def _mish(graph: Graph, z: str) -> str:
    # As in the kernels: tanh(softplus(z)) = n / (n + 2) with n = e (e + 2) and e = exp(z).
    e = graph.node("Exp", graph.node("Min", z, graph.constant(30.0)))
    two = graph.constant(2.0)
    n = graph.node("Mul", e, graph.node("Add", e, two))
    return graph.node("Mul", z, graph.node("Div", n, graph.node("Add", n, two)))


def _softplus(graph: Graph, z: str) -> str:
    if not graph.is_double:
        return graph.node("Softplus", z)
    exponential = graph.node("Exp", graph.node("Neg", graph.node("Abs", z)))
    logarithm = graph.node("Log", graph.node("Add", exponential, graph.constant(1.0)))
    return graph.node("Add", graph.node("Relu", z), logarithm)


def _squareplus(graph: Graph, z: str) -> str:
    square = graph.node("Add", graph.node("Mul", z, z), graph.constant(4.0))
    larger = graph.node("Add", graph.node("Sqrt", square), graph.node("Abs", z))
    rest = graph.node("Div", graph.constant(2.0), larger)
    return graph.node("Add", graph.node("Relu", z), rest)


def _sine(graph: Graph, z: str) -> str:
    return graph.node("Sin", z)


def _hard_sigmoid(graph: Graph, z: str) -> str:
    if not graph.is_double:
        return graph.node("HardSigmoid", z, alpha=1 / 6, beta=0.5)
    line = graph.node("Add", graph.node("Mul", z, graph.constant(1 / 6)), graph.constant(0.5))
    return graph.node("Clip", line, graph.constant(0.0), graph.constant(1.0))


def _hard_tanh(graph: Graph, z: str) -> str:
    return graph.node("Clip", z, graph.constant(-1.0), graph.constant(1.0))


def _hard_swish(graph: Graph, z: str) -> str:
    return graph.node("Mul", z, _hard_sigmoid(graph, z))


def _softmax(graph: Graph, z: str) -> str:
    return graph.node("Softmax", z, axis=1)


ONNX_ACTIVATIONS: Mapping[str, Builder] = {
    "identity": _identity,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
    "squareplus": _squareplus,
    "sine": _sine,
    "exponential": _exponential,
    "hard_sigmoid": _hard_sigmoid,
    "hard_tanh": _hard_tanh,
    "hard_swish": _hard_swish,
    "softmax": _softmax,
}
