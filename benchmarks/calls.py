"""The calls that a training step makes to its backend, with the bytes and multiply-adds of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..backends import Backend
from ..kernels.columns import Columns
from ..kernels.typing import Array

__all__ = ["VERBS", "Asked", "watch"]

LAYER_VERBS = ("layer_forward", "layer_backward", "layer_gradients")
MADE_OF_OTHERS = (*LAYER_VERBS, "update_with")
VERBS = (
    "gather", "one_hot", "normalize", *LAYER_VERBS, "matmul", "bias_activate", "dropout",
    "output_delta", "multiply_by_derivative", "column_sums", "weighted_sum", "add", "convert", "round",
    "multiply", "adapt_loss_scale", "update_with", "update", "advance",
)  # fmt: skip

Arrays = Sequence[Array]


class Asked(NamedTuple):
    """One call of a backend's verb, as the engine made it.

    Attributes
    ----------
    verb : str
        The method of the backend.
    call : callable
        A function that repeats the call on the same arrays.
    read, written : int
        Bytes of the arrays that the call reads and writes.
    work : int
        Multiply-adds of its matmul; 0 without one.
    shape : str
        The shape of the matmul, or of the largest array.
    matmul : callable or None
        A function that repeats the matmul alone; None without one.
    """

    verb: str
    call: Callable[[], None]
    read: int
    written: int
    work: int
    shape: str
    matmul: Callable[[], None] | None

    @property
    def moved(self) -> int:
        """The bytes that the call reads and writes."""
        return self.read + self.written


Access = tuple[Arrays, Arrays]
ACCESSES: dict[str, Callable[..., Access]] = {
    "gather": lambda rows, field, counters, first, out, scale=1, shift=0: (
        [counters, getattr(rows, field)[: len(out)], *_order(rows, out)],
        [out],
    ),
    "one_hot": lambda labels, out, low, high: ([labels], [out]),
    "normalize": lambda weights: ([weights], [weights]),
    "matmul": lambda a, b, out, *, beta=0, **_: ([a, b, *([out] if beta else [])], [out]),
    "layer_forward": lambda activation, x, weights, biases, z, a, precision=None, keep_z=True: (
        [x, weights, biases],
        [z, a] if keep_z else [a],
    ),
    "layer_backward": lambda activation, delta, weights, v, product, out, precision=None: (
        [delta, weights, v],
        [out],
    ),
    "layer_gradients": lambda delta, a, weights, biases, beta, precision=None: (
        [delta, a, *([weights, biases] if beta else [])],
        [weights, biases],
    ),
    "bias_activate": lambda activation, z, biases, a, keep_z=True: (
        [z, biases], [z, a] if keep_z else [a]
    ),
    "dropout": lambda x, out, counters, *_: ([x, counters], [out]),
    "output_delta": lambda head, z, a, y, scale, delta, costs: (
        [z, y, scale] if head.is_fused else [z, a, y, scale],
        [delta, costs],
    ),
    "multiply_by_derivative": lambda activation, v, product, delta: ([v, product], [delta]),
    "column_sums": lambda values, out, beta=0: ([values, *([out] if beta else [])], [out]),
    "weighted_sum": lambda values, weights, out, counters=None: (
        [values, weights, out[:1], counters],
        [out[:1]],
    ),
    "add": lambda values, out: ([values, out], [out]),
    "convert": lambda values, out: ([values], [out]),
    "round": lambda values, precision: ([values], [values]),
    "multiply": lambda values, factor, out: ([values, factor], [out]),
    "adapt_loss_scale": lambda loss_scale, squared_norm: ([loss_scale, squared_norm], [loss_scale]),
    "update": lambda rule, parameters, step, shard_gradients=(): (
        [parameters.theta, parameters.gradient, *parameters.state, *shard_gradients,
         step.rates[:1], step.counters, step.squared_norm],
        [parameters.theta, *parameters.state, *([parameters.gradient] if shard_gradients else [])],
    ),
    "advance": lambda counters: ([counters], [counters]),
    "update_with": lambda rule, parameters, step, shard_gradients=(), *, rounded=None, **_: (
        [parameters.theta, parameters.gradient, *parameters.state, step.rates[:1], step.counters],
        [parameters.theta, *parameters.state, rounded, step.counters],
    ),
}  # fmt: skip
"""For each verb, a function of its arguments that returns the arrays it reads and the arrays it writes.

