"""How a command ends: its exit status, and one line after an error, Ctrl-C, or a closed pipe."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

from .status import CLOSED_PIPE, FAILED, INTERRUPTED, WRONG_ARGUMENTS, UsageError

__all__ = ["ended", "last_line"]


def ended(run: Callable[[], int], name: Callable[[], str], *, is_process: bool) -> int:
    """Run a command; print what ends it in one line, and never a traceback for what users cause.

    Parameters
    ----------
    run : callable
        A function that runs the command and returns its exit status.
    name : callable
        A function that returns what the line begins with, such as "gpubp bench".
    is_process : bool
        Whether the command is the whole process. Then later Ctrl-Cs have no effect.

    Returns
    -------
    int
        The exit status.
    """
    if is_process:
        _open_streams()
    with _interrupts(stay_ignored=is_process) as interrupts:
        try:
            status = _status(run)
            _flush()
            return status
        except BaseException as error:
            interrupts.ignore()
            return _told(error, name(), was_interrupted=interrupts.came)


def _status(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as end:  # argparse ends so, and SIGTERM within a fit
        if isinstance(end.code, str):
            raise
        return end.code or 0


def _told(error: BaseException, name: str, was_interrupted: bool) -> int:
    """Print the line about an error, and return the status; raise it again if it is a bug of gpubp."""
    if isinstance(error, KeyboardInterrupt) or was_interrupted:
        # Compiled modules may turn the KeyboardInterrupt into an ImportError while they are imported.
        return last_line(f"{name}: {_kept(error) or 'interrupted'}", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        _drop(sys.stdout)
        return CLOSED_PIPE
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        _drop(sys.stdout)
        return last_line(
            f"{name}: the output could not be written ({os.strerror(errno.ENOSPC)})", FAILED
        )
    if isinstance(error, MemoryError):
        return last_line(f"{name}: {error or 'there is not enough memory'}", FAILED)
    if isinstance(error, ValueError | RuntimeError | ImportError | OSError):
        status = WRONG_ARGUMENTS if isinstance(error, UsageError) else FAILED
        return last_line(f"{name}: {error}", status)
    raise error


def _kept(error: BaseException) -> str:
    """Return what a command says about its interruption: the argument of its KeyboardInterrupt."""
    return str(error) if isinstance(error, KeyboardInterrupt) else ""


def last_line(line: str, status: int) -> int:
    """Print a line to standard error, after what standard output still holds; return the status."""
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"{line}\n")):
        try:
            if stream is not None:
                stream.write(text)
                stream.flush()
        except (OSError, ValueError):
            _drop(stream)
    return status


def _open_streams() -> None:
    """Open what a shell has closed (<&-, >&-, 2>&-), so that nothing is read and output goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if getattr(sys.stdout, "errors", "") == "strict":
        # A name that the encoding lacks is no reason to fail after the work is done.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _flush() -> None:
    """Write what standard output holds, so that an error is found here and not when Python ends."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop(stream: IO[str] | None) -> None:
    """Send what a stream still holds nowhere; Python would try to write it again when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


class _Interrupts:
    """The handler of SIGINT while a command runs: Python's, which notes that it was called.

    Attributes
    ----------
    came : bool
        Whether Ctrl-C came.
    """

    def __init__(self) -> None:
        self.came = False
        self.before: Any = signal.getsignal(signal.SIGINT)
        in_main_thread = threading.current_thread() is threading.main_thread()
        self.is_used = in_main_thread and self.before is signal.default_int_handler
        if self.is_used:
            signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt

    def ignore(self) -> None:
        """Ignore every later Ctrl-C, so that the last line is not interrupted."""
        while self.is_used:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                return
            except KeyboardInterrupt:
                continue


@contextmanager
def _interrupts(stay_ignored: bool) -> Iterator[_Interrupts]:
    """Return a context in which Ctrl-C is noted, unless the process ignores it or has its own handler."""
    interrupts = _Interrupts()
    try:
        yield interrupts
    finally:
        if stay_ignored:
            interrupts.ignore()  # what is left is Python's end
        elif interrupts.is_used:
            signal.signal(signal.SIGINT, interrupts.before)
