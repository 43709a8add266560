"""Every kernel's CUDA text and NumPy twin against formulas written here in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from gpubp.backends import Backend, Rows
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    PRECISIONS,
    SOFTMAX,
    UPDATES,
    Activation,
    Cost,
    UpdateOptions,
    blocks,
    sums,
)
from gpubp.kernels.typing import Array

DTYPES = ["float32", "float64"]
BLOCK = 1024
MANY_ROWS = BLOCK // 5 + 100
ELEMENTWISE = [name for name, activation in ACTIVATIONS.items() if not activation.rowwise]

# Formulas of z in float64: the activation and its derivative.

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


def inputs(name: str, dtype: str) -> Array:
    """More than one block of a twin: ordinary, extreme and special values of z."""
    tiny = float(np.finfo(dtype).tiny)
    special_values = [0.0, -0.0, tiny, -tiny, 1e-30, 1e-5, -1e-5, 1, -1, 2.9, -2.9, 4, -4]
    special_values += [20, -20, 21, -21, 87, -87, 100, -100, 1e3, -1e3, 1e4, -1e4]
    z = np.random.default_rng(0).normal(0, 4, (MANY_ROWS, 5))
    z.flat[: len(special_values)] = special_values
    z = z.astype(dtype)
    if name == "exponential":  # beyond, it is capped: see test_exponential_is_capped
        z = np.minimum(z, 80)
    return z


def on(backend: Backend, array: Array, dtype: Any = None) -> Array:
    """A copy on the backend, with memory of its own."""
    return backend.asarray(np.array(array, dtype))


def both(cuda_backend: Backend) -> tuple[Backend, Backend, Backend]:
    """The NumPy twins, the same text compiled for the CPU, and the CUDA kernels."""
    return NumpyBackend(compile=False), NumpyBackend(), cuda_backend


def close(
    actual: Array, expected: Array, dtype: str, ulps: float = 16, magnitude: float = 1
) -> None:
    """Equal up to a few roundings, of the number itself and of numbers as large as `magnitude`."""
    assert actual.dtype == dtype
    assert np.isfinite(actual).all()
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(actual, expected, rtol=ulps * eps, atol=ulps * eps * magnitude)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks in little data; what a block is must not show in any result."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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
            # A compiled product may be taken in another order, which shows where it is denormal.
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
    own = ACTIVATIONS[name].with_parameters(**dict.fromkeys(ACTIVATIONS[name].parameters, 0.3))
    below, slope = 0.3 * z, np.full_like(z, 0.3)
    if name != "leaky_relu":
        below, slope = 0.3 * np.expm1(np.minimum(z, 0)), 0.3 * exp(np.minimum(z, 0))
    factor = 0.3 if name == "selu" else 1
    for backend in both(cuda_backend):
        a, delta = on(backend, z), on(backend, np.ones_like(z))
        backend.bias_activate(own, a, None, a)
        close(backend.to_numpy(a), factor * np.where(z > 0, z, below), "float64")
        backend.multiply_by_derivative(own, a, delta, delta)
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


# Costs: each term c(a, y) and ∂c/∂a, in float64, away from where they are clamped.

COST_FORMULAS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "quadratic": (lambda a, y: (y - a) ** 2 / 2, lambda a, y: a - y),
    "cross_entropy": (lambda a, y: -special.xlogy(y, a), lambda a, y: -y / a),
    "binary_cross_entropy": (
        lambda a, y: -special.xlogy(y, a) - special.xlog1py(1 - y, -a),
        lambda a, y: (1 - y) / (1 - a) - y / a,
    ),
    "huber": (lambda a, y: special.huber(1.0, a - y), lambda a, y: np.clip(a - y, -1, 1)),
    "absolute_error": (lambda a, y: np.abs(a - y), lambda a, y: np.sign(a - y)),
    "log_cosh": (
        lambda a, y: np.logaddexp(a - y, y - a) - math.log(2),
        lambda a, y: np.tanh(a - y),
    ),
    "poisson": (lambda a, y: a - special.xlogy(y, a), lambda a, y: 1 - y / a),
    "quantile": (lambda a, y: np.abs(a - y) / 2, lambda a, y: np.sign(a - y) / 2),
}


def targets(cost: Cost, shape: tuple[int, int], dtype: str) -> Array:
    """Targets that the cost takes; some of them 0 or 1."""
    rng = np.random.default_rng(3)
    if cost.targets == "class":
        y = rng.dirichlet(np.ones(shape[1]), shape[0])
        y[: shape[0] // 2] = np.eye(shape[1])[rng.integers(shape[1], size=shape[0] // 2)]
    elif cost.targets == "unit":
        y = rng.uniform(size=shape)
        y[: shape[0] // 2] = rng.integers(2, size=(shape[0] // 2, shape[1]))
    else:
        y = rng.integers(5, size=shape) if cost.targets == "nonnegative" else rng.normal(size=shape)
    return y.astype(dtype)


def run_cost(
    backend: Backend, cost: Cost, activation: Activation, *arrays: Array
) -> tuple[Array, Array]:
    """(delta, costs) for z, a, y and scale."""
    z, a, y, scale = (on(backend, array) for array in arrays)
    delta, costs = on(backend, np.full_like(arrays[1], 7)), on(backend, np.full_like(arrays[3], 7))
    backend.output_delta(cost, activation, z, a, y, scale, delta, costs)
    alone = on(backend, np.full_like(arrays[3], 7))
    backend.output_delta(cost, activation, z, a, y, scale, None, alone)
    rtol = 1e-5 if costs.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(backend.to_numpy(alone), backend.to_numpy(costs), rtol=rtol)
    return backend.to_numpy(delta), backend.to_numpy(costs)


def test_every_cost_has_a_formula_here() -> None:
    assert set(COST_FORMULAS) == set(COSTS)


# More than one block of a twin, more than one block of threads, half a warp wide.
SHAPE = (BLOCK // 17 + 100, 17)


@pytest.mark.parametrize("output", ["identity", "sigmoid", "gelu", "exponential", "softmax"])
@pytest.mark.parametrize("name", COSTS)
def test_output_delta_and_costs_are_the_formulas(
    cuda_backend: Backend, name: str, output: str, dtype: str
) -> None:
    cost, activation, rng = COSTS[name], ACTIVATIONS[output], np.random.default_rng(4)
    low, high = cost.domain
    z = rng.normal(size=SHAPE).astype(dtype)
    if output in ("identity", "gelu") and low == 0:
        z = rng.uniform(0.1, 0.9 if high == 1 else 3, SHAPE).astype(dtype)
    if output == "exponential" and high == 1:
        z = -rng.uniform(0.1, 3, SHAPE).astype(dtype)
    wide = z.astype(np.float64)
    sigma = special.softmax(wide, axis=1) if output == "softmax" else FORMULAS[output][0](wide)
    y = targets(cost, SHAPE, dtype)
    scale = rng.uniform(0.1, 1, SHAPE[0]).astype(dtype)

    # The formulas see a as it is stored, so that its rounding is no part of the difference.
    a = sigma.astype(dtype)
    c, g = (f(a.astype(np.float64), y.astype(np.float64)) for f in COST_FORMULAS[name])
    if output == "softmax":
        expected = sigma * (g - (g * sigma).sum(axis=1, keepdims=True))
    else:
        expected = g * FORMULAS[output][1](wide)
    for backend in both(cuda_backend):
        delta, costs = run_cost(backend, cost, activation, z, a, y, scale)
        close(delta, expected * scale[:, None], dtype, ulps=64, magnitude=4)
        close(costs, c.sum(axis=1), dtype, ulps=64, magnitude=SHAPE[1])


@pytest.mark.parametrize("name", [name for name, cost in COSTS.items() if cost.parameters])
def test_cost_parameters_reach_both_twins(cuda_backend: Backend, name: str) -> None:
    (key,) = COSTS[name].parameters
    cost = COSTS[name].with_parameters(**{key: 0.2})
    a, y = np.random.default_rng(5).normal(size=(2, 6, 3))
    r = a - y
    if name == "huber":
        c, g = special.huber(0.2, r), np.clip(r, -0.2, 0.2)
    else:
        c, g = np.where(r > 0, 0.8 * r, -0.2 * r), np.where(r > 0, 0.8, -0.2)
    for backend in both(cuda_backend):
        delta, costs = run_cost(backend, cost, ACTIVATIONS["identity"], a, a, y, np.ones(6))
        close(delta, g, "float64")
        close(costs, c.sum(axis=1), "float64")


@pytest.mark.parametrize(
    ("name", "output"), [(c.name, c.canonical) for c in COSTS.values() if c.canonical]
)
def test_canonical_pairs_keep_their_digits_at_extremes(
    cuda_backend: Backend, name: str, output: str, dtype: str
) -> None:
    z = np.array([[1e4, -1e4, 50], [-1e4, 1e4, -50], [0, 1e-5, -1e-5], [30, -30, 1]], dtype)
    if output == "exponential":
        z = np.minimum(z, 30)
    y = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype)
    wide = z.astype(np.float64)
    if output == "softmax":
        a = special.softmax(wide, axis=1)
        expected = -(y * special.log_softmax(wide, axis=1)).sum(axis=1)
    else:
        a = FORMULAS[output][0](wide)
        terms = {
            "sigmoid": lambda: np.logaddexp(0, wide) - y * wide,
            "identity": lambda: (wide - y) ** 2 / 2,
            "exponential": lambda: exp(wide) - y * wide,
        }
        expected = terms[output]().sum(axis=1)
    for backend in both(cuda_backend):
        given = z, a.astype(dtype), y, np.ones(4, dtype)
        delta, costs = run_cost(backend, COSTS[name], ACTIVATIONS[output], *given)
        close(delta, a - y, dtype)
        close(costs, expected, dtype)


@pytest.mark.parametrize("name", COSTS)
def test_costs_stay_finite_at_and_beyond_the_edge_of_their_domain(
    cuda_backend: Backend, name: str, dtype: str
) -> None:
    a = np.array([[0, 1, 1e-37], [-1, 2, 0.5], [-1e4, 1e4, 0]], dtype)
    y = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype)
    results = []
    for backend in both(cuda_backend):
        delta, costs = run_cost(
            backend, COSTS[name], ACTIVATIONS["gelu"], a, a, y, np.ones(3, dtype)
        )
        assert np.isfinite(delta).all() and np.isfinite(costs).all()
        results.append((delta, costs))
    for twin, compiled, cuda in zip(*results, strict=True):
        close(cuda, twin, dtype, magnitude=100)
        close(compiled, twin, dtype, magnitude=100)
    low, high = COSTS[name].domain
    outside = (a < low) | (a > high)
    assert not results[0][0][outside].any()


@pytest.mark.parametrize("name", COSTS)
def test_costs_of_nan_are_nan(cuda_backend: Backend, name: str) -> None:
    a, y = np.array([[np.nan, 0.5], [0.5, 0.5]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    for output in ("tanh", COSTS[name].canonical or "tanh"):
        for backend in both(cuda_backend):
            given = a, a, y, np.ones(2)
            _, costs = run_cost(backend, COSTS[name], ACTIVATIONS[output], *given)
            assert np.isnan(costs).tolist() == [True, False]


@pytest.mark.parametrize("name", COSTS)
def test_output_deltas_of_nan_are_nan(cuda_backend: Backend, name: str) -> None:
    a, y = np.array([[np.nan, 0.5], [0.5, 0.5]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    for output in ("tanh", COSTS[name].canonical or "tanh"):
        for backend in both(cuda_backend):
            delta, _ = run_cost(backend, COSTS[name], ACTIVATIONS[output], a, a, y, np.ones(2))
            assert np.isnan(delta[0, 0])
            assert np.isfinite(delta[1]).all()


@pytest.mark.parametrize("name", UPDATES)
def test_a_gradient_of_nan_makes_its_parameter_nan(cuda_backend: Backend, name: str) -> None:
    update = UPDATES[name]
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    for backend in both(cuda_backend):
        theta, gradient = on(backend, np.ones(3)), on(backend, [0.5, np.nan, 0.5])
        state = tuple(on(backend, np.zeros(3)) for _ in update.state)
        rates, counters, norm = (
            on(backend, [[0.1, 0.5, 0.5]]),
            on(backend, [0, 0], np.int64),
            on(backend, [0.0]),
        )
        backend.update(
            update, h, UpdateOptions(), theta, gradient, (), state, 3, rates, counters, norm
        )
        assert np.isnan(backend.to_numpy(theta)).tolist() == [False, True, False]


# Rows and sums

ROW_SHAPES = [(1, 1), (3, 1), (8, 31), (9, 33), (50, 100)]


@pytest.mark.parametrize("shape", ROW_SHAPES)
def test_softmax_of_rows(cuda_backend: Backend, shape: tuple[int, int], dtype: str) -> None:
    z = np.random.default_rng(6).normal(0, 3, shape).astype(dtype)
    z[0, 0], z[-1, -1] = 1e4, -1e4
    biases = np.random.default_rng(7).normal(size=shape[1]).astype(dtype)
    wide = (z + biases).astype(np.float64)
    for backend in both(cuda_backend):
        in_place, kept, a = on(backend, z), on(backend, z), on(backend, np.zeros_like(z))
        backend.bias_activate(SOFTMAX, in_place, on(backend, biases), in_place)
        backend.bias_activate(SOFTMAX, kept, on(backend, biases), a)
        close(backend.to_numpy(a), special.softmax(wide, axis=1), dtype)
        np.testing.assert_array_equal(backend.to_numpy(in_place), backend.to_numpy(a))
        np.testing.assert_array_equal(backend.to_numpy(kept), z + biases)


@pytest.mark.parametrize("shape", ROW_SHAPES)
def test_softmax_cross_entropy_of_rows(
    cuda_backend: Backend, shape: tuple[int, int], dtype: str
) -> None:
    rng = np.random.default_rng(8)
    z = rng.normal(0, 3, shape).astype(dtype)
    y = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    scale = rng.uniform(size=shape[0]).astype(dtype)
    wide = z.astype(np.float64)
    for backend in both(cuda_backend):
        delta, costs = run_cost(backend, COSTS["cross_entropy"], SOFTMAX, z, z, y, scale)
        expected = (special.softmax(wide, axis=1) - y) * scale[:, None]
        close(delta, expected, dtype)
        close(costs, -(y * special.log_softmax(wide, axis=1)).sum(axis=1), dtype, ulps=64)


@pytest.mark.parametrize("beta", [0.0, 1.0, 0.9])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1024, 33), (1025, 40), (5000, 3)])
def test_column_sums(
    cuda_backend: Backend, shape: tuple[int, int], beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(size=shape).astype(dtype)
    start = rng.normal(size=shape[1]).astype(dtype)
    expected = np.array([math.fsum(column) for column in values.T]) + beta * start
    for backend in both(cuda_backend):
        out = on(backend, start if beta else np.full_like(start, np.nan))
        backend.column_sums(on(backend, values), out, beta)
        close(backend.to_numpy(out), expected, dtype, magnitude=math.sqrt(shape[0]))


COLUMN_SHAPES = [(1, 1), (40, 3), (700, 8), (90, 33), (257, 64), (30, 300)]


@pytest.fixture(params=["one block", "several blocks", "wide tiles"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How sums are cut into blocks of threads, whatever they would be cut into."""
    if request.param == "several blocks":
        for name, value in {"CHUNK_ROWS": 1, "PART_ROWS": 16, "SEGMENT": 1, "PART": 100}.items():
            monkeypatch.setattr(sums, name, value)
    if request.param == "wide tiles":
        monkeypatch.setattr(sums, "TILES", 1)
        monkeypatch.setattr(sums, "CHUNK_ROWS", 100)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("beta", [0.0, 0.9])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("shape", COLUMN_SHAPES)
