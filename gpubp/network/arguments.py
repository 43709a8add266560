"""Check the arguments of `Network`, and convert them to the network's parts."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels import COSTS, PRECISIONS, Activation, Cost
from ..kernels.messages import shown
from ..registry import get_activation, get_cost, look_up
from ..validation import check_number, check_seed
from .initializers import INITIALIZERS, Initializer, default_initializer

__all__ = [
    "activation_of_each",
    "bias_of_each",
    "check_dtype",
    "check_precision",
    "check_sizes",
    "choose_cost",
    "dropout_of_each",
    "initializer_of_each",
    "is_sequence",
    "random_generator",
]

MOST_PARAMETERS = 2**60
"""The addresses of more float64 parameters do not fit an int64."""


def check_sizes(sizes: Any) -> tuple[int, ...]:
    """Check the layer widths: two or more positive whole numbers."""
    if not is_sequence(sizes):
        raise TypeError(f"sizes is {shown(sizes)}, expected layer widths such as (784, 256, 10)")
    if len(sizes) < 2:
        raise ValueError(f"sizes is {shown(sizes)}, expected an input and at least one layer")
    for size in sizes:
        check_number("each of sizes", size, 1, math.inf, whole=True)
    widths = tuple(int(size) for size in sizes)
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
    if parameters >= MOST_PARAMETERS:
        raise ValueError(
            f"sizes is {shown(widths)}, which makes {parameters} parameters, expected fewer than"
            f" {MOST_PARAMETERS}"
        )
    return widths


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """Convert a name, type or dtype to the dtype float32 or float64."""
    if isinstance(dtype, str | type | np.dtype):
        for known in (np.dtype(np.float32), np.dtype(np.float64)):
            if dtype in (known, known.name, known.type):
                return known
    raise ValueError(f"dtype is {shown(dtype)}, expected 'float32' or 'float64'")


def check_precision(precision: Any, dtype: Any) -> str | None:
    """Return the name of a float32 network's precision, or None."""
    if precision is None:
        return None
    name = look_up("precision", precision, PRECISIONS).name
    if str(dtype) != "float32":
        raise ValueError(f"precision is {shown(precision)}, expected None for dtype {str(dtype)!r}")
    return name


def random_generator(seed: Any) -> np.random.Generator:
    """Return the generator itself, or a new one from this seed; None makes an unpredictable one."""
    if seed is None or isinstance(seed, np.random.Generator):
        return np.random.default_rng(seed)
    check_seed(seed)
    return np.random.default_rng(int(seed))


def activation_of_each(hidden: Any, output: Any, depth: int) -> list[Activation]:
    """Return the activations of `depth` layers; the output layer's is the last."""
    kinds = str, Activation
    given = _for_each("hidden", hidden, depth - 1, "a name or an Activation", kinds)
    activations = [_activation("hidden", activation) for activation in given]
    if isinstance(hidden, str):
        _activation("hidden", hidden)  # check it even without a hidden layer
    for activation in activations:
        if activation.rowwise:
            raise ValueError(f"hidden is {activation.name!r}, which only an output layer can have")
    return [*activations, _activation("output", output)]


def dropout_of_each(dropout: Any, depth: int) -> list[float]:
    """Return the dropout rates of `depth` layers; the output layer's is 0."""
    rates = _for_each("dropout", dropout, depth - 1, "a number", (numbers.Real,))
    for rate in [dropout] if isinstance(dropout, numbers.Real) else rates:
        check_number("dropout", rate, 0, 1)
    return [*map(float, rates), 0.0]


def bias_of_each(biases: Any, depth: int) -> tuple[bool, ...]:
    """Return, for each of `depth` layers, whether it has biases."""
    kinds = bool, np.bool_
    given = _for_each("biases", biases, depth, "True or False", kinds)
    for entry in given:
        if not isinstance(entry, kinds):
            raise TypeError(f"biases holds {shown(entry)}, expected True or False")
    return tuple(bool(entry) for entry in given)


def initializer_of_each(initializer: Any, activations: Sequence[Activation]) -> list[Initializer]:
    """Return the initializer of each layer; None stands for the default of its activation."""
    if callable(initializer):
        initializer = [initializer] * len(activations)
    kinds = str, type(None)
    given = _for_each("initializer", initializer, len(activations), "a name or a function", kinds)
    return [_initializer(*pair) for pair in zip(given, activations, strict=True)]


def choose_cost(cost: str | Cost | None, output: Activation) -> Cost:
    """Return the cost, or for None the canonical partner of the output's activation.

    Warns
    -----
    UserWarning
        If the output's range exceeds the cost's domain.
    """
    if cost is None:
        partners = [entry.name for entry in COSTS.values() if entry.canonical == output.name]
        cost = partners[0] if partners else "quadratic"
    chosen = get_cost(cost)
    low, high = output.output_range
    if low < chosen.domain[0] or high > chosen.domain[1]:
        low, high = chosen.domain
        bounds = f"from {low:g} to {high:g}" if high < math.inf else f"above {low:g}"
        warnings.warn(
            f"cost {chosen.name!r} is defined for outputs {bounds}, but output {output.name!r} gives"
            f" {output.output_range[0]:g} to {output.output_range[1]:g}; outside, the cost is that of"
            " the nearest such output, and its derivative 0",
            UserWarning,
            stacklevel=4,
        )
    return chosen


def _for_each(
    name: str, value: Any, count: int, what: str, single: tuple[type, ...]
) -> Sequence[Any]:
    """Return one value for each of `count` layers: a single value is repeated, a sequence gives each."""
    if isinstance(value, single):
        return [value] * count
    if not is_sequence(value):
        expected = f"{what}, or a sequence of {count}"
        raise TypeError(f"{name} is {shown(value)}, expected {expected}")
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} entries, expected one, or {count}")
    return list(value)


def is_sequence(value: Any) -> bool:
    """Whether `value` has entries in an order: neither text nor a mapping or a set."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _activation(argument: str, activation: Any) -> Activation:
    try:
        return get_activation(activation)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{argument}: {error}") from None


def _initializer(initializer: str | Initializer | None, activation: Activation) -> Initializer:
    if initializer is None:
        initializer = default_initializer(activation)
    if isinstance(initializer, str):
        return look_up("initializer", initializer, INITIALIZERS)
    if not callable(initializer):
        raise TypeError(f"initializer is {shown(initializer)}, expected a name or a callable")
    return initializer
