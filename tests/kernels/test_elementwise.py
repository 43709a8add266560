"""The elementwise form of three kernels beside their form by rows: the same numbers, from the same text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from activation_formulas import FORMULAS
from twins import ELEMENTWISE, on, on_both_forms

from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, COSTS, PRECISIONS, OutputHead
from gpubp.kernels.typing import Array

SHAPE = (37, 5)
SPECIAL = [0.0, -0.0, 1e-30, 1e-5, -1e-5, 1, -1, 20, -20, 87, -87, 1e4, -1e4, np.nan, np.inf]


def same(cuda_backend: Backend, run: Callable[[Backend], tuple[Array, ...]]) -> None:
    """Run a function on both forms, and compare the arrays that it returns, NaNs and infinities too.

    A compiler may choose another product to fuse with an addition, so one form may round once more.
    """
    rows, elementwise = (
        [backend.to_numpy(array) for array in run(backend)]
        for backend in on_both_forms(cuda_backend)
    )
    for expected, actual in zip(rows, elementwise, strict=True):
        assert actual.dtype == expected.dtype
        if expected.dtype.kind == "u":  # the bits of bfloat16
            np.testing.assert_allclose(actual.astype(int), expected.astype(int), rtol=0, atol=1)
        else:
            eps, tiny = np.finfo(expected.dtype).eps, np.finfo(expected.dtype).tiny
            np.testing.assert_allclose(actual, expected, rtol=2 * eps, atol=tiny)


def numbers(seed: int, *shape: int, dtype: str) -> Array:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(dtype)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_both_forms_compute_every_activation(cuda_backend: Backend, name: str, dtype: str) -> None:
    activation, (function, _) = ACTIVATIONS[name], FORMULAS[name]
    z, biases, product = (numbers(k, *SHAPE, dtype=dtype) for k in range(3))
    z.flat[: len(SPECIAL)] = SPECIAL
    biases = biases[0]
    with np.errstate(all="ignore"):
        v = z if activation.reads == "z" else function(z.astype(np.float64)).astype(dtype)

    def run(backend: Backend) -> tuple[Array, ...]:
        in_place, kept, left = (on(backend, z) for _ in range(3))
        a, other = on(backend, np.zeros_like(z)), on(backend, np.zeros_like(z))
        where = on(backend, biases)
        backend.bias_activate(activation, in_place, where, in_place)
        backend.bias_activate(activation, kept, where, a)
        backend.bias_activate(activation, left, where, other, keep_z=False)
        np.testing.assert_array_equal(backend.to_numpy(kept), z + biases)
        np.testing.assert_array_equal(backend.to_numpy(left), z)
        delta, changed = on(backend, np.zeros_like(z)), on(backend, product)
        backend.multiply_by_derivative(activation, on(backend, v), changed, changed)
        backend.multiply_by_derivative(activation, on(backend, v), on(backend, product), delta)
        return in_place, a, other, changed, delta

    same(cuda_backend, run)


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (300, 1), (300, 3), (7, 260)])
@pytest.mark.parametrize("first", [0, 1])
def test_both_forms_take_any_shape_and_alignment_and_no_biases(
    cuda_backend: Backend, shape: tuple[int, int], first: int, dtype: str
) -> None:
    flat = numbers(0, first + shape[0] * shape[1], dtype=dtype)
    biases, scale = numbers(1, shape[1], dtype=dtype), numbers(2, shape[0], dtype=dtype)
    head = OutputHead(ACTIVATIONS["relu"], COSTS["quadratic"])

    def run(backend: Backend) -> tuple[Array, ...]:
        memory, without = on(backend, flat), on(backend, flat)
        z, other = memory[first:].reshape(shape), without[first:].reshape(shape)
        backend.bias_activate(ACTIVATIONS["relu"], z, on(backend, biases), z)
        backend.bias_activate(ACTIVATIONS["relu"], other, None, other)
        delta = on(backend, np.zeros(shape, dtype))
        backend.output_delta(head, z, z, other, on(backend, scale), delta, None)
        return memory, without, delta

    same(cuda_backend, run)


@pytest.mark.parametrize("output", ["gelu", "tanh", "softmax", "canonical"])
@pytest.mark.parametrize("name", COSTS)
def test_both_forms_compute_every_output_delta(
    cuda_backend: Backend, name: str, output: str, dtype: str
) -> None:
    output = COSTS[name].canonical or "identity" if output == "canonical" else output
    z, a, y = (numbers(k, *SHAPE, dtype=dtype) for k in range(3))
    a, y, scale = np.abs(a) / 8, np.abs(y) / 8, numbers(3, SHAPE[0], dtype=dtype)
    z.flat[: len(SPECIAL)] = a.flat[-len(SPECIAL) :] = SPECIAL

    def run(backend: Backend) -> tuple[Array]:
        delta = on(backend, np.zeros_like(z))
        arrays = (on(backend, array) for array in (z, a, y, scale))
        backend.output_delta(OutputHead(ACTIVATIONS[output], COSTS[name]), *arrays, delta, None)
        return (delta,)

    same(cuda_backend, run)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["identity", "relu", "tanh", "gelu"])
def test_both_forms_read_and_write_rounded_operands(
    cuda_backend: Backend, name: str, precision: str
) -> None:
    activation, storage = ACTIVATIONS[name], PRECISIONS[precision]
    z, product = numbers(0, *SHAPE, dtype="float32"), numbers(1, *SHAPE, dtype="float32")
    z.flat[: len(SPECIAL)] = SPECIAL

    def run(backend: Backend) -> tuple[Array, ...]:
        a, other, delta, rounded = (backend.operands(SHAPE, storage) for _ in range(4))
        v, biases = on(backend, z), on(backend, product[0])
        backend.bias_activate(activation, v, biases, a)
        backend.bias_activate(activation, v, None, other, keep_z=False)
        backend.multiply_by_derivative(activation, v, on(backend, product), delta)
        backend.multiply_by_derivative(activation, a, delta, rounded)
        return v, a, other, delta, rounded

    same(cuda_backend, run)