def test_column_sums_however_they_are_cut_and_aligned(
    cuda_backend: Backend, shape: tuple[int, int], first: int, beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(19)
    flat, start = rng.normal(size=first + math.prod(shape)), rng.normal(size=shape[1])
    flat, start = flat.astype(dtype), start.astype(dtype)
    values = on(cuda_backend, flat)[first:].reshape(shape)
    expected = flat[first:].reshape(shape).astype(np.float64).sum(axis=0) + beta * start
    results = []
    for _ in range(2):
        out = on(cuda_backend, start if beta else np.full_like(start, np.nan))
        cuda_backend.column_sums(values, out, beta)
        results.append(cuda_backend.to_numpy(out))
    close(results[0], expected, dtype, magnitude=math.sqrt(shape[0]))
    np.testing.assert_array_equal(results[0], results[1])
    assert not cuda_backend.to_numpy(cuda_backend.arrivals()).any()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("precision", [p for p in PRECISIONS.values() if p.storage != "float32"])
@pytest.mark.parametrize("columns", [3, 8, 48])
def test_column_sums_of_narrow_numbers(cuda_backend: Backend, columns: int, precision: Any) -> None:
    whole = np.random.default_rng(20).integers(-8, 8, (300, columns)).astype(np.float32)
    values = cuda_backend.operands(whole.shape, precision)
    cuda_backend.convert(on(cuda_backend, whole), values)
    out = on(cuda_backend, np.zeros(columns, np.float32))
    cuda_backend.column_sums(values, out)
    np.testing.assert_array_equal(cuda_backend.to_numpy(out), whole.sum(axis=0))


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [1, 5, 2047, 9000])
def test_weighted_sums_however_they_are_cut_and_aligned(
    cuda_backend: Backend, size: int, first: int, dtype: str
) -> None:
    flat, weights = np.random.default_rng(21).normal(size=(2, first + size)).astype(dtype)
    wide, wide_weights = flat[first:].astype(np.float64), weights[first:].astype(np.float64)
    values, factors = on(cuda_backend, flat)[first:], on(cuda_backend, weights)[first:]
    counters, results = on(cuda_backend, [0, 1], np.int64), []
    for _ in range(2):
        out, squares = on(cuda_backend, [7.0, 2.0]), on(cuda_backend, [np.nan])
        cuda_backend.weighted_sum(values, factors, out, counters)
        cuda_backend.weighted_sum(values, None, squares)
        results.append([*cuda_backend.to_numpy(out), *cuda_backend.to_numpy(squares)])
    expected = [7, 2 + math.fsum(wide * wide_weights), math.fsum(wide * wide)]
    np.testing.assert_allclose(results[0], expected, rtol=1e-12, atol=1e-11)
    assert results[0] == results[1]
    assert not cuda_backend.to_numpy(cuda_backend.arrivals()).any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 31, 1024, 40_000])
