"""Ctrl-C as a request to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible(stop: Callable[[str], None]) -> Iterator[None]:
    """Return a context in which Ctrl-C asks training to stop; a second Ctrl-C interrupts at once.

    Only Python's main thread may handle signals. In other threads, and if the process ignores Ctrl-C, this
    context changes nothing.

    Parameters
    ----------
    stop : callable
        A function that is called with "interrupted" at the first Ctrl-C.
    """
    previous = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or previous in (None, signal.SIG_IGN):
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, previous)
        stop("interrupted")

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
