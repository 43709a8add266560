"""Single steps: updates, prepared steps, learning rates, costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_networks import TINY_RATE, classes, classifier, parameters, single_weight

import gpubp
from gpubp import SGD, Adam, Callback, DivergenceError, EarlyStopping, History, Trainer
from gpubp.backends import Backend


def test_a_step_is_one_update_by_the_gradient_of_the_batch(backend: Backend) -> None:
    x, y = classes(5)
    weights = np.array([1.0, 0, 2, 3, 0.5])
    network = classifier(backend)
    expected = network.backprop(x, y, weights)
    before = parameters(network)
    trainer = Trainer(network, SGD(learning_rate=0.1))
    trainer.step(x, y, weights)
    assert trainer.step_cost == pytest.approx(expected.cost, rel=1e-12)
    np.testing.assert_allclose(
        before - parameters(network), 0.1 * backend.to_numpy(expected.gradient), atol=1e-14
    )


def test_step_cost_is_the_last_steps_within_a_fit_and_after_it(backend: Backend) -> None:
    class Costs(Callback):
        def __init__(self) -> None:
            self.costs: list[float] = []

        def on_step_end(self, trainer: Trainer, step: int) -> None:
            self.costs.append(trainer.step_cost)

    network, costs = single_weight(backend, 1.0), Costs()
    trainer = Trainer(network, TINY_RATE, batch_size=1, shuffle=False, callbacks=[costs])
    assert math.isnan(trainer.step_cost)
    trainer.fit(np.ones((3, 1)), np.array([[2.0], [3.0], [5.0]]), epochs=2)
    assert costs.costs == [0.5, 2.0, 8.0] * 2
    assert trainer.step_cost == 8.0
    trainer.step([[1.0]], [[4.0]])
    assert trainer.step_cost == 4.5


@pytest.mark.parametrize("ahead", [1, 2, 256])
def test_steps_on_the_batches_of_an_epoch_are_that_epoch(
    backend: Backend, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.training.step.STEPS_AHEAD", ahead)
    x, y = classes(7)
    stepped, fitted = classifier(backend), classifier(backend)
    trainer = Trainer(stepped, "adam", seed=0)
    for start in (0, 3, 6):
        trainer.step(x[start : start + 3], y[start : start + 3])
    Trainer(fitted, "adam", batch_size=3, shuffle=False, seed=0).fit(x, y, epochs=1)
    np.testing.assert_array_equal(parameters(stepped), parameters(fitted))


class Spoil(Callback):
    def on_step_end(self, trainer: Trainer, step: int) -> None:
        trainer.network.parameters[...] = math.nan


def mixed_training(backend: Backend) -> Iterator[Trainer]:
    """Yield a trainer after each part of a training that mixes steps, fits, new settings and failures."""
    x, y = classes(11)
    network = classifier(backend, dropout=0.2)
    trainer = Trainer(network, Adam(learning_rate=0.1), batch_size=4, schedule="cosine", seed=0)

    def steps(count: int, rows: int = 5, weights: Any = None) -> Iterator[Trainer]:
        for k in range(count):
            trainer.step(x[k : k + rows], y[k : k + rows], weights)
            yield trainer

    def fail(trainer: Trainer, history: History) -> None:
        raise RuntimeError("oh")

    yield from steps(4)
    yield from steps(2, rows=3)
    yield from steps(2, weights=np.linspace(0, 1, 5))
    trainer.fit(x, y, epochs=2)
    yield trainer
    yield from steps(1)
    trainer.fit(x, y, epochs=1)
    trainer.fit(x, y, epochs=1)
    yield from steps(2)
    for trainer.optimizer in (Adam(learning_rate=0.01), Adam(learning_rate=0.03, beta1=0.5)):
        yield from steps(2)
    trainer.callbacks = [fail]
    with pytest.raises(RuntimeError, match="oh"):
        trainer.fit(x, y, epochs=1)
    trainer.callbacks = []
    yield from steps(2)
    with pytest.raises(ValueError, match="rows"):
        trainer.fit(x, y[:3], epochs=1)
    yield from steps(1)
    trainer.early_stopping = EarlyStopping(1, min_improvement=9)
    trainer.fit(x, y, epochs=5)
    yield from steps(2)
    trainer.optimizer = "sgd"
    yield from steps(2)
    trainer.optimizer = Adam()
    yield from steps(2)
    trainer = copy.deepcopy(trainer)
    yield from steps(2)
    good = dict(trainer._training_step.captured)

    def interrupted() -> None:
        next(iter(good.values()))()
        raise KeyboardInterrupt

    trainer._training_step.captured = dict.fromkeys(good, interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(steps(1))
    trainer._training_step.captured = good
    yield from steps(2)
    trainer.callbacks = [Spoil()]
    with pytest.raises(DivergenceError):
        trainer.fit(x, y, epochs=1)
    yield from steps(3)


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [2, 3, 256])
def test_steps_prepared_ahead_are_those_prepared_one_by_one(
    backend: Backend, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for count in (1, ahead):
        monkeypatch.setattr("gpubp.training.step.STEPS_AHEAD", count)
        trained = mixed_training(backend)
        results.append([(parameters(t.network).tobytes(), t.step_cost) for t in trained])
    assert len(results[0]) > 20
    np.testing.assert_array_equal(*([cost for _, cost in result] for result in results))
    assert [bits for bits, _ in results[0]] == [bits for bits, _ in results[1]]


def test_a_learning_rate_set_between_steps_is_that_of_the_next_one(backend: Backend) -> None:
    network, expected = single_weight(backend, 1.0), 1.0
    trainer = Trainer(network, SGD(learning_rate=0.5))
    for rate in (0.5, 0.5, 0.25, 0.5, 0.125):
        trainer.optimizer = SGD(learning_rate=rate)
        for _ in range(2):
            trainer.step([[1.0]], [[0.0]])
            expected -= rate * expected
            assert parameters(network).tolist() == [expected]


def test_a_step_in_a_callback_between_epochs_is_one_update(backend: Backend) -> None:
    one = np.ones((1, 1))

    class Steps(Callback):
        def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
            trainer.step(one, 0 * one)

        def on_epoch_end(self, trainer: Trainer, history: History) -> None:
            trainer.step(one, 0 * one)

    network = single_weight(backend, 1.0)
    trainer = Trainer(network, SGD(learning_rate=0.5), batch_size=1, callbacks=[Steps()])
    trainer.fit(np.ones((2, 1)), np.zeros((2, 1)), epochs=2)
    assert parameters(network).tolist() == [0.5**8]
    assert trainer.step_cost == 0.5 * (0.5**7) ** 2


def test_a_step_does_not_follow_the_schedule(backend: Backend) -> None:
    x, y = classes(5)
    results = []
    for schedule in ("constant", gpubp.schedules.Step(every=1, factor=0.1)):
        network = classifier(backend)
        trainer = Trainer(network, "sgd", schedule=schedule)
        for _ in range(3):
            trainer.step(x, y)
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)


def test_a_step_takes_any_memory_order(backend: Backend) -> None:
    x, y = classes(6)
    one_hot = np.eye(3)[y]
    results = []
    for x_given, y_given in ((x, one_hot), (np.asfortranarray(x), np.asfortranarray(one_hot))):
        network = classifier(backend)
        trainer = Trainer(network, "sgd", batch_size=4, seed=0)
        trainer.step(x_given, y_given)
        trainer.fit(x_given, y_given, epochs=1, validation_data=(x_given, y_given))
        results.append(parameters(network))
    np.testing.assert_array_equal(*results)