def test_weighted_sum_adds_at_its_slot_and_squares_without_weights(
    cuda_backend: Backend, size: int, dtype: str
) -> None:
    values, weights = np.random.default_rng(10).normal(size=(2, size)).astype(dtype)
    wide = values.astype(np.float64)
    for backend in both(cuda_backend):
        counters = on(backend, [5, 2], np.int64)
        out, norm = on(backend, [1.0, 2, 3, 4]), on(backend, [9.0])
        backend.weighted_sum(on(backend, values), on(backend, weights), out, counters)
        expected = [1, 2, 3 + math.fsum(wide * weights), 4]
        np.testing.assert_allclose(backend.to_numpy(out), expected, rtol=1e-12, atol=1e-11)
        backend.weighted_sum(on(backend, values), None, norm)
        np.testing.assert_allclose(backend.to_numpy(norm), [math.fsum(wide * wide)], rtol=1e-12)


# Loading a batch


@pytest.mark.parametrize(
    "source_dtype", ["float64", "float32", "float16", "int32", "uint8", "bool"]
)
@pytest.mark.parametrize("columns", [3, 16, 264])
@pytest.mark.parametrize("ordered", [False, True])
def test_gather_takes_the_rows_of_the_step(
    cuda_backend: Backend, source_dtype: str, columns: int, ordered: bool, dtype: str
) -> None:
    rng = np.random.default_rng(11)
    most = 2 if source_dtype == "bool" else 100
    source = rng.integers(0, most, (40, columns)).astype(source_dtype)
    order = rng.permutation(40)
    start = 2 * 8 + 3  # the step within the epoch is 2, its stride 8, the block's first row 3
    chosen = order[start : start + 5] if ordered else np.arange(start, start + 5)
    for backend in both(cuda_backend):
        rows = Rows(on(backend, source), order=on(backend, order) if ordered else None, stride=8)
        counters = on(backend, [7, 2], np.int64)
        out = on(backend, np.zeros((5, columns)), dtype)
        backend.gather(rows, "x", counters, 3, out)
        np.testing.assert_array_equal(backend.to_numpy(out), source[chosen])
        backend.gather(rows, "x", counters, 3, out, scale=0.9, shift=0.25)
        close(backend.to_numpy(out), 0.9 * source[chosen].astype(float) + 0.25, dtype)


