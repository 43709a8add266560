"""The number of threads of SciPy's BLAS: one while steps run, because gpubp makes the threads.

It is one as well while SciPy minimises (`on_one_thread`): its threads would spin between the steps.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from threading import get_ident
from typing import Any, TypeVar

from ...signals import uninterrupted
from . import accelerate, blas

__all__ = ["get_threads", "on_one_thread", "single_threaded"]

_Result = TypeVar("_Result")

LONGEST_WAIT = 10.0
"""The most seconds that a fork waits for the steps of other threads."""


def get_threads() -> int:
    """Return the number of threads of a matmul outside `single_threaded`; 1 if it is unknown."""
    with single_threaded.lock:
        return single_threaded.threads if single_threaded.is_set else _get()


def on_one_thread(function: Callable[[], _Result]) -> _Result:
    """Call a function of SciPy's with its BLAS on one thread, and leave the threads of steps as they are.

    A fork does not wait for the end, as it does for steps. Ctrl-C interrupts the function.
    """
    try:
        single_threaded.keep()
        return function()
    finally:
        single_threaded.let_go()


class _SingleThreaded:
    """A context in which every matmul of the process uses only the thread that calls it.

    Several threads may be in the context at the same time. Enter it only within a function that is
    `uninterrupted`.

    A fork waits until no other thread is in the context. OpenBLAS and the shards have locks, and a child
    that is forked while a thread holds one would wait for it forever.

    `without_blas` is this context for steps that compute no matmul: BLAS keeps its threads.
    """

    def __init__(self) -> None:
        self.entry, self.lock = threading.Lock(), threading.Lock()
        self.fork_waits = False  # if it is true, `entry` is locked
        self.users: list[int] = []  # threads, by their identifiers
        self.of_blas: list[int] = []  # those that need one thread
        self.keepers: list[int] = []  # threads within `on_one_thread`
        self.threads = 1  # set again when the last user and keeper leaves
        self.without_blas = _WithoutBlas(self)

    @property
    def is_set(self) -> bool:
        """Whether BLAS has one thread because of this context."""
        return bool(self.of_blas or self.keepers)

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *error: object) -> None:
        this = get_ident()
        with self.lock:
            self.users.remove(this)
            self.of_blas.remove(this)
            self._set_again()

    def enter(self, blas: bool = True) -> None:
        """Enter this context or, without `blas`, that of `without_blas`."""
        with self.lock:
            if not self.fork_waits:
                self._add(blas)
                return
        with self.entry, self.lock:  # after the fork
            self._add(blas)

    def _add(self, blas: bool) -> None:
        this = get_ident()
        if blas:
            self._set_one()
            self.of_blas.append(this)
        self.users.append(this)

    @uninterrupted
    def keep(self) -> None:
        """Set one thread until this thread calls `let_go`."""
        with self.lock:
            self._set_one()
            self.keepers.append(get_ident())

    @uninterrupted
    def let_go(self) -> None:
        """Undo `keep`; without it, do nothing."""
        with self.lock:
            if get_ident() in self.keepers:
                self.keepers.remove(get_ident())
                self._set_again()

    def _set_one(self) -> None:
        if not self.is_set:
            self.threads = _get()
            if self.threads > 1:
                _set(1)

    def _set_again(self) -> None:
        if not self.is_set and self.threads > 1:
            _set(self.threads)

    @uninterrupted
    def before_fork(self) -> None:
        """Wait until all other threads have left the context, and let none enter."""
        self.entry.acquire()
        with self.lock:
            self.fork_waits = True
        # A thread that forks within its own step cannot wait for its end.
        this, end = get_ident(), time.monotonic() + LONGEST_WAIT
        while self.users and this not in self.users and time.monotonic() < end:
            time.sleep(1e-4)
        self.lock.acquire()

    @uninterrupted
    def after_fork(self) -> None:
        """Let threads enter the context again."""
        self.fork_waits = False
        self.lock.release()
        self.entry.release()

    @uninterrupted
    def after_fork_in_child(self) -> None:
        """Forget the other threads, which the child does not have."""
        was_set, this = self.is_set, get_ident()
        for threads in (self.users, self.of_blas, self.keepers):
            threads[:] = [thread for thread in threads if thread == this]
        if was_set:
            self._set_again()
        self.after_fork()


class _WithoutBlas:
    """The context `without_blas` of a `_SingleThreaded`."""

    def __init__(self, context: _SingleThreaded) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._context.enter(blas=False)

    def __exit__(self, *error: object) -> None:
        with self._context.lock:
            self._context.users.remove(get_ident())


class _SingleThreadedEach(_SingleThreaded):
    """The context for Accelerate, where every thread of the process has a number of its own.

    The threads of shards have one thread from their start on (shards.cpp, shards.py).
    """

    def __init__(self) -> None:
        super().__init__()
        self._set: set[int] = set()  # threads whose number is to be set again

    @property
    def is_set(self) -> bool:
        return get_ident() in self.of_blas or get_ident() in self.keepers

    def _set_one(self) -> None:
        if not self.is_set and _get() > 1:
            self.threads = _get()
            self._set.add(get_ident())
            _set(1)

    def _set_again(self) -> None:
        if not self.is_set and get_ident() in self._set:
            self._set.remove(get_ident())
            _set(self.threads)


single_threaded = _SingleThreadedEach() if accelerate.controller() else _SingleThreaded()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=single_threaded.before_fork,
        after_in_parent=single_threaded.after_fork,
        after_in_child=single_threaded.after_fork_in_child,
    )


def _get() -> int:
    return int(_functions()[0]())


def _set(count: int) -> None:
    _functions()[1](count)


@cache
def _functions() -> tuple[Callable[[], int], Callable[[int], Any]]:
    """Return the functions that get and set the number of threads of SciPy's BLAS."""
    of_accelerate = accelerate.controller()
    if of_accelerate is not None:
        return of_accelerate.get, of_accelerate.set
    library = blas.library()
    if library is None:
        return lambda: 1, lambda count: None
    if library.internal_api == "openblas" and library.threading_layer != "openmp":
        # Newer versions of threadpoolctl obey only the first thread that sets the number. Neither function
        # takes long enough to release the GIL for it, so the library is opened as a PyDLL.
        functions = ctypes.PyDLL(library.filepath)
        for prefix in ("", "scipy_"):
            for suffix in ("", "64_", "_64"):
                name = f"{prefix}openblas_{{}}_num_threads{suffix}"
                if hasattr(functions, name.format("get")):
                    get, set_ = functions[name.format("get")], functions[name.format("set")]
                    set_.argtypes, set_.restype = (ctypes.c_int,), None
                    return get, set_
    return library.get_num_threads, library.set_num_threads
