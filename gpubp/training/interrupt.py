"""Ctrl-C and SIGTERM as requests to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible(stop: Callable[[str], None]) -> Iterator[None]:
    """Return a context in which Ctrl-C and SIGTERM ask training to stop; the second one acts at once.

    After SIGTERM the context ends with SystemExit(143), the exit code of a process that SIGTERM has ended.

    Only Python's main thread may handle signals. In other threads this context changes nothing. It leaves
    Ctrl-C as it is if the process ignores it, and SIGTERM if the process ignores it or has its own handler.

    Parameters
    ----------
    stop : callable
        A function that is called with "interrupted" at the first Ctrl-C, and with "terminated" at the first
        SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled: dict[int, Any] = {}
    reasons = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
    terminated = False

    def request(number: int, frame: Any) -> None:
        nonlocal terminated
        terminated = terminated or number == signal.SIGTERM
        signal.signal(number, handled[number])
        stop(reasons[signal.Signals(number)])

    if signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN):
        handled[signal.SIGINT] = signal.getsignal(signal.SIGINT)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        handled[signal.SIGTERM] = signal.SIG_DFL
    try:
        for number in handled:
            signal.signal(number, request)
        yield
    finally:
        for number, before in handled.items():
            signal.signal(number, before)
    if terminated:
        raise SystemExit(128 + signal.SIGTERM)