def test_gather_takes_labels_and_weights_of_one_dimension(cuda_backend: Backend) -> None:
    labels, weights = np.arange(10, dtype=np.uint8), np.linspace(0, 1, 10)
    for backend in both(cuda_backend):
        rows = Rows(None, on(backend, labels), on(backend, weights), stride=4)
        counters = on(backend, [0, 1], np.int64)
        out, scale = on(backend, np.zeros(4, np.int64)), on(backend, np.zeros(4, np.float32))
        backend.gather(rows, "y", counters, 0, out)
        backend.gather(rows, "weights", counters, 0, scale)
        np.testing.assert_array_equal(backend.to_numpy(out), [4, 5, 6, 7])
        np.testing.assert_array_equal(backend.to_numpy(scale), weights[4:8].astype(np.float32))


@pytest.mark.parametrize("columns", [3, 12])
def test_one_hot_is_high_at_the_label_and_low_elsewhere(
    cuda_backend: Backend, columns: int, dtype: str
) -> None:
    labels = np.array([2, 0, 1, 2])
    for backend in both(cuda_backend):
        y = on(backend, np.full((4, columns), 7), dtype)
        backend.one_hot(on(backend, labels, np.int64), y, 0.05, 0.9)
        close(backend.to_numpy(y), np.where(np.eye(columns)[labels] == 1, 0.9, 0.05), dtype)


