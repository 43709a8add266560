"""Ctrl-C while training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_networks import parameters

from gpubp import Callback, History, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.interrupt import interruptible

X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.arange(8) % 2


@pytest.fixture(autouse=True)
def the_handler_is_pythons_own_before_and_after() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


class ControlC(Callback):
    """Sends Ctrl-C `times` times after a step; steps are counted from 0 over all epochs."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times, self.taken = step, times, 0

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if self.taken == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        self.taken += 1


class End(Callback):
    def __init__(self) -> None:
        self.histories: list[History] = []

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        self.histories.append(history)


def trainer_for(backend: Backend | str, *callbacks: Any) -> Trainer:
    network = Network((3, 4, 2), output="softmax", backend=backend, dtype="float64", seed=0)
    return Trainer(network, "adam", batch_size=2, shuffle=False, callbacks=callbacks)


def test_control_c_ends_training_after_the_step_and_returns_the_history_so_far(
    backend: Backend,
) -> None:
    end = End()
    trainer = trainer_for(backend, ControlC(step=5), end)
    history = trainer.fit(X, Y, epochs=100, validation_data=(X, Y))
    assert history.stopped == "interrupted"
    assert len(history) == len(history.validation_cost) == 2
    assert end.histories == [history]

    stepped = trainer_for(backend)
    for step in range(6):
        rows = slice(step % 4 * 2, step % 4 * 2 + 2)
        stepped.step(X[rows], Y[rows])
    np.testing.assert_array_equal(parameters(trainer.network), parameters(stepped.network))


def test_control_c_before_the_first_step_still_ends_training() -> None:
    class AtOnce(Callback):
        def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    history = trainer_for("numpy", AtOnce()).fit(X, Y, epochs=100)
    assert (history.stopped, len(history)) == ("interrupted", 1)


def test_control_c_while_a_fit_validates_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_for("numpy")
    observe = trainer.schedule.observe

    def interrupted(cost: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        observe(cost)

    monkeypatch.setattr(trainer.schedule, "observe", interrupted)
    history = trainer.fit(X, Y, epochs=100, validation_data=(X, Y))
    assert (history.stopped, len(history)) == ("interrupted", 1)


def test_the_fit_after_an_interrupted_one_runs_to_its_end() -> None:
    trainer = trainer_for("numpy", ControlC(step=0))
    assert trainer.fit(X, Y, epochs=3).stopped == "interrupted"
    history = trainer.fit(X, Y, epochs=3)
    assert (history.stopped, len(history)) == ("epochs", 3)


def test_a_second_control_c_ends_training_at_once_and_leaves_the_network_as_it_was(
    backend: Backend,
) -> None:
    end = End()
    trainer = trainer_for(backend, ControlC(step=5, times=2), end)
    before = parameters(trainer.network)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=100)
    np.testing.assert_array_equal(parameters(trainer.network), before)
    assert len(end.histories) == 1


def test_the_handler_that_was_there_comes_back_and_gets_the_second_control_c() -> None:
    received: list[int] = []

    def handler(number: int, frame: Any) -> None:
        received.append(number)

    signal.signal(signal.SIGINT, handler)
    try:
        history = trainer_for("numpy", ControlC(step=0, times=2)).fit(X, Y, epochs=9)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (history.stopped, received) == ("interrupted", [signal.SIGINT])


def test_the_handler_comes_back_after_a_fit_that_fails() -> None:
    def fail(trainer: Trainer, history: History) -> None:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        trainer_for("numpy", fail).fit(X, Y, epochs=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_ignores_control_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = trainer_for("numpy", ControlC(step=0)).fit(X, Y, epochs=2)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert (history.stopped, len(history)) == ("epochs", 2)


def test_fit_works_outside_the_main_thread_and_gives_the_same_bits(backend: Backend) -> None:
    here, there = trainer_for(backend), trainer_for(backend)
    here.fit(X, Y, epochs=2)
    histories: list[History] = []
    thread = threading.Thread(target=lambda: histories.append(there.fit(X, Y, epochs=2)))
    thread.start()
    thread.join()
    assert [history.stopped for history in histories] == ["epochs"]
    np.testing.assert_array_equal(parameters(there.network), parameters(here.network))


def test_the_first_interrupt_asks_to_stop_and_the_second_interrupts() -> None:
    reasons: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible(reasons.append):
        os.kill(os.getpid(), signal.SIGINT)
        assert reasons == ["interrupted"]
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    assert reasons == ["interrupted"]
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_ctrl_c_stays_as_it_is() -> None:
    seen = []

    def run() -> None:
        with interruptible(lambda reason: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
