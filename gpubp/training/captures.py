"""Captures of several training steps in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

from ..backends import Backend
from .halves import StepHalves

__all__ = ["Replay", "StepsInARow", "call_each"]

Replay: TypeAlias = Callable[[], None]
"""A function that replays what was captured."""


COUNTS_KEPT = 2
"""The most captures of one form, each of another number of steps."""


class StepsInARow:
    """Captures of several steps in a row on batches of one form; they use the single step's buffers.

    Parameters
    ----------
    backend : Backend
        The backend.
    single : callable
        The captured step.
    halves : StepHalves or None
        The step's halves; None if something comes between them, so that only `single` can be called.
    """

    def __init__(self, backend: Backend, single: Replay, halves: StepHalves | None) -> None:
        self._backend, self._single, self._halves = backend, single, halves
        self._captured: dict[int, Replay] = {}

    def __getitem__(self, steps: int) -> Replay:
        """Return the capture of so many steps."""
        if steps not in self._captured:
            while len(self._captured) >= COUNTS_KEPT:
                del self._captured[next(iter(self._captured))]
            self._captured[steps] = self._capture(steps)
        return self._captured[steps]

    def _capture(self, steps: int) -> Replay:
        if self._halves is None:
            return partial(call_each, (self._single,) * steps)
        return self._backend.repeat(self._single, steps, partial(self._halves.run, steps))


def call_each(functions: Iterable[Callable[[], object]]) -> None:
    """Call functions one after another."""
    for function in functions:
        function()