def test_rows_that_begin_between_sixteen_bytes_are_moved_one_by_one(cuda_backend: Backend) -> None:
    values = np.arange(33, dtype=np.float32)
    for backend in both(cuda_backend):
        source = on(backend, values)[1:].reshape(4, 8)
        out = on(backend, np.zeros((2, 8), np.float32))
        backend.gather(Rows(source), "x", on(backend, [0, 0], np.int64), 1, out)
        np.testing.assert_array_equal(backend.to_numpy(out).ravel(), values[9:25])


@pytest.mark.parametrize(
    "weights", [[1, 2, 5], [0, 0, 3], [0, 0, 0], [1e-37, 0, 3e-37], [3e38, 3e38, 0]]
)
def test_normalize_divides_by_the_sum_whatever_its_size(
    cuda_backend: Backend, weights: list[float], dtype: str
) -> None:
    given = np.array(weights, dtype)
    wide = given.astype(np.float64)
    for backend in both(cuda_backend):
        w = on(backend, given)
        backend.normalize(w)
        close(backend.to_numpy(w), wide / (wide.sum() or 1), dtype)


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("first", [0, 5, 1000])
def test_dropout_has_the_same_mask_in_both_twins(
    cuda_backend: Backend, rate: float, first: int, dtype: str
) -> None:
    x = np.random.default_rng(12).uniform(1, 2, (4000, 5)).astype(dtype)
    masks = []
    for backend in both(cuda_backend):
        counters, out = on(backend, [3, 0], np.int64), on(backend, np.zeros_like(x))
        backend.dropout(on(backend, x), out, counters, 2**63 + 5, 1, first, rate)
        result = backend.to_numpy(out)
        masks.append(result != 0)
        close(result, np.where(result == 0, 0, x / (1 - float(np.float32(rate)))), dtype)
        in_place = on(backend, x)
        backend.dropout(in_place, in_place, counters, 2**63 + 5, 1, first, rate)
        np.testing.assert_array_equal(backend.to_numpy(in_place), result)
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    deviation = math.sqrt(rate * (1 - rate) / x.size)
    assert abs(1 - masks[0].mean() - rate) < 5 * deviation


