"""Callbacks: their order, and how they stop a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from small_networks import TINY_RATE, Log, classes, classifier, single_weight

from gpubp import Callback, History, Trainer
from gpubp.backends import Backend


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
