"""Dropout: masks of published random numbers, gradients under a mask."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from small_networks import TINY_RATE, classes, classifier, parameters

from gpubp import SGD, Network, Trainer
from gpubp.backends import Backend, get_backend


def philox_uniform(seed: int, step: int, layer: int, position: int) -> float:
    """Draw a number by Philox4x64-10 as in its paper (Salmon et al. 2011), in Python's integers."""
    word = 2**64
    counter, key = [position // 8 + 1, step, layer, 0], [seed, 0]
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * counter[0], word)
        high1, low1 = divmod(0xCA5A826395121157 * counter[2], word)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B97F4A7C15) % word, (key[1] + 0xBB67AE8584CAA73B) % word]
    half = counter[position // 2 % 4] >> 32 * (position % 2) & 0xFFFFFFFF
    return (half >> 8) / 2**24


def dropped(
    backend: Backend, shape: tuple[int, int], step: int, first: int = 0, **options: Any
) -> np.ndarray:
    settings = {"seed": 7, "layer": 2, "rate": 0.25, "dtype": "float64", **options}
    x = backend.xp.ones(shape, settings["dtype"])
    out = backend.xp.empty(shape, settings["dtype"])
    counters = backend.asarray(np.array([step, 0]))
    backend.dropout(x, out, counters, settings["seed"], settings["layer"], first, settings["rate"])
    return backend.to_numpy(out)


def test_masks_are_numpys_philox_numbers(backend: Backend) -> None:
    generator = np.random.Philox(counter=[0, 5, 2, 0], key=[7, 0])
    numbers = np.random.Generator(generator).random(600, dtype=np.float32).reshape(20, 30)
    expected = np.where(numbers >= 0.25, 1 / 0.75, 0)
    np.testing.assert_allclose(dropped(backend, (20, 30), step=5), expected, rtol=1e-7)


def test_masks_are_the_papers_philox_numbers(backend: Backend) -> None:
    seed = 2**63 - 25
    kept = dropped(backend, (9, 3), step=11, first=1001, seed=seed, layer=1) > 0
    expected = [philox_uniform(seed, 11, 1, 1001 + k) >= 0.25 for k in range(27)]
    assert kept.ravel().tolist() == expected


def test_a_mask_depends_on_seed_step_layer_and_position_alone(backend: Backend) -> None:
    whole = dropped(backend, (40, 7), step=3)
    for cut in (1, 8, 13):
        part = dropped(backend, (40 - cut, 7), step=3, first=7 * cut)
        np.testing.assert_array_equal(part, whole[cut:])
    for other in ({"step": 4}, {"seed": 8}, {"layer": 1}, {"first": 7}):
        changed = dropped(backend, (40, 7), **{"step": 3, **other})
        assert (changed != whole).mean() > 0.2


def test_a_long_mask_is_the_same_in_one_piece_and_in_many() -> None:
    backend = get_backend("numpy")
    whole = dropped(backend, (100, 500), step=1)
    parts = [dropped(backend, (10, 500), step=1, first=5000 * k) for k in range(10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_respected_and_the_expectation_kept(backend: Backend, rate: float) -> None:
    values = dropped(backend, (100, 400), step=0, rate=rate, dtype="float32")
    deviation = math.sqrt(rate * (1 - rate) / values.size)
    assert abs((values == 0).mean() - rate) < 5 * deviation
    assert abs(values.mean() - 1) < 5 * deviation / (1 - rate)
    assert np.unique(values).tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_gradients_under_a_mask_are_those_of_finite_differences_under_the_same_mask(
    backend: Backend, activation: str
) -> None:
    x, y = classes(6, 2, 2)

    def stepped(change: np.ndarray) -> tuple[float, np.ndarray]:
        options: dict[str, Any] = {"hidden": activation, "dropout": [0.5, 0.3]}
        network = Network(
            (2, 4, 3, 2), output="softmax", dtype="float64", backend=backend, seed=1, **options
        )
        start = np.random.default_rng(2).normal(size=change.size) + change
        network.parameters[...] = backend.asarray(start)
        trainer = Trainer(network, SGD(learning_rate=1.0), batch_size=4, accumulate=2, seed=6)
        trainer.step(x, y)
        return trainer.step_cost, start - parameters(network)

    n, h = 4 * 2 + 3 * 4 + 2 * 3 + 9, 1e-5
    cost, gradient = stepped(np.zeros(n))
    chosen = range(n) if backend.name == "numpy" else range(0, n, 5)
    differences = [
        (stepped(h * np.eye(n)[k])[0] - stepped(-h * np.eye(n)[k])[0]) / (2 * h) for k in chosen
    ]
    np.testing.assert_allclose(gradient[list(chosen)], differences, rtol=1e-6, atol=1e-9)
    plain = Network((2, 4, 3, 2), output="softmax", dtype="float64", seed=1, hidden=activation)
    assert abs(plain.cost(x, y) - cost) > 1e-4  # the mask changed the cost


def test_each_step_draws_a_new_mask_and_prediction_none(backend: Backend) -> None:
    x, y = classes(8)
    dropping, plain = classifier(backend, dropout=0.5), classifier(backend)
    trainer = Trainer(dropping, TINY_RATE, seed=0)
    costs = []
    for _ in range(3):
        trainer.step(x, y)
        costs.append(trainer.step_cost)
    assert len(set(costs)) == 3
    np.testing.assert_array_equal(dropping.predict(x), plain.predict(x))
    assert dropping.cost(x, y) == plain.cost(x, y)
    history = trainer.fit(x, y, epochs=1, validation_data=(x, y))
    assert history.validation_cost == [pytest.approx(plain.cost(x, y), rel=1e-12)]
    assert history.cost != history.validation_cost
