"""`TrainingStep` by itself: captures of several steps, and what a captured step does not check."""

from __future__ import annotations

import numpy as np
import pytest
from single_steps import FORM, OPTIMIZERS, X, Y, by_trainer, step_on
from small_networks import classifier, parameters

from gpubp import SGD, Adam, AdamW, Network, Optimizer, Trainer
from gpubp.backends import Backend


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


def test_the_penalties_of_steps_outlast_another_prepare(backend: Backend) -> None:
    step = step_on(classifier(backend), SGD(learning_rate=0.1, l2=2.0))
    step.sums_squares, squares = True, []
    with backend.use():
        for costs in ((), None):
            step.prepare(4, costs=step.costs() if costs is None else costs)
            for _ in range(2):
                weights = parameters(step.network)[: step.network.layout.n_weights]
                squares.append((weights**2).sum())
                step.run(FORM)
        np.testing.assert_allclose(step.penalties(), squares, rtol=1e-12)
        step.layer_rates = [0.5, 1]
        np.testing.assert_allclose(step.penalties(), squares, rtol=1e-12)


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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_constant_rates_are_those_of_a_factor_for_each_step(name: str) -> None:
    step = step_on(classifier("numpy"), OPTIMIZERS[name])
    state = step._optimizer_state
    for factor, before, steps in ((1.0, 0, 1), (1.0, 1, 3), (1.0, 250, 7), (1.0, 3, 300),
                                  (1.0, 299, 4), (0.5, 299, 4), (1.0, 0, 2), (1.0, -2, 5)):  # fmt: skip
        for penalty in (1.0, 0.25):
            rates = state.rates(factor, penalty, before, steps)
            each = np.full(steps, factor)
            expected = state.rates(each, np.full(steps, penalty), before, steps)
            np.testing.assert_array_equal(rates, expected)


def test_rates_ahead_are_forgotten_with_the_optimizer() -> None:
    step = step_on(classifier("numpy"), Adam(learning_rate=0.1))
    assert step.prepare(2).tolist() == [0.1, 0.1]
    step.optimizer = Adam(learning_rate=0.2)
    assert step.prepare(2).tolist() == [0.2, 0.2]
