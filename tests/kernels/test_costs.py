"""Costs and output deltas against float64 formulas, for ordinary and extreme values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from activation_formulas import FORMULAS, exp
from scipy import special
from twins import BLOCK, both, close, run_cost

from gpubp.backends import Backend
from gpubp.kernels import ACTIVATIONS, COSTS, Cost
from gpubp.kernels.typing import Array

pytestmark = pytest.mark.usefixtures("short_blocks")

# For each cost its term c(a, y) and ∂c/∂a, in float64, where a is not clamped.

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
    "poisson": (lambda a, y: a - y + special.xlogy(y, y / a), lambda a, y: 1 - y / a),
    "quantile": (lambda a, y: np.abs(a - y) / 2, lambda a, y: np.sign(a - y) / 2),
}


def targets(cost: Cost, shape: tuple[int, int], dtype: str) -> Array:
    """Draw targets that the cost takes; some of them are 0 or 1."""
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


def test_every_cost_has_a_formula_here() -> None:
    assert set(COST_FORMULAS) == set(COSTS)


# The rows fill more than one block of a twin and more than one block of threads. A row is about half a
# warp wide.
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

    # The formulas get a as it is stored, so that the rounding of a does not count as an error.
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
            "exponential": lambda: exp(wide) - y * wide + special.xlogy(y, y) - y,
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
