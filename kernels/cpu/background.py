"""Compile custom text in the background, and keep the kernels of a call the same until its end.

A text whose library is not stored is compiled by one worker thread. Until the library is ready, NumPy twins
run. Each library gets the next number when it is ready, and a thread finds those up to the number that it
keeps (`Background.kept`). So a fit ends with the kernels that it began with.

When the process ends, what is being compiled is finished and stored: ThreadPoolExecutor waits for its
thread. Ctrl-C at that time ends the compiler.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from .compiler import block_control_c, ending

__all__ = ["Found", "background", "warn"]

Found = tuple[Any, str]
"""A library and how it was made; or None and why there is none."""


@dataclass
class _Entry:
    """What is known of a text's library; `since` is the number from which on it is found."""

    library: Any = None
    account: str = "it is being compiled in the background"
    since: float = math.inf


class _Kept(threading.local):
    """The number that a thread keeps."""

    number: int | None = None


class Background:
    """The libraries of custom texts, and the worker that compiles them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._failures: list[str] = []
        self._latest = self._stored_since = 0
        self._kept = _Kept()
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[None]] = []

    @property
    def number(self) -> int:
        """The number that this thread keeps; if it keeps none, that of the latest library."""
        kept = self._kept.number
        return self._latest if kept is None else kept

    @contextmanager
    def kept(self, number: int | None = None) -> Iterator[None]:
        """Keep a number in this thread; by default the one that it keeps already, else the latest.

        Warns
        -----
        RuntimeWarning
            If a text was not compiled since the last call, and this thread has kept no number.
        """
        outer = self._kept.number
        with suppress(IndexError):  # there are no more failures
            while outer is None:
                warn(self._failures.pop(0))
        try:
            self._kept.number = self.number if number is None else number
            yield
        finally:
            self._kept.number = outer

    def find(
        self, text: str, stored: Callable[[], Found | None], make: Callable[[], Found]
    ) -> Found:
        """Find the library of a text; begin to compile it if it is new and not stored.

        Parameters
        ----------
        text : str
            The text.
        stored : callable
            A function that loads the library if it is stored, else returns None.
        make : callable
            A function that compiles, stores and loads it. The worker calls it.
        """
        with self._lock:
            entry = self._entries.get(text)
            if entry is None:
                found = stored()
                entry = _Entry() if found is None else _Entry(*found, self._stored_since)
                if found is None:
                    self._begin(entry, make)
                self._entries[text] = entry
        return entry.library if entry.since <= self.number else None, entry.account

    def _begin(self, entry: _Entry, make: Callable[[], Found]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "gpubp-compiler", block_control_c)
        try:
            self._futures.append(self._pool.submit(self._compile, entry, make))
        except RuntimeError as error:  # no thread can be started, as at the end of the process
            entry.account = f"nothing is compiled in the background: {error}"

    def _compile(self, entry: _Entry, make: Callable[[], Found]) -> None:
        """Compile a text, in the worker; a failure is told by `kept`."""
        try:
            entry.library, entry.account = make()
        except Exception as error:
            entry.account = f"a kernel does not compile: {error}"
            self._failures.append(str(error))
        entry.since = self._latest + 1
        self._latest += 1  # the last of all: whoever reads it finds the library

    @property
    def _is_busy(self) -> bool:
        return any(math.isinf(entry.since) for entry in self._entries.values())

    def end(self) -> None:
        """End the compiler, if it still runs: Ctrl-C has ended the wait for it."""
        if self._pool is not None and self._is_busy:
            block_control_c()  # another one would leave the compiler and its temporary files
            ending.set()
            self._pool.shutdown(wait=False, cancel_futures=True)
            # Not the thread: its `join` was interrupted, and Python then takes it to have ended.
            for future in self._futures:
                with suppress(CancelledError):
                    future.exception()

    def after_fork_in_child(self) -> None:
        """Forget the worker, which the child does not have, and the texts that it has not compiled.

        The parent may have stored them by the time the child looks, so these too are found by later calls.
        """
        self._lock, self._pool, self._futures = threading.RLock(), None, []
        ready = [int(e.since) for e in self._entries.values() if not math.isinf(e.since)]
        self._latest = max([self._latest, *ready])  # the worker may have been between two lines
        if self._is_busy:
            self._entries = {t: e for t, e in self._entries.items() if not math.isinf(e.since)}
            self._latest += 1
            self._stored_since = self._latest


def warn(reason: str) -> None:
    """Warn that a text does not compile."""
    warnings.warn(
        f"a kernel does not compile, its NumPy twin runs instead, more slowly: {reason}",
        RuntimeWarning,
        stacklevel=3,
    )


background = Background()
atexit.register(background.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background.after_fork_in_child)