@pytest.mark.parametrize("size", [1, 4, 7, 8, 11, 16, 263])
@pytest.mark.parametrize(("start", "first"), [(0, 0), (0, 16), (0, 3), (1, 0)])
def test_dropout_of_any_part_of_an_array_is_that_of_its_twin(
    cuda_backend: Backend, size: int, start: int, first: int, dtype: str
) -> None:
    """A kernel that moves 16 bytes at once takes what is aligned, and leaves the rest alone."""
    x = np.random.default_rng(13).uniform(1, 2, 300).astype(dtype)
    results = []
    for backend in both(cuda_backend):
        counters, values = on(backend, [3, 0], np.int64), on(backend, x)
        out = on(backend, np.full(300, -1.0, dtype))
        part = slice(start, start + size)
        backend.dropout(values[part], out[part], counters, 5, 1, first, 0.4)
        results.append(backend.to_numpy(out))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6 if dtype == "float32" else 1e-15)
    assert np.count_nonzero(results[0] == -1) == 300 - size


@pytest.mark.parametrize("size", [1, 7, 8, 20, 264])
def test_dropout_of_half_precision_is_its_twins_rounded(cuda_backend: Backend, size: int) -> None:
    x = np.random.default_rng(14).uniform(1, 2, 300).astype(np.float16)
    there, counters = cuda_backend.xp.asarray(x), on(cuda_backend, [3, 0], np.int64)
    cuda_backend.dropout(there[:size], there[:size], counters, 5, 1, 0, 0.4)
    twin = NumpyBackend(compile=False)
    wide = x.astype(np.float32)
    twin.dropout(wide[:size], wide[:size], np.array([3, 0]), 5, 1, 0, 0.4)
    np.testing.assert_array_equal(there.get(), wide.astype(np.float16))


