"""tf32, bfloat16 and float16: rounded numbers, and verbs that store them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpubp.backends import Backend, Rows
from gpubp.kernels import ACTIVATIONS, PRECISIONS
from gpubp.kernels.typing import Array

NAMES = tuple(PRECISIONS)
HALVES = ("bfloat16", "float16")


def nearest(values: Array, digits: int) -> Array:
    """Round to so many binary digits, ties to even, in float64."""
    fraction, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(fraction, digits)), exponent - digits).astype(np.float32)


def on_backend(backend: Backend, values: Array, name: str) -> Array:
    """Store `values` on the backend as matmul operands of this precision."""
    operands = backend.operands(values.shape, PRECISIONS[name])
    backend.convert(backend.asarray(values), operands)
    backend.round(operands, PRECISIONS[name])
    return operands


def back(backend: Backend, operands: Array) -> Array:
    wide = backend.xp.empty(operands.shape, np.float32)
    backend.convert(operands, wide)
    return backend.to_numpy(wide)


# Numbers


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1,), (7, 3), (4096,), (100, 700)])
def test_operands_hold_the_nearest_numbers(
    backend: Backend, name: str, shape: tuple[int, ...]
) -> None:
    if name == "tf32" and backend.name == "cupy":
        pytest.skip("tensor cores round to tf32 where they multiply")
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * 2.0 ** rng.integers(-16, 13, shape)).astype(np.float32)
    expected = nearest(values, PRECISIONS[name].digits)
    if name == "float16":  # below 2^-14 its numbers are multiples of 2^-24
        subnormal = np.abs(values) < 2.0**-14
        expected[subnormal] = np.rint(values[subnormal] * 2.0**24) / 2.0**24
    np.testing.assert_array_equal(back(backend, on_backend(backend, values, name)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_ties_go_to_even_and_what_is_no_number_stays(backend: Backend, name: str) -> None:
    if name == "tf32" and backend.name == "cupy":
        pytest.skip("tensor cores round to tf32 where they multiply")
    last = 2.0 ** (1 - PRECISIONS[name].digits)
    values = [1 + last / 2, 1 + 3 * last / 2, -1 - last / 2, 0.0, -0.0, np.inf, -np.inf]
    expected = [1, 1 + 2 * last, -1, 0.0, -0.0, np.inf, -np.inf]
    result = back(backend, on_backend(backend, np.array(values, np.float32), name))
    np.testing.assert_array_equal(result, expected)
    assert math.copysign(1, result[4]) == -1
    every_digit = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000], np.uint32)
    nans = back(backend, on_backend(backend, every_digit.view(np.float32), name))
    assert np.isnan(nans).all()


def test_float16_overflows_to_infinity(backend: Backend) -> None:
    values = np.array([65504, 65519, 65520, -70000], np.float32)
    result = back(backend, on_backend(backend, values, "float16"))
    np.testing.assert_array_equal(result, [65504, 65504, np.inf, -np.inf])


# Verbs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True)])
def test_a_matmul_multiplies_rounded_numbers_and_adds_in_float32(
    backend: Backend, name: str, transposes: tuple[bool, bool]
) -> None:
    rng, (transpose_a, transpose_b) = np.random.default_rng(1), transposes
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((6, 40), (40, 9)))
    start = rng.normal(size=(6, 9)).astype(np.float32)
    a_given, b_given = on_backend(backend, a.T if transpose_a else a, name), None
    b_given = on_backend(backend, b.T if transpose_b else b, name)
    out = backend.asarray(start.copy())
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "alpha": 0.5, "beta": 2.0}
    backend.matmul(a_given, b_given, out, **options, precision=PRECISIONS[name])
    digits = PRECISIONS[name].digits
    exact = nearest(a, digits).astype(np.float64) @ nearest(b, digits)
    error = np.abs(backend.to_numpy(out) - (0.5 * exact + 2 * start))
    # Tensor cores may truncate to tf32 instead of rounding; the emulated cuBLAS truncates.
    unit = 2.0 ** (1 - digits) if name == "tf32" and "cupy" in backend.name else 2.0**-23
    assert (error <= 4 * unit * (np.abs(a) @ np.abs(b) + np.abs(start))).all()


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("columns", [5, 16])
def test_verbs_store_operands_rounded(
    backend: Backend, name: str, activation: str, columns: int
) -> None:
    rng, precision = np.random.default_rng(2), PRECISIONS[name]
    z, biases, product = (
        rng.normal(size=s).astype(np.float32) for s in ((6, columns), columns, (6, columns))
    )
    entry = ACTIVATIONS[activation]

    def run(rounded: bool) -> list[Array]:
        def empty() -> Array:
            if rounded:
                return backend.operands((6, columns), precision)
            return backend.xp.empty((6, columns), np.float32)

        z_given, a, delta, x, dropped = backend.asarray(z.copy()), *(empty() for _ in range(4))
        counters, sums = backend.xp.zeros(2, np.int64), backend.xp.zeros(columns, np.float32)
        calls = [
            (a, lambda: backend.bias_activate(entry, z_given, backend.asarray(biases), a)),
            (
                delta,
                lambda: backend.multiply_by_derivative(
                    entry, a if entry.reads == "a" else z_given, backend.asarray(product), delta
                ),
            ),
            (x, lambda: backend.gather(Rows(backend.asarray(z)), "x", counters, 0, x)),
            (dropped, lambda: backend.dropout(a, dropped, counters, 3, 1, 0, 0.25)),
        ]
        for array, call in calls:
            call()
            if rounded:
                backend.round(array, precision)
        backend.column_sums(delta, sums)
        return [back(backend, array) for array, _ in calls] + [backend.to_numpy(sums)]

    *results, sums = run(rounded=True)
    *wide, wide_sums = run(rounded=False)
    unit = precision.unit_roundoff
    for result, plain in zip(results, wide, strict=True):
        np.testing.assert_allclose(result, plain, rtol=6 * unit, atol=6 * unit)
        np.testing.assert_array_equal(result, nearest(result, precision.digits))
    np.testing.assert_allclose(sums, wide_sums, atol=36 * unit)
