"""The guest as a process: it starts with the first request, and answers one at a time."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .targets import Target

__all__ = ["Guest", "GuestError", "number", "text"]

PROGRAM = Path(__file__).with_name("guest.cpp")


class GuestError(RuntimeError):
    """The guest has ended, or could not do what it was asked for."""


def number(value: int) -> bytes:
    """Return eight bytes, of a number with or without a sign."""
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def text(value: str) -> bytes:
    encoded = value.encode()
    return number(len(encoded)) + encoded


class Guest:
    """A process of `guest.cpp`, which says what a request is.

    Parameters
    ----------
    target : Target
        What the process is compiled for.
    """

    def __init__(self, target: Target) -> None:
        self._target, self._lock = target, threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None  # what the process writes as its errors
        self._owner = 0

    @contextmanager
    def asking(self, *request: bytes) -> Iterator[Guest]:
        """Send a request; the answer is read in this context.

        Raises
        ------
        GuestError
            If the answer is an error, or the guest ends.
        """
        with self._lock:
            try:
                process = self._running()
                assert process.stdin is not None
                for part in request:
                    process.stdin.write(part)
                process.stdin.flush()
                error = self.read_text()
                if not error:
                    yield self
            except BrokenPipeError:
                raise self._ended() from None
            except BaseException:
                self.end()  # what is left of the answer would be taken for the next one
                raise
        if error:
            raise GuestError(error)

    def read(self, size: int) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        read = self._process.stdout.read(size)
        if len(read) < size:
            raise self._ended()
        return read

    def read_number(self) -> int:
        return int(struct.unpack("<Q", self.read(8))[0])

    def read_text(self) -> str:
        return self.read(self.read_number()).decode(errors="replace")

    def end(self) -> None:
        """End the process; the next request starts another one."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            with process:
                process.kill()
        if self._said is not None:
            self._said.close()
            self._said = None

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process; a forked child has one of its own."""
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            program = self._target.program(PROGRAM.read_text(encoding="utf-8"))
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                [*self._target.runner, str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=self._target.environment,
                start_new_session=True,  # Ctrl-C does not reach it
            )
        return self._process

    def _ended(self) -> GuestError:
        assert self._process is not None
        assert self._said is not None
        status = self._process.wait(10)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        self.end()
        return GuestError(f"the guest ended with status {status}: {said}")