def test_dropout_masks_depend_on_seed_step_layer_and_position_alone(cuda_backend: Backend) -> None:
    for backend in both(cuda_backend):

        def mask(seed: int, step: int, layer: int, first: int, b: Backend = backend) -> Array:
            out = on(b, np.zeros(400))
            counters = on(b, [step, 0], np.int64)
            b.dropout(on(b, np.ones(400)), out, counters, seed, layer, first, 0.5)
            return b.to_numpy(out) != 0

        base = mask(1, 2, 3, 0)
        np.testing.assert_array_equal(mask(1, 2, 3, 100)[:300], base[100:])
        for other in (mask(2, 2, 3, 0), mask(1, 3, 3, 0), mask(1, 2, 4, 0)):
            assert 120 < np.count_nonzero(other != base) < 280


# Optimizer updates

HYPERPARAMETERS = {
    "momentum": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "decay": 0.99,
}


def published_update(
    name: str, theta: Array, g: Array, state: dict[str, Array], rate: float, t: int
) -> Array:
    """One step of the optimizer as published, in float64; `state` holds its averages."""
    h = HYPERPARAMETERS
    if name == "sgd":
        return theta - rate * g
    if name in ("momentum", "nesterov"):
        state["v"] = h["momentum"] * state.get("v", 0) + g
        return theta - rate * (state["v"] if name == "momentum" else g + h["momentum"] * state["v"])
    if name == "adam":
        state["m"] = h["beta1"] * state.get("m", 0) + (1 - h["beta1"]) * g
        state["v"] = h["beta2"] * state.get("v", 0) + (1 - h["beta2"]) * g**2
        m, v = state["m"] / (1 - h["beta1"] ** t), state["v"] / (1 - h["beta2"] ** t)
        return theta - rate * m / (np.sqrt(v) + h["epsilon"])
    if name == "rmsprop":
        state["v"] = h["decay"] * state.get("v", 0) + (1 - h["decay"]) * g**2
        return theta - rate * g / (np.sqrt(state["v"]) + h["epsilon"])
    assert name == "lion"
    m = state.get("m", np.zeros_like(g))
    state["m"] = h["beta2"] * m + (1 - h["beta2"]) * g
    return theta - rate * np.sign(h["beta1"] * m + (1 - h["beta1"]) * g)


SHARED = {
    "plain": UpdateOptions(),
    "penalties": UpdateOptions(l1=0.02, l2=0.03),
    "decay": UpdateOptions(weight_decay=0.1),
    "clip_norm": UpdateOptions(clip_norm=2.0),
    "clip_value": UpdateOptions(clip_value=0.5),
    "all": UpdateOptions(l1=0.02, l2=0.03, weight_decay=0.1, clip_norm=2.0, clip_value=0.05),
}


def shared_part(
    shared: UpdateOptions, theta: Array, g: Array, is_weight: Array, rate: float
) -> tuple[Array, Array]:
    """What comes before the update: clipping, penalties, decay; biases only get clipped."""
    g = g * min(1.0, shared.clip_norm / np.linalg.norm(g))
    g = np.clip(g, -shared.clip_value, shared.clip_value)
    g = g + is_weight * (shared.l2 * theta + shared.l1 * np.sign(theta))
    return theta * (1 - is_weight * rate * shared.weight_decay), g


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("name", UPDATES)
def test_update_is_the_published_one(
    cuda_backend: Backend, name: str, kind: str, dtype: str
) -> None:
    update, shared, rng = UPDATES[name], SHARED[kind], np.random.default_rng(13)
    size, n_weights, steps = 2 * BLOCK, BLOCK + 1000, 3
    is_weight = np.arange(size) < n_weights
    rates = [0.1, 0.05, 0.2]
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    table = [[rates[t], *update.factors(rates[t], t + 1, **h)] for t in range(steps)]
    start = rng.normal(size=size).astype(dtype)
    start[0] = 0
    gs = rng.normal(size=(steps, size)).astype(dtype)
    gs[:, 1] = 0

    expected, averages = start.astype(np.float64), {}
    for t, g in enumerate(gs.astype(np.float64)):
        expected, seen = shared_part(shared, expected, g, is_weight, rates[t])
        expected = published_update(name, expected, seen, averages, rates[t], t + 1)

    for backend in both(cuda_backend):
        theta, counters = on(backend, start), on(backend, [100, 0], np.int64)
        state = tuple(on(backend, np.zeros(size), dtype) for _ in update.state)
        for g in gs:
            gradient, norm = on(backend, g), on(backend, [0.0])
            backend.weighted_sum(gradient, None, norm)
            device_table = on(backend, table)
            backend.update(
                *(
                    update,
                    h,
                    shared,
                    theta,
                    gradient,
                    (),
                    state,
                    n_weights,
                    device_table,
                    counters,
                    norm,
                )
            )
            backend.advance(counters)
            np.testing.assert_array_equal(backend.to_numpy(gradient), g)
        assert backend.to_numpy(counters).tolist() == [100 + steps, steps]
        result = backend.to_numpy(theta)
        # Lion's sign may turn where its argument rounds to 0.
        turned = np.abs(result - expected) > 1e-3 if name == "lion" else np.zeros(size, bool)
        assert np.count_nonzero(turned) < 5
        close(result[~turned], expected[~turned], dtype, ulps=32)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(("size", "firsts"), [(1, 0), (3, 0), (4, 0), (517, 0), (518, 1), (519, 4)])
