"""Interrupt methods in random moments, and count what is wrong afterwards; a program of its own.

Its arguments are the kind of network and the number of calls of each method. It prints JSON.
"""

from __future__ import annotations

import faulthandler
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from gpubp import Activation, Network, Trainer

SMOOTH = Activation.from_functions(
    "smooth", lambda xp, z: z / xp.sqrt(1 + z * z), lambda xp, z: (1 + z * z) ** -1.5
)
HIDDEN = {"compiled": "tanh", "array functions": SMOOTH}
X = np.random.default_rng(0).normal(size=(256, 32)).astype(np.float32)
Y = np.arange(256) % 10
LONGEST_HANG = 120


def make_trainer(kind: str) -> Trainer:
    network = Network(
        (32, 128, 10), hidden=HIDDEN[kind], output="softmax", backend="numpy", seed=0, dropout=0.1
    )
    return Trainer(network, "adam", seed=0)


class Timer:
    """Sends Ctrl-C while a call runs.

    Python runs the handler of the timer's signal where it would run that of Ctrl-C, but the timer chooses
    the moment. If another thread receives the signal, it may arrive after the call, and is then ignored.
    """

    def __init__(self) -> None:
        self.armed = False
        signal.signal(signal.SIGALRM, self.handle)

    def handle(self, number: int, frame: Any) -> None:
        if self.armed:
            signal.raise_signal(signal.SIGINT)

    def outcome(self, call: Callable[[], Any], delay: float) -> Any:
        """Return the call's result, or KeyboardInterrupt if Ctrl-C came `delay` seconds after it began."""
        try:
            self.armed = True
            signal.setitimer(signal.ITIMER_REAL, delay)
            result = call()
            self.armed = False
            return result
        except KeyboardInterrupt:
            self.armed = False
            return KeyboardInterrupt


def bits(result: Any) -> bytes:
    if hasattr(result, "a"):  # of forward and backprop
        result = np.concatenate([np.ravel(a) for a in result.a])
    return np.asarray(result).tobytes()


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info()]


class Calls:
    """Calls of a method without effect; every result must be that of the first call."""

    def __init__(self, method: str, kind: str) -> None:
        self.network = make_trainer(kind).network
        arguments = (X,) if method in ("predict", "forward") else (X, Y)
        self.call = lambda: getattr(self.network, method)(*arguments)
        self.expected, self.predicted = bits(self.call()), bits(self.network.predict(X))

    def faults(self, result: Any) -> list[str]:
        wrong = result is not KeyboardInterrupt and bits(result) != self.expected
        predicts_wrong = bits(self.network.predict(X)) != self.predicted
        return ["wrong result"] * wrong + ["wrong prediction"] * predicts_wrong


class Steps:
    """Calls of `Trainer.step`; a second trainer makes as many steps without interrupts."""

    def __init__(self, kind: str) -> None:
        self.trainer, self.other = make_trainer(kind), make_trainer(kind)
        self.calls, self.interrupts = 0, 0

    def call(self) -> None:
        self.trainer.step(X, Y)

    def faults(self, result: Any) -> list[str]:
        self.calls += 1
        self.interrupts += result is KeyboardInterrupt
        step, other = self.trainer._training_step, self.other._training_step
        while other.steps_taken < step.steps_taken:
            self.other.step(X, Y)
        lost = step.steps_taken < self.calls - self.interrupts
        counted = (step.steps_taken, step.steps_done) == tuple(step._counters)
        same = bits(self.trainer.network.parameters) == bits(self.other.network.parameters)
        predicts = bits(self.trainer.network.predict(X)) == bits(self.other.network.predict(X))
        return (
            ["step not counted"] * lost
            + ["counters differ"] * (not counted)
            + ["parameters of another number of steps"] * (not same)
            + ["wrong prediction"] * (not predicts)
        )


def trial(method: str, kind: str, count: int, timer: Timer) -> dict[str, Any]:
    calls = Steps(kind) if method == "step" else Calls(method, kind)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        result = calls.call()
        times.append(time.perf_counter() - began)
        assert not calls.faults(result)
    longest, rng = 1.5 * sorted(times)[10], random.Random(0)
    threads, alive = blas_threads(), set(threading.enumerate())
    found: Counter[str] = Counter()
    interrupts = 0
    for _ in range(count):
        faulthandler.dump_traceback_later(LONGEST_HANG, exit=True)
        result = timer.outcome(calls.call, rng.uniform(1e-6, longest))
        interrupts += result is KeyboardInterrupt
        found.update(["BLAS has other threads"] * (blas_threads() != threads))
        found.update(["a thread ended"] * (not alive <= set(threading.enumerate())))
        found.update(calls.faults(result))
    faulthandler.cancel_dump_traceback_later()
    return {"interrupts": interrupts, "faults": found}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    kind, count, timer = sys.argv[1], int(sys.argv[2]), Timer()
    methods = "predict", "forward", "backprop", "cost", "step"
    print(json.dumps({method: trial(method, kind, count, timer) for method in methods}))
