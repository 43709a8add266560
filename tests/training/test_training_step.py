"""`TrainingStep` by itself: captures of several steps, reductions between its halves, its state."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from small_networks import classes, classifier, parameters

from gpubp import SGD, Adam, AdamW, Network, Optimizer, RMSProp, Trainer
from gpubp.backends import Array, Backend
from gpubp.training import BatchForm, TrainingStep
from gpubp.training.state import State

X, Y = classes(24)
FORM = BatchForm(24, labels=True, weighted=False, block_limit=None)

OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.1),
    "momentum": SGD(learning_rate=0.1, momentum=0.9),
    "nesterov": SGD(learning_rate=0.1, momentum=0.9, nesterov=True),
    "clipped momentum": SGD(learning_rate=0.1, momentum=0.9, clip_norm=0.05),
    "penalised momentum": SGD(learning_rate=0.1, momentum=0.9, l2=0.1),
    "adam": Adam(learning_rate=0.01),
    "rmsprop": RMSProp(learning_rate=0.01),
}


def step_on(
    network: Network, optimizer: Optimizer, x: Any = X, y: Any = Y, **options: Any
) -> TrainingStep:
    """Make a training step that is ready to run on all of x and y."""
    step = TrainingStep(network, optimizer, dropout_seed=5, **options)
    backend = network.backend
    step.rows.set(backend.asarray(np.asarray(x, network.dtype)), backend.asarray(y))
    return step


def by_trainer(network: Network, optimizer: Optimizer, steps: int) -> np.ndarray:
    """Make `steps` steps of a trainer on all of X and Y; return the parameters."""
    trainer = Trainer(network, optimizer, seed=0)
    for _ in range(steps):
        trainer.step(X, Y)
    return parameters(network)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_one_capture_holds_several_steps(backend: Backend, optimizer: Optimizer) -> None:
    expected = by_trainer(classifier(backend), optimizer, 12)
    network = classifier(backend)
    step = step_on(network, optimizer)
    with backend.use():
        step.make_room([FORM], 12)
        step.prepare(12)
        gradient, update = step.halves(FORM)

        def three_steps() -> None:
            for _ in range(3):
                gradient()
                update()

        replay = backend.capture(three_steps)
        for _ in range(4):
            replay()
            step.count(3)
        costs = step.costs()
    np.testing.assert_array_equal(parameters(network), expected)
    assert step.steps_taken == len(costs) == 12
    assert costs[0] == pytest.approx(classifier(backend).cost(X, Y), rel=1e-12)
    assert (np.diff(costs) < 0).all()


def test_one_capture_holds_the_steps_of_several_networks(backend: Backend) -> None:
    kinds = [
        (classifier, SGD(learning_rate=0.1, momentum=0.9)),
        (lambda b: classifier(b, seed=1, hidden="relu"), Adam()),
        (
            lambda b: Network((3, 7, 5, 3), output="softmax", backend=b, seed=2),
            AdamW(clip_norm=0.1),
        ),
    ]
    expected = [by_trainer(make(backend), optimizer, 5) for make, optimizer in kinds]
    steps = [step_on(make(backend), optimizer) for make, optimizer in kinds]
    with backend.use():
        for step in steps:
            step.make_room([FORM], 5)
            step.prepare(5)
        halves = [half for step in steps for half in step.halves(FORM)]

        def all_of_them() -> None:
            for half in halves:
                half()

        replay = backend.capture(all_of_them)
        for _ in range(5):
            replay()
            for step in steps:
                step.count()
        costs = [step.costs() for step in steps]
    for step, parameters_then in zip(steps, expected, strict=True):
        np.testing.assert_array_equal(parameters(step.network), parameters_then)
    assert [len(each) for each in costs] == [5, 5, 5]


def test_a_capture_of_several_steps_follows_the_rows(backend: Backend) -> None:
    """Each network's step takes its batch from its own `Rows`, by its own counters."""
    networks = [classifier(backend), classifier(backend, seed=1)]
    twins = [classifier(backend), classifier(backend, seed=1)]
    optimizer = SGD(learning_rate=0.1, momentum=0.9)
    steps = [step_on(network, optimizer) for network in networks]
    trainers = [Trainer(twin, optimizer, seed=0) for twin in twins]
    form = FORM._replace(rows=6)
    with backend.use():
        for step in steps:
            step.prepare(8)
        halves = [half for step in steps for half in step.halves(form)]

        def both() -> None:
            for half in halves:
                half()

        replay = backend.capture(both)
        for k in range(8):
            for step, trainer, first in zip(steps, trainers, (k, 17 - k), strict=True):
                part = slice(first, first + 6)
                step.rows.set(backend.asarray(X[part].copy()), backend.asarray(Y[part].copy()))
                trainer.step(X[part], Y[part])
            replay()
    for network, twin in zip(networks, twins, strict=True):
        np.testing.assert_array_equal(parameters(network), parameters(twin))


# Reductions


