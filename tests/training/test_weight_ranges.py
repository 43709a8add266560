"""Sample weights of any scale: only their ratios count, also where the network's dtype has no room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_networks import parameters

from gpubp import Network, Trainer
from gpubp.backends import Backend
from gpubp.data_validation import check_weights

ROWS = 6
X, Y = np.random.default_rng(0).normal(size=(2, ROWS, 3))
RATIOS = np.random.default_rng(1).uniform(0.5, 2, ROWS)


def network(backend: Backend | str, dtype: str = "float32") -> Network:
    return Network((3, 4, 3), hidden="tanh", dtype=dtype, backend=backend, seed=0)


WEIGHTS: dict[str, Any] = {
    "far below float32": RATIOS * 1e-50,
    "some below float32": RATIOS * [1, 1, 1e-46, 1e-42, 1, 1],
    "all but one below float32": RATIOS * [1e-50, 1e-50, 1, 1e-46, 0, 1e-300],
    "below float32's normal numbers": RATIOS * 1e-44,
    "far above float32": RATIOS * 1e200,
    "one above float32": RATIOS * [1, 1, 1e300, 1, 1, 1],
    "from the least to the largest": RATIOS * [5e-324, 1e-200, 1, 1e200, 8e307, 0],
    "below float64's normal numbers": [5e-324, 1e-323, 0, 0, 0, 5e-324],
    "an infinite sum": np.full(ROWS, 1.7e308),
    "denormal float32": np.full(ROWS, 1e-45, np.float32),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_any_scale_give_the_weighted_mean(
    backend: Backend, kind: str, dtype: str
) -> None:
    weights, net = WEIGHTS[kind], network(backend, dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    ratios = np.array([float(w) / float(np.max(weights)) for w in weights])
    outputs = network("numpy", "float64").predict(X)
    expected = np.average((0.5 * (outputs - Y) ** 2).sum(axis=1), weights=ratios)
    assert net.cost(X, Y, weights) == pytest.approx(expected, rel=tolerance)
    twin = network("numpy", "float64").backprop(X, Y, ratios)
    gradient = backend.to_numpy(net.backprop(X, Y, weights).gradient)
    np.testing.assert_allclose(gradient, twin.gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("power", [-200, -1040, 200, 1000])
def test_weights_times_a_power_of_two_train_to_the_same_bits(backend: Backend, power: int) -> None:
    plain, scaled = network(backend), network(backend)
    weights = RATIOS.astype(np.float32).astype(float)
    histories = [
        Trainer(net, "adam", batch_size=4, seed=0).fit(
            X, Y, epochs=3, sample_weight=given, validation_data=(X, Y, given)
        )
        for net, given in ((plain, weights), (scaled, np.ldexp(weights, power)))
    ]
    np.testing.assert_array_equal(parameters(scaled), parameters(plain))
    assert histories[1].validation_cost == histories[0].validation_cost


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_weights_that_fit_are_left_as_they_are(dtype: str) -> None:
    weights = np.array([0, 1, 3, 1000], dtype)
    assert check_weights(weights, 4, dtype=np.dtype(np.float32)) is weights


def test_the_users_weights_are_not_changed() -> None:
    weights = RATIOS * 1e-50
    before = weights.copy()
    network("numpy").cost(X, Y, weights)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float32_weights_become_normal_numbers(dtype: str) -> None:
    weights = np.full(ROWS, 1e-45, np.float32)
    scaled = check_weights(weights, ROWS, dtype=np.dtype(dtype))
    assert scaled is not None
    assert scaled.min() >= np.finfo(np.float32).smallest_normal
