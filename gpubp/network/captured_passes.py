"""Passes that are captured once for each batch size and then replayed, by one thread at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from ..problem import Problem

__all__ = ["CapturedPasses"]

SIZES_KEPT = 8
"""The most batch sizes with a captured pass."""

_Captured = TypeVar("_Captured")


class CapturedPasses(Generic[_Captured]):
    """The captured passes of a network, by the form of their batches.

    Parameters
    ----------
    problem : Problem
        The layers and their backend.

    Attributes
    ----------
    captured : dict
        The passes for the latest batches, by their number of rows and whether x was sparse.
    """

    def __init__(self, problem: Problem) -> None:
        self.captured: dict[tuple[int, bool], _Captured] = {}
        self._problem, self._lock = problem, threading.Lock()
        self._kernels = 0  # their number in what was captured
        _all_passes.add(self)

    def _set_step(self, step: int | None) -> None:
        """Set the number that chooses the dropout masks, if there is one; within the lock."""
        if step is not None:
            self._problem.counters[0] = step

    def _pass_for(
        self, rows: int, sparse: bool, kernels: int, capture: Callable[[int, bool], _Captured]
    ) -> _Captured:
        """Return the pass for batches of this form; call `capture` for it, within the lock, if needed."""
        if kernels != self._kernels:
            self.captured, self._kernels = {}, kernels
        found = self.captured.get((rows, sparse))
        if found is None:
            while len(self.captured) >= SIZES_KEPT:
                del self.captured[next(iter(self.captured))]
            with self._problem.backend.keep_kernels(self._kernels):
                found = self.captured[rows, sparse] = capture(rows, sparse)
        return found


_all_passes: WeakSet[CapturedPasses[Any]] = WeakSet()


def _reset_locks() -> None:
    """Give passes new locks in a forked child: a thread that the child does not have may hold one."""
    for passes in _all_passes:
        passes._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_locks)