def follow(optimizer: Optimizer, theta: np.ndarray, gradients: Sequence[np.ndarray]) -> np.ndarray:
    """Update `theta` by these gradients, one after another, with the published formulas."""
    theta, v, m = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    rate = optimizer.learning_rate
    for t, given in enumerate(gradients, 1):
        norm = np.linalg.norm(given)
        g = given * min(1.0, (optimizer.clip_norm or np.inf) / norm)
        if isinstance(optimizer, SGD):
            v = optimizer.momentum * v + g
            theta -= rate * (g + optimizer.momentum * v if optimizer.nesterov else v)
        elif isinstance(optimizer, Adam):
            m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
            v = optimizer.beta2 * v + (1 - optimizer.beta2) * g**2
            c1, c2 = 1 - optimizer.beta1**t, 1 - optimizer.beta2**t
            theta -= rate * (m / c1) / (np.sqrt(v / c2) + optimizer.epsilon)
        else:
            raise NotImplementedError(optimizer)
    return theta


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "clipped momentum", "adam"])
def test_a_reduction_may_change_the_gradient_in_place(backend: Backend, name: str) -> None:
    network, seen = classifier(backend), []

    def double(gradient: Array) -> None:
        seen.append(np.array(backend.to_numpy(gradient)))
        gradient *= 2

    step = step_on(network, OPTIMIZERS[name], reduce=double)
    start, expected = parameters(network), []
    with backend.use():
        step.prepare()
        for _ in range(5):
            expected.append(np.array(backend.to_numpy(network.backprop(X, Y).gradient)))
            step.run(FORM)
    # The reduction is given the gradient, not the velocity.
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)
    doubled = follow(OPTIMIZERS[name], start, [2 * gradient for gradient in expected])
    np.testing.assert_allclose(parameters(network), doubled, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_averaged_gradients_of_two_halves_of_a_batch_train_as_the_whole_batch(
    backend: Backend, optimizer: Optimizer
) -> None:
    whole = by_trainer(classifier(backend), optimizer, 6)
    left: list[Array] = []

    def leave(gradient: Array) -> None:
        left[:] = [gradient.copy()]

    def average(gradient: Array) -> None:
        gradient += left[0]
        gradient /= 2

    first, second = classifier(backend), classifier(backend)
    leaves = step_on(first, optimizer, X[:12], Y[:12], reduce=leave)
    averages = step_on(second, optimizer, X[12:], Y[12:], reduce=average)
    form = FORM._replace(rows=12)
    with backend.use():
        leaves.prepare()
        averages.prepare()
        for _ in range(6):
            first.parameters = second.parameters
            leaves.run(form)
            averages.run(form)
    np.testing.assert_allclose(parameters(second), whole, rtol=1e-9, atol=1e-12)


def test_a_reduction_finds_the_sum_of_all_shards(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backend, "plan", lambda rows, *_: [[slice(0, 5)], [slice(5, 16)], [slice(16, rows)]]
    )
    for optimizer in (OPTIMIZERS["momentum"], OPTIMIZERS["adam"]):
        network, seen = classifier(backend), []
        step = step_on(
            network,
            optimizer,
            reduce=lambda gradient, seen=seen: seen.append(np.array(backend.to_numpy(gradient))),
        )
        with backend.use():
            step.make_room([FORM], 3)
            step.prepare(3)
            expected = []
            for _ in range(3):
                expected.append(backend.to_numpy(network.backprop(X, Y).gradient).copy())
                step.run(FORM)
        np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", [OPTIMIZERS["momentum"], OPTIMIZERS["adam"]])
def test_a_reduction_finds_a_gradient_without_the_loss_scale(
    backend: Backend, optimizer: Optimizer
) -> None:
    def made() -> Network:
        return classifier(backend, dtype="float32", precision="float16")

    expected = by_trainer(made(), optimizer, 4)
    network, seen = made(), []
    gradient = backend.to_numpy(network.backprop(X, Y).gradient).copy()
    step = step_on(network, optimizer, reduce=lambda g: seen.append(np.array(backend.to_numpy(g))))
    with backend.use():
        step.prepare()
        for _ in range(4):
            step.run(FORM)
        assert step.loss_scale > 1
    np.testing.assert_allclose(seen[0], gradient, rtol=0.02, atol=1e-3)
    np.testing.assert_allclose(parameters(network), expected, rtol=1e-4, atol=1e-5)


def test_a_gradient_that_another_process_makes_infinite_changes_nothing_but_the_loss_scale(
    backend: Backend,
) -> None:
    network = classifier(backend, dtype="float32", precision="float16")

    def spoil(gradient: Array) -> None:
        gradient[3] = np.inf

    step = step_on(network, OPTIMIZERS["momentum"], reduce=spoil)
    with backend.use():
        step.prepare()
        before, scale = parameters(network), step.loss_scale
        step.run(FORM)
        assert step.loss_scale == scale / 2
    np.testing.assert_array_equal(parameters(network), before)


# States


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
        memory = [id(array) for array in state.arrays]
        run(step, 2)
        assert step.take(state) is state
        assert [id(array) for array in state.arrays] == memory
        assert state.steps_taken == 2
        np.testing.assert_array_equal(backend.to_numpy(state.arrays[0]), parameters(step.network))
        other = pickled(state)
        run(step, 1)
        step.take(other)
        np.testing.assert_array_equal(backend.to_numpy(other.arrays[0]), parameters(step.network))


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


# What a captured step does not check


def test_a_step_without_rows_is_an_error(backend: Backend) -> None:
    step = step_on(classifier(backend), OPTIMIZERS["adam"])
    with backend.use():
        step.prepare()
        step.run(FORM)
        before = parameters(step.network)
        step.release()
        with pytest.raises(RuntimeError, match="no rows"):
            step.run(FORM)
    np.testing.assert_array_equal(parameters(step.network), before)


def test_more_steps_than_there_is_room_for_are_an_error(backend: Backend) -> None:
    step = step_on(classifier(backend), OPTIMIZERS["sgd"])
    with backend.use():
        step.prepare()
        for _ in range(256):
            step.run(FORM)
        with pytest.raises(RuntimeError, match="256 steps were run; prepare comes before another"):
            step.run(FORM)
        step.prepare(2)
        step.run(FORM)
        assert len(step.costs()) == 1
