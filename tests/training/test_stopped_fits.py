"""Ctrl-C at every moment of a fit that writes checkpoints, and fits that are stopped as they begin."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from environment import rounds
from resuming import assert_same, without_seconds
from small_networks import classes, classifier, parameters

from gpubp import SGD, Callback, Checkpoint, History, Trainer
from gpubp.training import run, state

X, Y = classes(10, seed=3)


def trainer(**options: Any) -> Trainer:
    """Make a trainer of 3 batches an epoch."""
    return Trainer(
        classifier("numpy"),
        **{"optimizer": SGD(learning_rate=0.1), "batch_size": 4, "seed": 7, **options},
    )


class SignalAt:
    """A trace function that sends SIGINT before the nth bytecode of some functions of a module."""

    def __init__(self, module: Any, names: set[str], moment: int) -> None:
        self.file, self.names, self.left = module.__file__, names, moment

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename != self.file or code.co_name not in self.names:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == -1:
                signal.raise_signal(signal.SIGINT)
        return self


class Steps(Callback):
    """Counts the steps."""

    def __init__(self) -> None:
        self.done = 0

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.done += 1


@pytest.mark.slow
def test_control_c_at_any_moment_of_a_fit_leaves_a_checkpoint_of_its_last_step(
    tmp_path: Path,
) -> None:
    """With GPUBP_TEST_LONG=1 it comes before each bytecode of the loops of the fit, else before some."""
    whole = trainer()
    expected = whole.fit(X, Y, epochs=2)
    moment, ended, tried = 0, False, 0
    while not ended:
        folder, steps = tmp_path / str(moment), Steps()
        stopped = trainer(checkpoint=Checkpoint(folder, "1000 hours"), callbacks=[steps])
        before = sys.gettrace()
        signal_at = SignalAt(run, {"train", "_run_epoch", "_run_batches"}, moment)
        sys.settrace(signal_at)
        try:
            stopped.fit(X, Y, epochs=2)
        finally:
            sys.settrace(before)
        ended = signal_at.left >= 0
        again = trainer()
        history = again.resume(folder)
        snapshot = again._snapshot
        assert snapshot is not None
        assert 3 * len(history) + len(snapshot.costs) == steps.done, moment
        assert_same((again, again.fit(X, Y, epochs=2)), (whole, expected))
        moment += rounds(7, 1)
        tried += 1
    print(f"{tried} moments")
    assert moment > 500


def test_control_c_at_any_moment_of_restoring_a_state_leaves_it_whole() -> None:
    first, moment, ended = trainer(), 0, False
    first.fit(X, Y, epochs=1)
    with first.backend.use():
        states = [first._training_step.take()]
        first.fit(X, Y, epochs=1)
        states.append(first._training_step.take())
        seen = set()
        while not ended:
            first._training_step.restore(states[0])
            before = sys.gettrace()
            signal_at = SignalAt(state, {"restore"}, moment)
            sys.settrace(signal_at)
            try:
                first._training_step.restore(states[1])
                ended = signal_at.left >= 0
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)
            now = first._training_step.take()
            same = [
                now.steps_taken == state.steps_taken
                and all((now.arrays[name] == array).all() for name, array in state.arrays.items())
                for state in states
            ]
            assert same in ([True, False], [False, True]), moment
            seen.add(same[1])
            moment += 1
    assert moment > 20 and True in seen


class FitWithin(Callback):
    """Sends Ctrl-C after the last step of the first epoch, and then calls another fit."""

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    def on_epoch_end(self, trainer: Trainer, history: History) -> None:
        callbacks, trainer.callbacks = trainer.callbacks, []
        assert trainer.fit(X, Y, epochs=1).stopped == "epochs"
        trainer.callbacks = callbacks


def test_a_fit_within_a_fit_does_not_forget_control_c() -> None:
    history = trainer(callbacks=[FitWithin()]).fit(X, Y, epochs=3)
    assert (len(history), history.stopped) == (1, "interrupted")


class StopAtOnce(Callback):
    """Ends training before its first step."""

    def on_fit_begin(self, trainer: Trainer, epochs: int, steps_per_epoch: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class StopAfterStep(Callback):
    def on_step_end(self, trainer: Trainer, step: int) -> None:
        trainer.stop("enough")


def test_a_fit_that_is_stopped_before_it_goes_on_is_as_it_was(tmp_path: Path) -> None:
    options = {"early_stopping": 2, "checkpoint": tmp_path}
    trainer(**options, callbacks=[StopAfterStep()]).fit(X, Y, epochs=2)
    again = trainer(**options, callbacks=[StopAtOnce()])
    again.resume(tmp_path)
    before = parameters(again.network)
    assert again.fit(X, Y, epochs=2).stopped == "interrupted"
    np.testing.assert_array_equal(parameters(again.network), before)
    again, whole = trainer(**options), trainer(early_stopping=2)
    again.resume(tmp_path)
    assert without_seconds(again.fit(X, Y, epochs=2)) == without_seconds(whole.fit(X, Y, epochs=2))
    np.testing.assert_array_equal(parameters(again.network), parameters(whole.network))
