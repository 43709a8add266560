"""The loss scale of float16: its rule, overflow, and results that do not depend on it."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from random_networks import relative_error
from rounded import problem

import gpubp
from gpubp.backends import Backend
from gpubp.kernels import PRECISIONS
from gpubp.kernels.scaling import FIRST, LARGEST, STEPS, fresh_loss_scale


def float16_trainer(backend: Backend, optimizer: Any = "adam", **options: Any) -> gpubp.Trainer:
    network = gpubp.Network(
        (6, 8, 3), hidden="tanh", output="softmax", seed=0, backend=backend, precision="float16"
    )
    return gpubp.Trainer(network, optimizer, batch_size=16, seed=0, **options)


def set_loss_scale(trainer: gpubp.Trainer, scale: float, since: float = 0) -> None:
    trainer._training_step._loss_scale[...] = trainer.backend.asarray(
        np.array([scale, 1 / scale, since])
    )


def test_the_loss_scale_halves_and_doubles_by_the_rule(backend: Backend) -> None:
    def adapted(state: list[float], norm: float) -> list[float]:
        loss_scale = backend.asarray(np.array(state))
        backend.adapt_loss_scale(loss_scale, backend.asarray(np.array([norm])))
        return list(backend.to_numpy(loss_scale))

    assert adapted([8.0, 0.125, 5], 1.0) == [8.0, 0.125, 6]
    assert adapted([8.0, 0.125, 5], math.inf) == [4.0, 0.25, 0]
    assert adapted([8.0, 0.125, 5], math.nan) == [4.0, 0.25, 0]
    assert adapted([8.0, 0.125, STEPS - 1], 1.0) == [16.0, 0.0625, 0]
    assert adapted([LARGEST, 1 / LARGEST, STEPS - 1], 1.0) == [LARGEST, 1 / LARGEST, 0]
    assert list(fresh_loss_scale()) == [FIRST, 1 / FIRST, 0]


OPTIMIZERS = [
    gpubp.SGD(learning_rate=0.1),
    gpubp.SGD(learning_rate=0.1, momentum=0.9),
    gpubp.SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    gpubp.Adam(learning_rate=0.01, clip_norm=0.1),
    gpubp.AdamW(learning_rate=0.01, weight_decay=0.1),
    gpubp.Lion(learning_rate=0.001),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_the_scale_does_not_change_the_result(backend: Backend, optimizer: gpubp.Optimizer) -> None:
    x, y = problem((6, 8, 3), 48)
    results = []
    for scale in (2.0**4, 2.0**10):
        trainer = float16_trainer(backend, optimizer)
        set_loss_scale(trainer, scale)
        trainer.fit(x, y, epochs=2)
        assert trainer.loss_scale == scale
        results.append(backend.to_numpy(trainer.network.parameters))
    np.testing.assert_allclose(results[0], results[1], atol=4e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_a_gradient_that_overflows_changes_nothing_but_the_scale(
    backend: Backend, optimizer: gpubp.Optimizer
) -> None:
    x, y = problem((6, 8, 3), 16)
    trainer = float16_trainer(backend, optimizer)
    trainer.step(x, y)
    before = [
        backend.to_numpy(array).copy()
        for array in (trainer.network.parameters, *trainer._training_step._optimizer_state.arrays)
    ]
    set_loss_scale(trainer, 2.0**24)
    trainer.step(x, y)
    assert trainer.loss_scale == 2.0**23
    assert math.isfinite(trainer.step_cost)
    after = [
        backend.to_numpy(array)
        for array in (trainer.network.parameters, *trainer._training_step._optimizer_state.arrays)
    ]
    for array, earlier in zip(after, before, strict=True):
        np.testing.assert_array_equal(array, earlier)


def test_a_scale_too_large_finds_its_way_down_and_training_goes_on(backend: Backend) -> None:
    x, y = problem((6, 8, 3), 64)
    trainer = float16_trainer(backend)
    set_loss_scale(trainer, 2.0**24)
    history = trainer.fit(x, y, epochs=12)
    assert trainer.loss_scale < 2.0**24
    assert history.cost[-1] < history.cost[0]


def test_gradients_that_are_never_finite_end_training(backend: Backend) -> None:
    broken = gpubp.Cost.from_functions(
        "broken", lambda xp, a, y: (a - y) ** 2, lambda xp, a, y: (a - y) * np.float32("nan")
    )
    network = gpubp.Network((4, 5, 2), cost=broken, seed=0, backend=backend, precision="float16")
    before = backend.to_numpy(network.parameters).copy()
    x = np.ones((64, 4), np.float32)
    with pytest.raises(
        gpubp.DivergenceError, match="the gradients stopped being finite in epoch 1"
    ):
        gpubp.Trainer(network, batch_size=1).fit(x, x[:, :2], epochs=1)
    np.testing.assert_array_equal(backend.to_numpy(network.parameters), before)


def test_a_copied_trainer_has_the_loss_scale(backend: Backend) -> None:
    x, y = problem((6, 8, 3), 32)
    trainer = float16_trainer(backend)
    set_loss_scale(trainer, 2.0**9, since=7)
    copied = copy.deepcopy(trainer)
    assert copied.loss_scale == 2.0**9
    for each in (trainer, copied):
        each.fit(x, y, epochs=1)
    np.testing.assert_array_equal(
        backend.to_numpy(copied.network.parameters), backend.to_numpy(trainer.network.parameters)
    )


def test_only_float16_is_scaled(backend: Backend) -> None:
    for name in (None, "tf32", "bfloat16"):
        network = gpubp.Network((4, 5, 2), seed=0, backend=backend, precision=name)
        assert gpubp.Trainer(network).loss_scale == 1


def test_the_scale_does_not_vanish_however_many_gradients_overflow(backend: Backend) -> None:
    loss_scale = backend.asarray(fresh_loss_scale(2.0**-60))
    for _ in range(9):
        backend.adapt_loss_scale(loss_scale, backend.asarray(np.array([np.inf])))
    assert list(backend.to_numpy(loss_scale)) == [2.0**-64, 2.0**64, 0]


def test_backprop_finds_a_scale_that_fits(backend: Backend) -> None:
    x, _ = problem((4, 5, 2), 3)
    y = np.full((3, 2), 1e5)
    options: Any = {"hidden": "tanh", "seed": 0, "backend": backend}
    result = gpubp.Network((4, 5, 2), precision="float16", **options).backprop(x, y)
    reference = gpubp.Network((4, 5, 2), dtype="float64", **options).backprop(x, y)
    gradient, expected = (backend.to_numpy(r.gradient) for r in (result, reference))
    assert relative_error(gradient, expected) < 8 * PRECISIONS["float16"].unit_roundoff
    assert result.cost == pytest.approx(reference.cost, rel=1e-3)


def test_inputs_that_float16_has_no_room_for_are_refused(backend: Backend) -> None:
    network = gpubp.Network((2, 2), backend=backend, precision="float16")
    message = r"x holds 70000 at \[0, 0\], too large for float16, the network's precision"
    for call in (network.predict, lambda x: gpubp.Trainer(network).fit(x, x, epochs=1)):
        with pytest.raises(ValueError, match=message):
            call(np.array([[7e4, 1.0]]))
