"""A rate for each layer, and frozen layers: against a training loop in plain NumPy; what stays the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy_loop import RATES, SIZES, TEXTBOOK, Loop, batches, is_frozen, made, state_arrays
from oracles import given, st
from single_steps import OPTIMIZERS
from small_networks import classes, parameters

import gpubp
from gpubp import SGD, Adam, Lion, Trainer
from gpubp.backends import Backend

# Against the loop in NumPy


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("factors", RATES, ids=str)
def test_steps_with_a_rate_for_each_layer_are_those_of_a_loop_in_numpy(
    backend: Backend, factors: tuple[float, ...], name: str
) -> None:
    network = made(backend)
    loop, optimizer = Loop(network, TEXTBOOK[name]), TEXTBOOK[name]
    trainer = Trainer(network, optimizer, layer_rates=factors)
    for x, y in batches(5):
        trainer.step(x, y)
        loop.step(x, y, factors)
    np.testing.assert_allclose(parameters(network), loop.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_layers_that_are_frozen_for_a_while_keep_their_bits_and_go_on(
    backend: Backend, name: str
) -> None:
    network = made(backend)
    loop, trainer = Loop(network, TEXTBOOK[name]), Trainer(network, TEXTBOOK[name])
    for number, factors in enumerate([(1, 1, 1), (0, 0.5, 1), (1, 0, 0), (2, 1, 1), (0, 0, 1)]):
        trainer.layer_rates = factors
        before = state_arrays(trainer)
        for x, y in batches(3, seed=10 * number):
            trainer.step(x, y)
            loop.step(x, y, factors)
        frozen = is_frozen(network.layout, factors)
        for key, array in state_arrays(trainer).items():
            if (
                array.shape == frozen.shape
            ):  # the parameters, and each array of the optimizer's state
                np.testing.assert_array_equal(array[frozen], before[key][frozen], err_msg=key)
                assert (array[~frozen] != before[key][~frozen]).mean() > 0.9
    np.testing.assert_allclose(parameters(network), loop.parameters, rtol=1e-8, atol=1e-11)


@st.composite
def trainings(draw: Any) -> tuple[tuple[int, ...], tuple[float, ...], str, int]:
    depth = draw(st.integers(1, 5))
    sizes = (*(draw(st.integers(1, 9)) for _ in range(depth)), draw(st.integers(2, 5)))
    factors = tuple(draw(st.sampled_from([0.0, 0.0, 0.25, 1.0, 1.0, 3.0])) for _ in range(depth))
    factors = factors if any(factors) else (*factors[:-1], 1.0)
    return sizes, factors, draw(st.sampled_from(sorted(TEXTBOOK))), draw(st.integers(0, 99))


@given(trainings())
def test_random_networks_train_as_a_loop_in_numpy(backend: Backend, training: Any) -> None:
    sizes, factors, name, seed = training
    network = made(backend, sizes, seed=seed)
    loop = Loop(network, TEXTBOOK[name])
    trainer = Trainer(network, TEXTBOOK[name], layer_rates=factors, seed=seed)
    start = parameters(network)
    for x, y in batches(3, seed, sizes):
        trainer.step(x, y)
        loop.step(x, y, factors)
    np.testing.assert_allclose(parameters(network), loop.parameters, rtol=1e-8, atol=1e-10)
    frozen = is_frozen(network.layout, factors)
    np.testing.assert_array_equal(parameters(network)[frozen], start[frozen])


# Kinds of steps: one step of plain SGD is proportional to its rate.

KINDS: dict[str, dict[str, Any]] = {
    "dropout": {"network": {"dropout": 0.3}},
    "accumulation": {"trainer": {"batch_size": 5, "accumulate": 10}},
    "sample weights": {"fit": {"sample_weight": np.linspace(0.1, 2, 50)}},
    "float16": {"network": {"dtype": "float32", "precision": "float16"}},
    "bfloat16": {"network": {"dtype": "float32", "precision": "bfloat16"}},
    "no biases": {"network": {"biases": [True, False, True]}},
    "sparse": {"sparse": True},
    "streamed": {"streamed": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_any_kind_is_proportional_to_the_rate(
    backend: Backend, kind: str, tmp_path: Path
) -> None:
    options, factors = KINDS[kind], (0, 0.25, 2.0)
    x, y = classes(50, SIZES[0], SIZES[-1])
    if "sparse" in options:
        sparse = pytest.importorskip("scipy.sparse")
        x = sparse.csr_array(np.where(x > 0.5, x, 0))
    if "streamed" in options:
        x.tofile(tmp_path / "x")
        x = np.memmap(tmp_path / "x", np.float64, "r", shape=x.shape)
    moved = []
    for rates in (None, factors):
        network = made(backend, **options.get("network", {}))
        before = parameters(network)
        how = {"batch_size": 50, "seed": 4, **options.get("trainer", {})}
        trainer = Trainer(network, SGD(learning_rate=2**-4), layer_rates=rates, **how)
        history = trainer.fit(x, y, epochs=1, **options.get("fit", {}))
        assert history.learning_rate == [2**-4]  # the optimizer's
        moved.append(network.layout.views(parameters(network) - before))
    tolerance = {"rtol": 1e-3, "atol": 1e-6} if "16" in kind else {"rtol": 1e-9, "atol": 1e-12}
    for factor, whole, part in zip(factors, *moved, strict=True):
        for expected, result in zip(whole, part, strict=True):
            if expected is not None:
                assert np.abs(expected).max() > 1e-4
                np.testing.assert_allclose(result, factor * expected, **tolerance)


@pytest.mark.parametrize("limit", [None, 9])
def test_shards_and_blocks_train_the_same_layers(
    backend: Backend, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of several shards are added for layers that are trained, in the update or before it."""
    monkeypatch.setattr(
        backend, "plan", lambda rows, *_: [[slice(0, 5)], [slice(5, 16), slice(16, rows)]]
    )
    x, y = classes(24, SIZES[0], SIZES[-1])
    for name in ("momentum", "clipped momentum", "adam"):
        network, factors = made(backend), (0, 1, 0.5)
        loop, trainer = Loop(network, TEXTBOOK[name]), Trainer(network, TEXTBOOK[name])
        for rates in ((1, 1, 1), factors):
            trainer.layer_rates = rates
            for _ in range(3):
                trainer.step(x, y)
                loop.step(x, y, rates)
        np.testing.assert_allclose(parameters(network), loop.parameters, rtol=1e-9, atol=1e-12)


