"""The state of a `TrainingStep`: taken, restored, pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from single_steps import FORM, OPTIMIZERS, step_on
from small_networks import classifier, parameters

from gpubp import Adam, Optimizer
from gpubp.backends import Array, Backend
from gpubp.training import TrainingStep
from gpubp.training.state import State


def run(step: TrainingStep, steps: int) -> np.ndarray:
    with step.backend.use():
        step.prepare(steps)
        for _ in range(steps):
            step.run(FORM)
    return parameters(step.network)


def as_it_is(value: Any) -> Any:
    return value


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("passed_on", [as_it_is, pickled])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_restored_step_goes_on_from_where_its_state_was_taken(
    backend: Backend, optimizer: Optimizer, passed_on: Callable[[State], State]
) -> None:
    step = step_on(classifier(backend, dropout=0.3), optimizer)
    run(step, 3)
    with backend.use():
        state = passed_on(step.take())
    expected = run(step, 4)
    assert step.steps_taken == 7 and state.steps_taken == 3
    with backend.use():
        step.restore(state)
    assert step.steps_taken == 3
    np.testing.assert_array_equal(run(step, 4), expected)
    other = step_on(classifier(backend, dropout=0.3, seed=9), optimizer)
    with backend.use():
        other.restore(state)
    np.testing.assert_array_equal(run(other, 4), expected)


@pytest.mark.parametrize(
    ("first", "second"), list(permutations(["sgd", "momentum", "nesterov", "adam", "rmsprop"], 2))
)
def test_a_state_of_another_optimizer_leaves_this_one_to_begin_anew(
    backend: Backend, first: str, second: str
) -> None:
    other = step_on(classifier(backend), OPTIMIZERS[first])
    run(other, 3)
    step = step_on(classifier(backend, seed=9), OPTIMIZERS[second])
    run(step, 2)
    with backend.use():
        step.restore(other.take())
    np.testing.assert_array_equal(parameters(step.network), parameters(other.network))
    fresh = step_on(other.network, OPTIMIZERS[second])
    np.testing.assert_array_equal(run(step, 4), run(fresh, 4))


def test_a_velocity_goes_on_in_another_buffer(backend: Backend) -> None:
    """A reduction moves it from the gradient's buffer to memory of its own."""
    step = step_on(classifier(backend), OPTIMIZERS["momentum"])
    run(step, 3)
    apart = step_on(classifier(backend), OPTIMIZERS["momentum"], reduce=lambda gradient: None)
    with backend.use():
        apart.restore(step.take())
    np.testing.assert_allclose(run(apart, 4), run(step, 4), rtol=1e-12)


def test_a_state_is_taken_again_in_the_memory_that_it_has(backend: Backend) -> None:
    step = step_on(classifier(backend), Adam())
    with backend.use():
        state = step.take()
        memory = [id(array) for array in state.arrays.values()]
        run(step, 2)
        assert step.take(state) is state
        assert [id(array) for array in state.arrays.values()] == memory
        assert state.steps_taken == 2
        saved = backend.to_numpy(state.arrays["parameters"])
        np.testing.assert_array_equal(saved, parameters(step.network))
        other = pickled(state)
        run(step, 1)
        step.take(other)
        saved = backend.to_numpy(other.arrays["parameters"])
        np.testing.assert_array_equal(saved, parameters(step.network))


def halve(gradient: Array) -> None:
    gradient /= 2


@pytest.mark.parametrize("reduce", [None, halve])
def test_a_pickled_step_goes_on_as_the_original(
    backend: Backend, reduce: Callable[[Array], object] | None
) -> None:
    step = step_on(classifier(backend), OPTIMIZERS["momentum"], reduce=reduce)
    run(step, 3)
    copied = pickled(step)
    assert copied.network is not step.network
    assert copied.rows.x is None and not copied.captured
    copied.rows.set(step.rows.x, step.rows.y)
    np.testing.assert_array_equal(run(copied, 4), run(step, 4))


def test_what_lasts_of_a_step_is_what_the_optimizer_keeps(backend: Backend) -> None:
    """A state holds the parameters, the counters, and an array for each moving average or velocity."""
    kept = {"sgd": 0, "momentum": 1, "nesterov": 1, "clipped momentum": 1, "adam": 2, "rmsprop": 1}
    for name, count in kept.items():
        for reduce in (None, halve):
            step = step_on(classifier(backend), OPTIMIZERS[name], reduce=reduce)
            with backend.use():
                assert len(step.take().arrays) == 2 + count, name
