"""Fits with checkpoints that Ctrl-C or SIGTERM stops, and what they say."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from resuming import X, Y, assert_same, numbers, trainer
from small_networks import parameters

from gpubp import Callback, Checkpoint, Network, Trainer
from gpubp.training import run


class Send(Callback):
    def __init__(self, number: int, step: int, times: int = 1) -> None:
        self.number, self.step, self.times = number, step, times

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.step -= 1
        if self.step == 0:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


def test_control_c_writes_a_checkpoint_and_says_how_to_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = trainer(checkpoint=tmp_path, callbacks=[Send(signal.SIGINT, 8)])
    with caplog.at_level(logging.WARNING, "gpubp"):
        assert first.fit(X, Y, epochs=4).stopped == "interrupted"
    assert [record.getMessage() for record in caplog.records] == [
        f"training was interrupted; Trainer.resume({str(tmp_path)!r}) goes on in epoch 2,"
        " after 2 of 6 steps"
    ]
    again, whole = trainer(), trainer()
    again.resume(tmp_path)
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


def test_sigterm_writes_a_checkpoint_and_ends_the_process_with_143(tmp_path: Path) -> None:
    first = trainer(checkpoint=tmp_path, callbacks=[Send(signal.SIGTERM, 8)])
    with pytest.raises(SystemExit) as end:
        first.fit(X, Y, epochs=4)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    again, whole = trainer(), trainer()
    again.resume(tmp_path)
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


def test_a_processs_own_handler_of_sigterm_stays(tmp_path: Path) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        history = trainer(callbacks=[Send(signal.SIGTERM, 8)]).fit(X, Y, epochs=2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM] and history.stopped == "epochs"


def test_a_second_control_c_ends_at_once_and_what_is_on_disk_is_whole(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, every="1 step")
    first = trainer(checkpoint=checkpoint, callbacks=[Send(signal.SIGINT, 8, times=2)])
    before = parameters(first.network)
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, Y, epochs=4)
    np.testing.assert_array_equal(parameters(first.network), before)
    assert numbers(tmp_path) == [5, 6, 7]
    again, whole = trainer(), trainer()
    again.resume(tmp_path)
    assert_same((again, again.fit(X, Y, epochs=4)), (whole, whole.fit(X, Y, epochs=4)))


SCRIPT = """
    import sys
    import numpy as np
    import gpubp

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)
    network = gpubp.Network((5, 16, 3), hidden="tanh", output="softmax", dropout=0.2, dtype="float64",
                            backend="numpy", seed=0)
    trainer = gpubp.Trainer(network, "adam", batch_size=8, schedule="cosine", seed=1,
                            checkpoint=gpubp.Checkpoint(sys.argv[1], every="3 steps"),
                            callbacks=[lambda trainer, history: print("training", flush=True)])
    if trainer.checkpoint.newest is not None:
        trainer.resume(sys.argv[1])
    trainer.fit(x, y, epochs=int(sys.argv[2]), validation_data=(x, y))
    network.save(sys.argv[1] + ".model")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_script_that_is_stopped_goes_on_when_it_is_run_again(
    tmp_path: Path, number: int, code: int
) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def command(folder: str) -> list[str]:
        return [sys.executable, "-X", "dev", str(script), str(tmp_path / folder), "100"]

    process = subprocess.Popen(
        command("run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "training\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert process.returncode == code, said
    assert said.startswith("training was ") and " goes on " in said
    assert len(said.splitlines()) == 1
    for folder in ("run", "whole"):
        subprocess.run(command(folder), check=True, timeout=100, capture_output=True)
    first, whole = (tmp_path / f"{folder}.model" for folder in ("run", "whole"))
    assert first.read_bytes() == whole.read_bytes()


class ControlCAtLine:
    """A trace function that sends Ctrl-C before a line of `Run.train` and the methods it calls.

    Lines are numbered in the order they run in.
    """

    def __init__(self, line: int) -> None:
        self.left, self.trains = line, False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != run.__file__:
            return None
        self.trains = self.trains or frame.f_code is run.Run.train.__code__
        if event == "line" and self.trains:
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            self.left -= 1
        return self


def test_control_c_at_any_line_leaves_the_checkpoint_of_the_last_step(tmp_path: Path) -> None:
    stopped = []
    while "end" not in stopped:
        checkpoint = Checkpoint(tmp_path / str(len(stopped)), every="1000 hours")
        fit = trainer(checkpoint=checkpoint, batch_size=11)
        control_c, before = ControlCAtLine(len(stopped)), sys.gettrace()
        sys.settrace(control_c)
        try:
            history = fit.fit(X, Y, epochs=2)
        finally:
            sys.settrace(before)
        written = Network.load(checkpoint.newest)
        np.testing.assert_array_equal(parameters(written), parameters(fit.network))
        stopped.append("end" if control_c.left >= 0 else history.stopped)
    assert stopped.count("interrupted") > 50
