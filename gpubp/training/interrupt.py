"""Ctrl-C and SIGTERM as requests to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..signals import PatientHandler

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
    before_int, before_term = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    requests: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        requests.append(number)
        if requests.count(number) == 1:
            stop("interrupted")
        elif callable(before_int):
            before_int(number, frame)
        else:
            signal.signal(number, before_int)
            signal.raise_signal(number)

    def terminate(number: int, frame: Any) -> None:
        requests.append(number)
        signal.signal(number, before_term)
        stop("terminated")

    handles_int = before_int not in (None, signal.SIG_IGN)
    handles_term = before_term is signal.SIG_DFL
    try:
        if handles_int:
            signal.signal(signal.SIGINT, PatientHandler(interrupt))
        if handles_term:
            signal.signal(signal.SIGTERM, terminate)
        yield
    finally:
        if handles_int:
            signal.signal(signal.SIGINT, before_int)
        if handles_term:
            signal.signal(signal.SIGTERM, before_term)
    if signal.SIGTERM in requests:
        raise SystemExit(128 + signal.SIGTERM)