def test_what_the_gradient_holds_for_frozen_layers_skips_no_step(backend: Backend) -> None:
    """float16's loss scale is halved only if the gradient of a layer that is trained overflows."""
    network = made(backend, dtype="float32", precision="float16")
    trainer = Trainer(network, SGD(learning_rate=0.1), layer_rates=(0, 0, 1), batch_size=8)
    before, scale = parameters(network), trainer.loss_scale
    with backend.use():
        trainer.training_step._gradients[0].fill(
            np.inf
        )  # what frozen layers have there is not read
    x, y = batches(1)[0]
    trainer.step(x, y)
    assert trainer.loss_scale == scale
    changed = parameters(network) != before
    np.testing.assert_array_equal(changed, ~is_frozen(network.layout, (0, 0, 1)))


# The same bits


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), Lion()], ids=[*OPTIMIZERS, "lion"])
@pytest.mark.parametrize("precision", [None, "float16"])
def test_factors_of_1_change_no_bit(
    backend: Backend, optimizer: gpubp.Optimizer, precision: str | None
) -> None:
    x, y = classes(50, SIZES[0], SIZES[-1])
    states = []
    for rates in (None, (1, 1, 1)):
        network = made(backend, dtype="float32", precision=precision, dropout=0.2)
        trainer = Trainer(network, optimizer, layer_rates=rates, batch_size=8, seed=0)
        trainer.fit(x, y, epochs=2)
        states.append(state_arrays(trainer))
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


@pytest.mark.parametrize("name", ["momentum", "clipped momentum", "adam"])
def test_a_factor_for_all_layers_is_another_learning_rate(backend: Backend, name: str) -> None:
    x, y = classes(50, SIZES[0], SIZES[-1])
    optimizer, results = OPTIMIZERS[name], []
    for rate, rates in ((1.0, (0.25,) * 3), (0.25, None)):
        given = replace(optimizer, learning_rate=rate * optimizer.learning_rate)
        network = made(backend)
        Trainer(network, given, schedule="cosine", layer_rates=rates, batch_size=8, seed=0).fit(
            x, y, epochs=3
        )
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


def test_frozen_features_train_as_features_that_are_given(backend: Backend) -> None:
    """To freeze the first layers is to train the others on the activations of these."""
    x, y = classes(60, SIZES[0], SIZES[-1])
    network = made(backend)
    features = network.forward(x).a[2]
    above = made(backend, SIZES[2:])
    above.parameters = np.concatenate(
        [parameters(network)[30 + 24 : 30 + 24 + 12], parameters(network)[-3:]]
    )
    how: dict[str, Any] = {"optimizer": Adam(learning_rate=0.05), "batch_size": 20, "seed": 1}
    costs = [
        Trainer(each, **how, layer_rates=rates).fit(data, y, epochs=5).cost
        for each, rates, data in ((network, (0, 0, 1), x), (above, None, features))
    ]
    np.testing.assert_allclose(*costs, rtol=1e-10)
    np.testing.assert_allclose(
        np.array(backend.to_numpy(network.layers[2].weights)),
        np.array(backend.to_numpy(above.layers[0].weights)),
        rtol=1e-9,
    )
