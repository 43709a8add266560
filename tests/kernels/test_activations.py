"""Activations: CUDA text, compiled text and NumPy twin against float64 formulas."""

from __future__ import annotations

import numpy as np
import pytest
from activation_formulas import FORMULAS, exp
from twins import ELEMENTWISE, MANY_ROWS, both, close, on

from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS
from gpubp.kernels.typing import Array

pytestmark = pytest.mark.usefixtures("short_blocks")


def inputs(name: str, dtype: str) -> Array:
    """Make ordinary, extreme and special values of z, more than a block of a twin holds."""
    tiny = float(np.finfo(dtype).tiny)
    special_values = [0.0, -0.0, tiny, -tiny, 1e-30, 1e-5, -1e-5, 1, -1, 2.9, -2.9, 4, -4]
    special_values += [20, -20, 21, -21, 87, -87, 100, -100, 1e3, -1e3, 1e4, -1e4]
    z = np.random.default_rng(0).normal(0, 4, (MANY_ROWS, 5))
    z.flat[: len(special_values)] = special_values
    z = z.astype(dtype)
    if name == "exponential":  # larger z are capped: see test_exponential_is_capped
        z = np.minimum(z, 80)
    return z


def test_every_activation_has_a_formula_here() -> None:
    assert set(FORMULAS) == set(ELEMENTWISE)


@pytest.mark.parametrize("columns", [1, 3, 4, 8, 20, 100, 260])
@pytest.mark.parametrize("first", [0, 1])
def test_bias_and_activation_of_any_width_and_alignment(
    cuda_backend: Backend, columns: int, first: int, dtype: str
) -> None:
    rng = np.random.default_rng(columns)
    flat, biases = rng.normal(size=first + 300 * columns).astype(dtype), rng.normal(size=columns)
    biases = biases.astype(dtype)
    shifted = flat[first:].reshape(300, columns) + biases
    for backend in both(cuda_backend):
        memory = on(backend, flat)
        z, a = memory[first:].reshape(300, columns), on(backend, np.zeros((300, columns), dtype))
        backend.bias_activate(ACTIVATIONS["relu"], z, on(backend, biases), a)
        np.testing.assert_array_equal(backend.to_numpy(z), shifted)
        np.testing.assert_array_equal(backend.to_numpy(a), np.maximum(shifted, 0))
        np.testing.assert_array_equal(backend.to_numpy(memory[:first]), flat[:first])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activation_is_its_formula(cuda_backend: Backend, name: str, dtype: str) -> None:
    z = inputs(name, dtype)
    biases = np.random.default_rng(1).normal(size=5).astype(dtype)
    for b in (None, biases):
        shifted = z if b is None else z + b
        expected = FORMULAS[name][0](shifted.astype(np.float64))
        for backend in both(cuda_backend):
            where = None if b is None else on(backend, b)
            in_place, kept, a = on(backend, z), on(backend, z), on(backend, np.zeros_like(z))
            backend.bias_activate(ACTIVATIONS[name], in_place, where, in_place)
            backend.bias_activate(ACTIVATIONS[name], kept, where, a)
            close(backend.to_numpy(in_place), expected, dtype)
            # A compiler may reorder a product. That changes the digits of denormal results.
            np.testing.assert_allclose(
                backend.to_numpy(a),
                backend.to_numpy(in_place),
                rtol=2 * np.finfo(dtype).eps,
                atol=np.finfo(dtype).tiny,
            )
            np.testing.assert_array_equal(backend.to_numpy(kept), shifted)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative_is_its_formula(cuda_backend: Backend, name: str, dtype: str) -> None:
    z = inputs(name, dtype)
    function, slope = FORMULAS[name]
    wide = z.astype(np.float64)
    v = function(wide).astype(dtype) if ACTIVATIONS[name].reads == "a" else z
    delta = np.random.default_rng(2).uniform(0.5, 1, z.shape).astype(dtype)
    for backend in both(cuda_backend):
        result = on(backend, delta)
        backend.multiply_by_derivative(ACTIVATIONS[name], on(backend, v), result, result)
        close(backend.to_numpy(result), delta * slope(wide), dtype)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if ACTIVATIONS[n].parameters])
def test_parameters_reach_both_twins(cuda_backend: Backend, name: str) -> None:
    z = inputs(name, "float64")
    z *= 10  # a product with 0.3 is then not denormal: compiled kernels would take it to be 0
    changed = ACTIVATIONS[name].with_parameters(**dict.fromkeys(ACTIVATIONS[name].parameters, 0.3))
    below, slope = 0.3 * z, np.full_like(z, 0.3)
    if name != "leaky_relu":
        below, slope = 0.3 * np.expm1(np.minimum(z, 0)), 0.3 * exp(np.minimum(z, 0))
    factor = 0.3 if name == "selu" else 1
    for backend in both(cuda_backend):
        a, delta = on(backend, z), on(backend, np.ones_like(z))
        backend.bias_activate(changed, a, None, a)
        close(backend.to_numpy(a), factor * np.where(z > 0, z, below), "float64")
        backend.multiply_by_derivative(changed, a, delta, delta)
        close(backend.to_numpy(delta), factor * np.where(z > 0, 1, slope), "float64")


def test_exponential_is_capped_where_it_would_overflow(cuda_backend: Backend, dtype: str) -> None:
    limit = 87 if dtype == "float32" else 708
    for backend in both(cuda_backend):
        a = on(backend, [[limit - 1, limit, limit + 1, 1e4]], dtype)
        backend.bias_activate(ACTIVATIONS["exponential"], a, None, a)
        close(backend.to_numpy(a), exp([[limit - 1.0, limit, limit, limit]]), dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan_so_that_a_diverged_network_shows(cuda_backend: Backend, name: str) -> None:
    for backend in both(cuda_backend):
        z = on(backend, [[1.0, np.nan], [1.0, 2.0]])
        backend.bias_activate(ACTIVATIONS[name], z, None, z)
        hit = np.isnan(backend.to_numpy(z))
        assert hit.tolist() == [[name == "softmax", True], [False, False]]
