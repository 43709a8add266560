"""Callbacks: their order, and how they stop a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_networks import TINY_RATE, Log, classes, classifier, parameters, single_weight

from gpubp import SGD, Callback, EarlyStopping, History, Trainer
from gpubp.backends import Backend
from gpubp.training import schedules


def test_callbacks_are_called_in_order(backend: Backend) -> None:
    log: list[Any] = []

    def function(trainer: Trainer, history: History) -> None:
        log.append(("f", "epoch ends", trainer, len(history)))

    callbacks = [Log("a", log), function, Log("b", log)]
    trainer = Trainer(classifier(backend), "sgd", batch_size=4, callbacks=callbacks)
    trainer.fit(*classes(6), epochs=2)
    told = [("fit begins", 2, 2)]
    for epoch in range(2):
        told += [("epoch begins", epoch), ("step", 0), ("step", 1), ("epoch ends", epoch + 1)]
    told += [("fit ends", 2)]
    expected = []
    for event, *numbers in told:
        names = "afb" if event == "epoch ends" else "ab"
        expected += [(name, event, trainer, *numbers) for name in names]
    assert log == expected


def test_steps_are_counted_by_updates_where_batches_accumulate() -> None:
    log: list[Any] = []
    trainer = Trainer(classifier(), "sgd", batch_size=2, accumulate=2, callbacks=[Log("a", log)])
    trainer.fit(*classes(9), epochs=1)
    assert log[0][3:] == (1, 3)
    assert [entry[3] for entry in log if entry[1] == "step"] == [0, 1, 2]


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if step == self.step:
            trainer.stop("enough")


def test_stop_ends_training_after_the_current_step(backend: Backend) -> None:
    network = single_weight(backend, 1.0)
    trainer = Trainer(network, TINY_RATE, batch_size=2, shuffle=False, callbacks=[StopAt(1)])
    x = np.ones((6, 1))
    y = np.array([[1.0], [1.0], [2.0], [2.0], [9.0], [9.0]])
    history = trainer.fit(x, y, epochs=5)
    assert (history.stopped, len(history)) == ("enough", 1)
    assert history.cost == [0.25]  # the mean over the two batches that ran


def test_stop_at_the_end_of_an_epoch_ends_training_there_and_the_next_fit_starts_afresh() -> None:
    def stop(trainer: Trainer, history: History) -> None:
        if len(history) == 2:
            trainer.stop("enough")

    trainer = Trainer(classifier(), "sgd", callbacks=[stop])
    x, y = classes(4)
    history = trainer.fit(x, y, epochs=5)
    assert (history.stopped, len(history)) == ("enough", 2)
    history = trainer.fit(x, y, epochs=1)
    assert (history.stopped, len(history)) == ("epochs", 1)


class ReadByBatches:
    """Rows that are no array: a fit reads them batch by batch."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape = rows, rows.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.rows[index]


class CallAtStep(Callback):
    def __init__(self, call: Callable[[Trainer], Any]) -> None:
        self.call = call

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.call(trainer)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "call",
    [lambda trainer: trainer.step(*classes(4)), lambda trainer: trainer.fit(*classes(4), epochs=1)],
    ids=["step", "fit"],
)
def test_a_callback_within_an_epoch_cannot_train_with_its_trainer(
    backend: Backend, call: Callable[[Trainer], Any], stream: bool
) -> None:
    network = classifier(backend)
    before = parameters(network)
    trainer = Trainer(network, "adam", batch_size=2, callbacks=[CallAtStep(call)], seed=0)
    x, y = classes(6)
    with pytest.raises(RuntimeError, match="the trainer is in the middle of an epoch"):
        trainer.fit(ReadByBatches(x) if stream else x, y, epochs=1)
    np.testing.assert_array_equal(parameters(network), before)
    trainer.callbacks = []
    trainer.step(x, y)
    trainer.fit(x, y, epochs=1)


def test_a_step_after_an_epoch_that_was_ended_has_the_optimizers_own_rate(
    backend: Backend,
) -> None:
    network = single_weight(backend, 1.0)
    x, y = np.ones((2, 1)), np.zeros((2, 1))

    def step(trainer: Trainer, history: History) -> None:
        before = float(parameters(network)[0])
        trainer.step(x, y)
        steps.append((before - float(parameters(network)[0])) / before)

    steps: list[float] = []
    trainer = Trainer(
        network,
        SGD(learning_rate=0.125),
        batch_size=2,
        schedule=schedules.InverseScaling(1.0),
        callbacks=[StopAt(1), step],
    )
    trainer.fit(np.ones((8, 1)), np.zeros((8, 1)), epochs=1)
    assert steps == [0.125]


def test_early_stopping_set_when_a_fit_begins_holds_for_that_fit() -> None:
    class StopEarly(Callback):
        def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
            trainer.early_stopping = EarlyStopping(1, min_improvement=1e9)

    trainer = Trainer(classifier(), "sgd", callbacks=[StopEarly()])
    history = trainer.fit(*classes(4), epochs=5)
    assert (history.stopped, len(history)) == ("early stopping", 2)


def test_the_reason_to_stop_is_that_of_the_latest_fit() -> None:
    def stop(trainer: Trainer, history: History) -> None:
        trainer.stop("enough")

    trainer = Trainer(classifier(), "sgd", callbacks=[stop])
    for callbacks, reason in (([stop], "enough"), ([], ""), ([stop], "enough")):
        trainer.callbacks = callbacks
        trainer.fit(*classes(4), epochs=2)
        assert trainer.stop_reason == reason
