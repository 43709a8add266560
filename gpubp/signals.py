"""Ctrl-C, held back while a function changes what must not be torn apart."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

__all__ = ["PatientHandler", "uninterrupted"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# The functions of the module signal convert every handler to an enum and back, which takes longer than all
# else here.
_get_handler, _set_handler, _SIGINT = _signal.getsignal, _signal.signal, int(signal.SIGINT)
_get_ident = threading.get_ident


class PatientHandler:
    """A handler of SIGINT that waits for the end of uninterrupted functions.

    An uninterrupted function sets one while it runs, unless one is set already: to set a handler takes most
    of its time.

    Parameters
    ----------
    handle : callable
        The handler that is called, at once or at the end of the outermost uninterrupted function.

    Attributes
    ----------
    depth : int
        The number of uninterrupted functions that are running within each other.
    held : list of frames
        The signals that wait.
    """

    __slots__ = ("_handle", "depth", "held")

    def __init__(self, handle: Callable[[int, FrameType | None], object]) -> None:
        self._handle = handle
        self.depth = 0
        self.held: list[FrameType | None] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.depth:
            self.held.append(frame)
        else:
            self._handle(number, frame)

    def deliver(self) -> None:
        """Handle the signals that wait."""
        while self.held:
            self._handle(_SIGINT, self.held.pop(0))


def uninterrupted(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Make a function that Ctrl-C does not interrupt.

    A Ctrl-C that arrives while the function runs is not lost: its handler runs at the end of the function,
    whether that returns or raises. The handler may be Python's, which raises KeyboardInterrupt, or any
    other. If uninterrupted functions call each other, the handler runs at the end of the outermost.

    Python runs handlers only in the main thread. In other threads, and if the process ignores Ctrl-C or
    leaves it to the system, the function is called as it is.

    Parameters
    ----------
    function : callable
        The function. It must not set a handler of SIGINT.

    Returns
    -------
    callable
        A function with the same arguments, result and errors.
    """

    @wraps(function)
    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if _get_ident() != _main_thread:
            return function(*args, **kwargs)
        handler = _get_handler(_SIGINT)
        if type(handler) is PatientHandler:
            handler.depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                handler.depth -= 1
                if handler.held and not handler.depth:
                    handler.deliver()
        if not callable(handler):
            return function(*args, **kwargs)
        patient = PatientHandler(handler)
        patient.depth = 1
        # Python looks for signals where a function is called or returns, and signal.signal looks before it
        # changes the handler. There the handler of another signal may raise.
        try:
            handler = _set_handler(_SIGINT, patient)
            return function(*args, **kwargs)
        finally:
            try:
                _set_handler(_SIGINT, handler)
            except BaseException:
                _set_handler(_SIGINT, handler)
                raise
            finally:
                patient.deliver()

    return run


def _find_main_thread() -> None:
    """Remember the main thread; in a forked child it is the thread that forked."""
    global _main_thread  # noqa: PLW0603
    _main_thread = threading.main_thread().ident


_main_thread: int | None
_find_main_thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_find_main_thread)