The arguments have the names of backends/base.py. An array that is read twice counts once."""


def watch(backend: Backend) -> tuple[Backend, list[Asked]]:
    """Make a copy of a backend that notes its calls.

    Parameters
    ----------
    backend : Backend
        The backend to copy; it is not changed.

    Returns
    -------
    watched : Backend
        A copy that computes as `backend` does, but captures no steps and runs shards one after another.
    asked : list of Asked
        The calls so far; the list grows with each call.
    """
    watched: Any = object.__new__(type(backend))  # a copy of a backend would be the backend itself
    vars(watched).update(vars(backend))
    asked: list[Asked] = []

    def noting(verb: str) -> Callable[..., None]:
        original = getattr(backend, verb)

        def run(*arguments: Any, **options: Any) -> None:
            before = len(asked)
            if verb in MADE_OF_OTHERS:
                # If it calls other verbs, those calls are noted instead of this one.
                getattr(type(backend), verb)(watched, *arguments, **options)
            else:
                original(*arguments, **options)
            if len(asked) > before or (verb == "round" and backend.name.startswith("cupy")):
                return  # round does nothing on CUDA, where narrow operands are rounded when stored
            read, written = map(bytes_of, ACCESSES[verb](*arguments, **options))
            call, bare = partial(original, *arguments, **options), None
            work, shape = 0, largest_shape(arguments)
            if verb == "matmul" or verb in LAYER_VERBS:
                operands, turned = product_of(verb, arguments, options)
                a, _, out = operands
                bare = partial(backend.matmul, *map(by_rows, operands), **turned)
                work = math.prod(a.shape) * out.shape[1]
                marks = {"transpose_a": " aᵀ", "transpose_b": " bᵀ"}
                shape = f"{len(out)}x{math.prod(a.shape) // len(out)}x{out.shape[1]}"
                shape += "".join(mark for name, mark in marks.items() if turned.get(name))
            asked.append(Asked(verb, call, read, written, work, shape, bare))

        return run

    for verb in VERBS:
        setattr(watched, verb, noting(verb))
    watched.capture = lambda step: step
    watched.run_shards = lambda functions: [function() for function in functions]
    return watched, asked


def bytes_of(arrays: Arrays) -> int:
    """Add up the bytes of the arrays, each array once."""
    return sum({id(a): a.nbytes for a in arrays if a is not None}.values())


def product_of(
    verb: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Arrays, dict[str, Any]]:
    """Find the matmul within a call: its a, b and out, and its options."""
    if verb == "matmul":
        return arguments[:3], options
    if verb == "layer_forward":
        _, x, weights, _, z, _, *precision = arguments
        operands, turned = (x, weights, z), {"transpose_b": True}
    elif verb == "layer_backward":
        _, delta, weights, _, product, _, *precision = arguments
        operands, turned = (delta, weights, product), {}
    else:
        delta, a, weights, _, _, *precision = arguments
        operands, turned = (delta, a, weights), {"transpose_a": True}
    return operands, {**turned, **options, **dict(zip(["precision"], precision, strict=False))}


def by_rows(array: Array | Columns) -> Array:
    """Return an array of the same shape for a matrix that lies column by column: BLAS takes only rows."""
    return np.ones(array.shape, array.dtype) if isinstance(array, Columns) else array


def largest_shape(arguments: tuple[Any, ...]) -> str:
    """Show the shape of the largest array among the arguments."""
    flat = [a for given in arguments for a in (given if isinstance(given, tuple) else [given])]
    arrays = [a for a in flat if hasattr(a, "shape")]
    return "x".join(map(str, max((a.shape for a in arrays), key=math.prod)))


def _order(rows: Any, out: Array) -> list[Array]:
    return [] if rows.order is None else [rows.order[: len(out)]]