@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_any_length_and_alignment(
    cuda_backend: Backend, name: str, size: int, firsts: int, skips: bool, dtype: str
) -> None:
    update, rng = UPDATES[name], np.random.default_rng(22)
    shared = UpdateOptions(
        l1=0.02, l2=0.03, weight_decay=0.1, clip_norm=2.0, clip_value=0.5, skips=skips
    )
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    given = rng.uniform(0.5, 1, (2 + len(update.state), firsts + size + 3)).astype(dtype)
    used = slice(firsts, firsts + size)
    rates, counters = np.array([[0.1, *update.factors(0.1, 1, **h)]]), np.zeros(2, np.int64)
    for squared_norm in (9.0, np.inf):
        results = []
        for backend in (NumpyBackend(compile=False), cuda_backend):
            arrays = [on(backend, row) for row in given]
            theta, gradient, *state = (array[used] for array in arrays)
            backend.update(
                *(update, h, shared, theta, gradient, (), tuple(state), size // 2),
                *(on(backend, rates), on(backend, counters), on(backend, [squared_norm])),
            )
            results.append([backend.to_numpy(array) for array in arrays])
        skipped = skips and squared_norm == np.inf
        for before, twin, cuda in zip(given, *results, strict=True):
            close(cuda, twin, dtype)
            np.testing.assert_array_equal(cuda[:firsts], before[:firsts])
            np.testing.assert_array_equal(cuda[firsts + size :], before[firsts + size :])
            assert not skipped or (cuda == before).all()
        assert squared_norm == np.inf or (results[1][0][used] != given[0][used]).all()


# Matmul and addition: the same contract on every backend.


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 1, 1), (5, 3, 4), (1, 6, 2), (4, 2, 1)])
def test_matmul_with_transposes_alpha_and_beta(
    backend: Backend,
    transpose_a: bool,
    transpose_b: bool,
    rows: int,
    inner: int,
    columns: int,
    dtype: str,
) -> None:
    rng = np.random.default_rng(14)
    a, b, c = (
        rng.normal(size=shape).astype(dtype)
        for shape in ((rows, inner), (inner, columns), (rows, columns))
    )
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    for alpha, beta in ((1.0, 0.0), (0.5, 1.0), (1.0, 0.9)):
        out = on(backend, c if beta else np.full_like(c, np.nan))
        left = on(backend, np.ascontiguousarray(a.T) if transpose_a else a)
        right = on(backend, np.ascontiguousarray(b.T) if transpose_b else b)
        backend.matmul(left, right, out, alpha=alpha, beta=beta, **flags)
        expected = alpha * np.einsum("ik,kj->ij", a.astype(float), b.astype(float)) + beta * c
        close(backend.to_numpy(out), expected, dtype, magnitude=10)


def test_add_adds_into_out(backend: Backend, dtype: str) -> None:
    out = on(backend, [1.0, 2.0], dtype)
    backend.add(on(backend, [0.5, 0.25], dtype), out)
    assert backend.to_numpy(out).tolist() == [1.5, 2.25]


def test_a_captured_step_computes_anew_at_every_replay(backend: Backend) -> None:
    x, out = on(backend, [[1.0, 2.0]]), on(backend, [0.0, 0.0])
    step = backend.capture(lambda: backend.column_sums(x, out, 1.0))
    assert backend.to_numpy(out).tolist() == [0, 0]  # capturing computes nothing
    step()
    x[...] = 10.0
    step()
    backend.synchronize()
    assert backend.to_numpy(out).tolist() == [11, 12]
